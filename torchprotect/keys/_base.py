"""Base classes of keys (root secret, fingerprint, redacted repr, sub-keys, device copies), and checks of sizes."""

import hashlib
import struct
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from multiprocessing.reduction import ForkingPickler
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchprotect._json import canonical
from torchprotect.errors import (
    BlockSizeError,
    InputTypeError,
    KeyFileError,
    KeyPickledWarning,
    KeySizeError,
    LabelError,
)
from torchprotect.keys._derive import Purpose, derive, split_purpose
from torchprotect.keys._secret import SecretBytes
from torchprotect.keys._transfer import Reduced, reduce_key
from torchprotect.ops.blocks import divisors

_SPELLING = {torch.uint8: "U8", torch.int64: "I64", torch.float32: "F32"}  # dtypes as safetensors writes them


def fingerprint(kind: str, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 that names a key, 64 hex digits; ``docs/reference/key-format.md`` specifies every byte."""
    digest = hashlib.sha256()

    def add(field: bytes) -> None:
        digest.update(struct.pack("<Q", len(field)))
        digest.update(field)

    add(kind.encode())
    add(canonical(params))
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        add(name.encode())
        add(_SPELLING[tensor.dtype].encode())
        add(struct.pack(f"<{tensor.ndim}Q", *tensor.shape))
        add(tensor.numpy().tobytes())
    return digest.hexdigest()


class Key:
    """Base class of all keys: a frozen secret value, identified by its fingerprint.

    Two keys are equal if their fingerprints are equal. ``repr`` shows sizes and the first 12 hex digits of the
    fingerprint, never a secret. Copying a key returns the key itself. Pickling one warns
    (:class:`torchprotect.errors.KeyPickledWarning`), unless the pickle goes to a worker process.

    Subclasses are dataclasses with ``frozen=True``, ``eq=False`` and ``repr=False``. They hold CPU tensors, all of them
    declared with :func:`secret_fields`.
    """

    __slots__ = ("__dict__", "__weakref__", "_secrets")  # a slot is not in vars()

    kind: ClassVar[str]
    root: Tensor
    _secrets: dict[Any, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> "Key":
        key = super().__new__(cls)
        object.__setattr__(key, "_secrets", {})  # a frozen dataclass refuses key._secrets = {}
        return key

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        ForkingPickler.register(cls, reduce_key)

    @property
    def params(self) -> dict[str, Any]:
        """The public parameters, as written to the header of a key file."""
        raise TypeError("a Key has no parameters of its own; use one of its kinds")

    def tensors(self) -> dict[str, Tensor]:
        """The secret tensors by their names in a key file, including ``root``."""
        raise TypeError("a Key has no tensors of its own; use one of its kinds")

    @classmethod
    def from_parts(cls, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "Key":
        """Rebuild a key from its :attr:`params` and :meth:`tensors`, and check that they fit together."""
        raise TypeError("a Key cannot be rebuilt; use one of its kinds")

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of kind, parameters and tensors, as 64 hex digits. It reveals nothing about the secret values."""
        return fingerprint(self.kind, self.params, self.tensors())

    def subkey(self, purpose: Purpose, split: str | None = None) -> SecretBytes:
        """Derive 32 secret bytes from the root secret for one purpose (HKDF-SHA256).

        Args:
            purpose: what the bytes are used for.
            split: name of a split of the data; each split has its own sub-key.

        Returns:
            The bytes; their ``repr`` does not show them.
        """
        return derive(self.root.numpy().tobytes(), purpose if split is None else split_purpose(purpose, split))

    def owner_key(self) -> SecretBytes:
        """Return the 64 secret bytes that encrypt the owner's file of an export."""
        return derive(self.root.numpy().tobytes(), "owner", size=64)

    def envelope_key(self, plan: bytes, generation: int) -> SecretBytes:
        """Return the 32 secret bytes that seal one export.

        Args:
            plan: digest of the export's plan, 32 bytes.
            generation: a counter that rises whenever the export is sealed again.
        """
        return derive(self.root.numpy().tobytes(), f"envelope/{generation}", salt=plan)

    def on(self, name: str, device: torch.device) -> Tensor:
        """Return the attribute ``name`` on ``device``. The copy is cached with the key, but never pickled with it."""
        return self._copy_on(name, getattr(self, name), device)

    def _copy_on(self, name: str, tensor: Tensor, device: torch.device) -> Tensor:
        if tensor.device == device:
            return tensor
        return self._computed_once((name, device), lambda: tensor.to(device))

    def _computed_once(self, name: Any, compute: Callable[[], Tensor]) -> Tensor:
        """Return a secret tensor computed from the others, cached as by ``cached_property`` but not in ``vars``."""
        tensor: Tensor | None = self._secrets.get(name)
        if tensor is None:
            tensor = compute()
            if not torch.compiler.is_compiling():  # a tracer's tensor has no values
                self._secrets[name] = tensor
        return tensor

    def __reduce_ex__(self, protocol: Any) -> Reduced:
        warnings.warn(
            f"pickling {self!r} stores its secret values, readable, wherever the pickle goes: a checkpoint, a cache, "
            "another machine. Leave the key out of what you save and read it with keys.load; the documentation shows "
            'how under "Keep keys out of checkpoints"',
            KeyPickledWarning,
            stacklevel=2,
        )
        return reduce_key(self)

    def __copy__(self) -> "Key":
        return self

    def __deepcopy__(self, memo: Any) -> "Key":
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        shown = [f"{name}={_short(value)}" for name, value in self.params.items() if value is not None]
        shown += ["shared"] if getattr(self, "shared", False) else []
        return f"{type(self).__name__}({', '.join(shown)}, fingerprint={self.fingerprint[:12]})"


def _short(value: Any) -> str:
    if isinstance(value, list) and len(value) == 2:
        return f"{value[0]}x{value[1]}"
    return str(value["kind"]) if isinstance(value, dict) else str(value)


class BlockKey(Key):
    """Base class of keys that hold one secret per block position, for one image size."""

    image_size: tuple[int, int]
    block_size: tuple[int, int]

    @property
    def grid_size(self) -> tuple[int, int]:
        """Number of block rows and block columns, ``(rows, columns)``."""
        return self.image_size[0] // self.block_size[0], self.image_size[1] // self.block_size[1]

    @property
    def positions(self) -> int:
        """Number of block positions in one channel plane."""
        return self.grid_size[0] * self.grid_size[1]

    def require_fit(self, image: Tensor) -> None:
        """Check that ``image`` ``[..., C, H, W]`` has the size and number of channels that this key was made for.

        Raises:
            KeySizeError: the size or the number of channels differs.
        """
        if image.shape[-2:] != self.image_size:
            size = (int(image.shape[-2]), int(image.shape[-1]))
            raise KeySizeError(
                f"this {type(self).__name__} covers images of {_times(self.image_size)} pixels, but the image is "
                f"{_times(size)}; resize it first or make a key with "
                f"{type(self).__name__}.generate(image_size={size}, ...)"
            )
        channels: int | None = getattr(self, "channels", None)
        if channels is not None and image.shape[-3] != channels:
            raise KeySizeError(
                f"this {type(self).__name__} covers images of {channels} channels, but the image has "
                f"{image.shape[-3]}; convert it first or make a key with channels={image.shape[-3]} or channels=None"
            )


def at_positions(secrets: Tensor, positions: int) -> Tensor:
    """Return secrets for all positions: ``[positions, ...]`` as they are, or ``[1, ...]`` repeated."""
    return secrets.expand(positions, *secrets.shape[1:]).contiguous()


def is_shared(secrets: Tensor) -> bool:
    """Return whether several positions have the same secret; a single position has nothing to share it with."""
    return len(secrets) > 1 and torch.equal(secrets, secrets[:1].expand_as(secrets))


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


Size = tuple[int, int]
_MAX_SIDE = 1 << 20  # bounds what is computed from the sizes in a hostile file


def as_size(size: Any) -> Size:
    """Return a size, given as a pair of positive integers, as a tuple.

    Raises:
        BlockSizeError: it is something else, or larger than any image.
    """
    sides = tuple(size) if isinstance(size, list | tuple) else ()
    if len(sides) != 2 or any(not isinstance(side, int) or isinstance(side, bool) for side in sides):
        raise BlockSizeError(f"a size must be a pair of integers (height, width), got {size!r}")
    if not all(1 <= side <= _MAX_SIDE for side in sides):
        raise BlockSizeError(f"height and width must be integers from 1 to {_MAX_SIDE}, got {size!r}")
    return sides[0], sides[1]


def require_division(image_size: tuple[int, int], block_size: tuple[int, int]) -> None:
    """Check that the blocks tile the image.

    Raises:
        BlockSizeError: they do not; the message lists the sizes that do.
    """
    if image_size[0] % block_size[0] or image_size[1] % block_size[1]:
        raise BlockSizeError(
            f"blocks of {_times(block_size)} do not divide images of {_times(image_size)}; "
            f"heights that do: {divisors(image_size[0])}, widths that do: {divisors(image_size[1])}"
        )


def require_key_tensor(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Check dtype and shape of a key's tensor; messages never show its content."""
    if tensor.dtype != dtype or tuple(tensor.shape) != shape:
        raise KeyFileError(
            f"tensor '{name}' of the key must be {dtype} {list(shape)}, not {tensor.dtype} {list(tensor.shape)}"
        )


def require_class_numbers(labels: Tensor, classes: int) -> None:
    """Check for class numbers: integers in ``0..classes-1``.

    Raises:
        InputTypeError: not integers, or one-hot rows of integers, which would be read as many labels.
        LabelError: a number lies outside ``0..classes-1``.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputTypeError(f"labels must be integers, not {labels.dtype}; take argmax(-1) of one-hot rows or scores")
    if not labels.numel():
        return
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise LabelError(f"a label lies outside the map, which covers 0..{classes - 1}")
    zeros_and_ones = labels.ndim > 1 and labels.shape[-1] == classes and int(labels.max()) == 1
    if zeros_and_ones and bool((labels.sum(-1) == 1).all()):
        raise InputTypeError("labels look like one-hot rows; take labels.argmax(-1) for class numbers")


def require_root(root: Tensor) -> None:
    """Check the root secret."""
    require_key_tensor("root", root, torch.uint8, (32,))


def require_permutation(name: str, order: Tensor, n: int) -> None:
    """Check that ``order`` holds each of ``range(n)`` once."""
    require_key_tensor(name, order, torch.int64, (n,))
    if not torch.equal(order.sort().values, torch.arange(n)):
        raise KeyFileError(f"tensor '{name}' of the key is not a permutation of {n} values")
