"""Bundles of keys that belong together: a disguise, a permutation and a label map."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from torchprotect._inputs import type_name, with_article
from torchprotect.errors import KeyKindError, KeySizeError
from torchprotect.keys._base import BlockKey, Key, require_root
from torchprotect.keys._random import random_bytes
from torchprotect.keys._secret import secret_fields
from torchprotect.keys.aes import AESKey
from torchprotect.keys.correspondence import CorrespondenceKey
from torchprotect.keys.labels import LabelKey
from torchprotect.keys.owsd import OWSDKey
from torchprotect.keys.permutation import PermutationKey
from torchprotect.keys.rmt import RMTKey

_PARTS = ("transform", "permutation", "labels")
_KINDS: dict[str, type[Key]] = {
    key.kind: key for key in (PermutationKey, AESKey, RMTKey, CorrespondenceKey, LabelKey, OWSDKey)
}


@secret_fields("root")
@dataclass(frozen=True, eq=False, repr=False)
class KeyBundle(Key):
    """All keys of one protected data set: the disguise, and optionally a block permutation and a label map.

    Attributes:
        transform: key of the disguise.
        permutation: secret order of the disguised blocks, or ``None``. It must have the image and block size of
            ``transform``, which must be a key of blocks and not itself a permutation.
        labels: secret renaming of the classes, or ``None``.
        root: uint8 ``[32]``, from which sub-keys are derived; drawn from the operating system's entropy if not given.

    Example::

        sizes = {"image_size": (32, 32), "block_size": (8, 8)}
        bundle = keys.KeyBundle(keys.RMTKey.generate(**sizes), keys.PermutationKey.generate(**sizes))
    """

    kind: ClassVar[str] = "bundle"
    transform: BlockKey | CorrespondenceKey
    permutation: PermutationKey | None = None
    labels: LabelKey | None = None
    root: Tensor = field(default_factory=lambda: random_bytes(32))

    def __post_init__(self) -> None:
        require_root(self.root)
        wanted: dict[str, tuple[type[Key], ...]] = {
            "transform": (BlockKey, CorrespondenceKey),
            "permutation": (PermutationKey,),
            "labels": (LabelKey,),
        }
        for name, key in self._keys().items():
            if not isinstance(key, wanted[name]):
                kinds = " or ".join(with_article(kind.__name__) for kind in wanted[name])
                raise KeyKindError(f"a bundle's {name} must be {kinds}, got {type_name(key)}")
        if self.permutation is None:
            return
        if isinstance(self.transform, PermutationKey):
            raise KeyKindError("a bundle whose transform is a permutation cannot have a second permutation")
        if isinstance(self.transform, CorrespondenceKey):
            raise KeyKindError("a bundle whose transform is a correspondence has no blocks to permute")
        require_same_grid(self.transform, self.permutation)

    def _keys(self) -> dict[str, Key]:
        return {name: key for name in _PARTS if (key := getattr(self, name)) is not None}

    @property
    def params(self) -> dict[str, Any]:
        """Kind and parameters of each key in the bundle."""
        return {name: {"kind": key.kind, "params": key.params} for name, key in self._keys().items()}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of each key under the prefix ``transform.``, ``permutation.`` or ``labels.``, and ``root``."""
        inner = {f"{name}.{k}": t for name, key in self._keys().items() for k, t in key.tensors().items()}
        return {**inner, "root": self.root}

    @classmethod
    def from_parts(cls, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "KeyBundle":
        """Rebuild the bundle and its keys."""
        parts: dict[str, Any] = {}
        for name, part in params.items():
            prefix = f"{name}."
            inner = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
            parts[name] = key_class(part["kind"]).from_parts(part["params"], inner)
        return cls(**parts, root=tensors["root"])


def require_same_grid(key: BlockKey, permutation: PermutationKey) -> None:
    """Check that a permutation is made for the same image and block size as ``key``.

    Raises:
        KeySizeError: image or block size differ.
    """
    if (key.image_size, key.block_size) != (permutation.image_size, permutation.block_size):
        raise KeySizeError(
            f"the permutation is made for images {permutation.image_size} in blocks {permutation.block_size}, the "
            f"other key for images {key.image_size} in blocks {key.block_size}; generate both with the same sizes"
        )


def key_class(kind: str) -> type[Key]:
    """Return the class for a kind of key, other than a bundle.

    Raises:
        KeyKindError: there is no such kind.
    """
    if kind not in _KINDS:
        raise KeyKindError(f"unknown kind of key {kind!r}; this version knows {sorted(_KINDS)} and 'bundle'")
    return _KINDS[kind]
