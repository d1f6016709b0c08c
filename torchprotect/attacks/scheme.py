"""The public parameters of a disguise, which every attacker is assumed to know."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from torchprotect._inputs import type_name
from torchprotect.errors import BlockSizeError, InputRangeError, InputTypeError

Preserved = Literal["values", "energies", "equality"]
Side = Literal["right", "left"]
Matrix = Literal["orthogonal", "uniform", "gaussian"]

_PRESERVED: dict[str, Preserved] = {"BlockPermute": "values", "RMTDisguise": "energies", "AESECBDisguise": "equality"}
BLOCK_DISGUISES = tuple(_PRESERVED)
"""The disguises that work block by block."""

SCRAMBLING = "OWSDScramble"
"""The disguise that uses an encoder, and produces images of another size."""

_READABLE = "AdversarialEncrypt"
_STATED = ("channels", "unit_pixels", "matrix", "side", "noise", "shared")
_LONGEST_SIDE = 1 << 20


@dataclass(frozen=True)
class Scheme:
    """Public parameters of a disguise, which an attacker knows. It contains no key and needs none.

    :meth:`of` makes it from the description of a transform, or from an export's manifest. Attacks on disguises take it
    as ``scheme=``; it determines what they can use.

    Attributes:
        name: class of the transform, such as ``"RMTDisguise"``.
        image_size: ``(H, W)`` in pixels; ``None`` if the disguise takes any size.
        block_size: ``(h, w)`` in pixels; ``None`` if the disguise has no blocks.
        channels: number of channels with separate secrets; ``None`` if the channels of a position share one.
        permuted: whether the blocks are in a secret order.
        unit_pixels: number of pixels in a cipher unit, row-major inside a block.
        matrix: kind of the matrices: ``orthogonal``, ``uniform`` or ``gaussian``.
        side: ``right`` if a matrix multiplies the rows of a block, ``left`` for the columns.
        noise: ``u`` of the noise, which is uniform from 0 to ``u`` grey levels (of 255) and added before the matrix.
        shared: whether all positions share one secret (per channel, if channels have their own), as in keys made by
            ``generate(shared=True)``. Attacks then compare blocks across positions.
        white: value of white in floating-point disguised images, 1 or 255; ``None`` to deduce it from their brightness
            relative to plain ones.
        other: names of further keyed transforms that were applied to the images before.
        steps: the public description of every step, without keys.

    Raises:
        BlockSizeError: a disguise of blocks has no valid block size.
        InputRangeError: a parameter has an invalid value.

    Example::

        scheme = attacks.Scheme.of(disguise.describe())
    """

    name: str
    image_size: tuple[int, int] | None = None
    block_size: tuple[int, int] | None = None
    channels: int | None = None
    permuted: bool = False
    unit_pixels: int = 16
    matrix: Matrix = "orthogonal"
    side: Side = "right"
    noise: float = 0.0
    shared: bool = False
    white: Literal[1, 255] | None = None
    other: tuple[str, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = field(default=(), hash=False)

    def __post_init__(self) -> None:
        _require_fields(self)
        if self.block_size is None:
            if self.name in _PRESERVED:
                raise BlockSizeError(f"{self.name} works on blocks: give its block_size, (h, w) in pixels")
        elif not _is_size(self.block_size):
            raise BlockSizeError(
                f"block_size must be a pair of integers (height, width) from 1 up, got {self.block_size!r}"
            )
        elif self.image_size is not None:
            _require_division(self.image_size, self.block_size)

    @classmethod
    def of(cls, described: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> "Scheme":
        """Make the scheme of a transform, or of an export.

        Args:
            described: ``transform.describe()``; or a list of these, one for each step; or an export's manifest. If
                several steps have keys, attacks are about the last one.

        Raises:
            InputTypeError: it describes no keyed disguise, or lacks something that an attack needs.
            BlockSizeError, InputRangeError: a parameter has an invalid value.
        """
        if isinstance(described, Mapping) and "transform" in described:
            plain = described.get("plain")
            return cls._of_steps(described["transform"], plain.get("scale") if isinstance(plain, Mapping) else None)
        if hasattr(described, "describe"):
            raise InputTypeError("described must say what a transform does: give transform.describe()")
        return cls._of_steps([described] if isinstance(described, Mapping) else described, None)

    @classmethod
    def _of_steps(cls, steps: Any, white: Any) -> "Scheme":
        if (
            isinstance(steps, str)
            or not isinstance(steps, Sequence)
            or not all(isinstance(each, Mapping) and "name" in each for each in steps)
        ):
            raise InputTypeError(f"described must be a list of named steps, got {type_name(steps)}")
        keyed = [step for step in steps if step.get("key") is not None]
        if not keyed:
            raise InputTypeError(
                "described names no keyed disguise; give transform.describe(), or an export's manifest"
            )
        last = keyed[-1]
        if "image_size" not in last and last["name"] != _READABLE:
            raise InputTypeError(f"described does not tell the sizes of {last['name']}; give transform.describe()")
        return cls(
            name=last["name"],
            permuted=last["name"] == "BlockPermute" or last.get("permutation") is not None,
            **{name: _pair(last[name]) for name in ("image_size", "block_size") if name in last},
            **{name: last[name] for name in _STATED if name in last},
            white=white if last["name"] == "RMTDisguise" else None,
            other=tuple(step["name"] for step in keyed[:-1]),
            steps=tuple(_public(step) for step in steps),
        )

    @property
    def blocks(self) -> tuple[int, int]:
        """Size of the blocks, ``(h, w)`` in pixels.

        Raises:
            BlockSizeError: the disguise has no blocks.
        """
        if self.block_size is None:
            raise BlockSizeError(f"{self.name} has no blocks")
        return self.block_size

    @property
    def preserved(self) -> Preserved | None:
        """What each block keeps under any key; ``None`` if attacks on blocks have nothing to compare.

        ``values`` (blocks are only permuted), ``energies`` (a matrix multiplies rows or columns, and keeps their norms
        if it is orthogonal; see :attr:`keeps_lengths`) or ``equality`` (units are replaced one to one at each
        position).
        """
        return None if self.other or self.block_size is None else _PRESERVED.get(self.name)

    @property
    def keeps_lengths(self) -> bool:
        """Whether the norms of rows are preserved; otherwise attacks learn a scale from public images."""
        return self.name != "RMTDisguise" or self.matrix == "orthogonal"

    @property
    def readable(self) -> bool:
        """Whether people can recognise the images as they are."""
        return self.name == _READABLE and not self.other


def require_preserved(scheme: Scheme, attack: str, *wanted: Preserved) -> Preserved:
    """Return what a block keeps under a scheme, if an attack can use it.

    Raises:
        InputTypeError: it is not a scheme.
        InputRangeError: the attack cannot use it; the message names the disguises that it is for.
    """
    if not isinstance(scheme, Scheme):
        raise InputTypeError(
            f"scheme must be an attacks.Scheme, got {type_name(scheme)}; give Scheme.of(transform.describe())"
        )
    if scheme.preserved is None or scheme.preserved not in wanted:
        names = " and ".join(name for name, each in _PRESERVED.items() if each in wanted)
        received = " and ".join((*scheme.other, scheme.name))
        raise InputRangeError(f"{attack} is for images under {names} alone, not under {received}")
    return scheme.preserved


def _is_side(value: Any) -> bool:
    return type(value) is int and 0 < value <= _LONGEST_SIDE


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(_is_side, value))


def _pair(value: Any) -> Any:
    """Return a size that JSON holds as a list, as a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _is_noise(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, str) for each in value)


_FITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: isinstance(value, str) and value != "", "the name of a transform's class"),
    "permuted": (lambda value: isinstance(value, bool), "True or False"),
    "shared": (lambda value: isinstance(value, bool), "True or False"),
    "other": (_are_names, "names of transforms in a tuple"),
    "steps": (lambda value: isinstance(value, tuple), "descriptions of steps in a tuple"),
    "image_size": (lambda value: value is None or _is_size(value), "(height, width) in pixels"),
    "channels": (lambda value: value is None or _is_side(value), "an integer from 1 up, or None"),
    "unit_pixels": (_is_side, "an integer from 1 up"),
    "matrix": (lambda value: value in get_args(Matrix), f"one of {', '.join(get_args(Matrix))}"),
    "side": (lambda value: value in get_args(Side), "'right' or 'left'"),
    "noise": (_is_noise, "a number of grey levels from 0 up"),
    "white": (lambda value: value is None or (type(value) is int and value in (1, 255)), "1 or 255, or None"),
}


def _require_fields(scheme: Scheme) -> None:
    for name, (fits, expected) in _FITS.items():
        if not fits(value := getattr(scheme, name)):
            raise InputRangeError(f"{name} must be {expected}, got {value!r}")


def _require_division(image_size: tuple[int, int], block_size: tuple[int, int]) -> None:
    if any(side % length for side, length in zip(image_size, block_size, strict=True)):
        raise BlockSizeError(f"blocks of {_by(block_size)} do not divide images of {_by(image_size)}")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"


def _public(step: Mapping[str, Any]) -> dict[str, Any]:
    hidden = ("key", "permutation", "model", "inverse")
    permuted = {"permuted": step["permutation"] is not None} if "permutation" in step else {}
    return {name: value for name, value in step.items() if name not in hidden} | permuted
