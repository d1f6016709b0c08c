"""One setting of a disguise, to be compared with others."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, Literal, get_args

from torchprotect._inputs import require_number, type_name
from torchprotect.errors import BlockSizeError, InputRangeError, InputTypeError
from torchprotect.keys.aes import UNIT_PIXELS, usable_units
from torchprotect.keys.rmt import Matrix, Side
from torchprotect.ops.blocks import divisors

SchemeName = Literal["block-permute", "aes-ecb", "rmt"]
"""Disguises, by their names on the command line."""

TITLES: dict[str, str] = {"block-permute": "Block permutation", "aes-ecb": "AES", "rmt": "RMT"}
"""Readable names of the disguises."""

_BELONGS: dict[str, tuple[str, ...]] = {
    "noise": ("rmt",),
    "matrix": ("rmt",),
    "side": ("rmt",),
    "unit_pixels": ("aes-ecb",),
    "shared": ("aes-ecb", "rmt"),
    "per_channel": ("aes-ecb", "rmt"),
    "permute": ("aes-ecb", "rmt"),
}
_LOUDEST = 10_000  # grey levels of noise; far more than any picture survives


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A disguise with its public parameters. It holds no key: each comparison draws fresh ones.

    Attributes:
        scheme: ``block-permute``, ``aes-ecb`` or ``rmt``.
        block_size: ``(h, w)`` in pixels; must divide the images.
        permute: whether blocks are put in a secret order; always so for ``block-permute``.
        shared: whether all positions share one secret (``aes-ecb``, ``rmt``).
        per_channel: whether each channel has its own secret (``aes-ecb``, ``rmt``).
        noise: ``u`` of the noise, uniform from 0 to ``u`` grey levels of 255 (``rmt``).
        matrix: ``orthogonal``, ``uniform`` or ``gaussian`` (``rmt``).
        side: side from which the matrices multiply, ``right`` or ``left`` (``rmt``).
        unit_pixels: number of pixels in a cipher unit, 16, 8, 4 or 2 (``aes-ecb``).

    Raises:
        InputTypeError, InputRangeError, BlockSizeError: a field has an invalid value, or belongs to another scheme; the
            message names it.
    """

    scheme: SchemeName
    block_size: tuple[int, int]
    permute: bool = True
    shared: bool = False
    per_channel: bool = False
    noise: float = 0.0
    matrix: Matrix = "orthogonal"
    side: Side = "right"
    unit_pixels: int = 16

    def __post_init__(self) -> None:
        for name, (fits, expected) in _FITS.items():
            if not fits(value := getattr(self, name)):
                raise InputRangeError(f"{name} must be {expected}, got {_told(value)}")
        require_number("noise", self.noise, at_least=0, at_most=_LOUDEST)
        object.__setattr__(self, "noise", float(self.noise))  # 50 and 50.0 are one setting
        for each in fields(self):
            schemes = _BELONGS.get(each.name, get_args(SchemeName))
            if self.scheme not in schemes and getattr(self, each.name) != each.default:
                raise InputRangeError(f"{each.name} belongs to {' and '.join(schemes)}, not to {self.scheme}")
        if self.scheme == "aes-ecb" and self.unit_pixels not in usable_units(self.block_size):
            raise BlockSizeError(
                f"block_size {by(self.block_size)} does not hold whole cipher units of {self.unit_pixels} pixels"
            )

    @classmethod
    def from_dict(cls, described: Any) -> "Setting":
        """Make a setting from the result of :meth:`to_dict`, or from an entry of a settings file.

        Raises:
            InputTypeError, InputRangeError, BlockSizeError: it is not a valid setting; the message names the field.
        """
        if not isinstance(described, Mapping):
            raise InputTypeError(f"a setting must have named fields, such as scheme, got {type_name(described)}")
        names = [each.name for each in fields(cls)]
        if unknown := sorted(map(str, described.keys() - set(names))):
            raise InputRangeError(f"there is no field {_told(unknown[0])}; the fields are {', '.join(names)}")
        if missing := [each.name for each in fields(cls) if each.default is MISSING and each.name not in described]:
            raise InputRangeError(f"{missing[0]} is missing")
        size = described["block_size"]
        return cls(**{**described, "block_size": tuple(size) if isinstance(size, list) else size})

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON: the fields of the scheme, and those that every setting needs."""
        told = {each.name: getattr(self, each.name) for each in fields(self) if self.scheme in _schemes(each.name)}
        return {**told, "block_size": list(self.block_size)}

    @property
    def name(self) -> str:
        """Readable name, such as "RMT 7 x 7, u = 50, blocks permuted"."""
        parts = [f"{TITLES[self.scheme]} {by(self.block_size)}"]
        if self.scheme == "aes-ecb" and self.unit_pixels != UNIT_PIXELS[0]:
            parts.append(f"units of {self.unit_pixels}")
        if self.scheme == "rmt":
            parts += [f"u = {self.noise:g}"] + [self.matrix] * (self.matrix != "orthogonal")
            parts += ["from the left"] * (self.side == "left")
        if self.scheme != "block-permute":
            parts.append("blocks permuted" if self.permute else "blocks in place")
        parts += ["one secret for all positions"] * self.shared + ["a secret per channel"] * self.per_channel
        return ", ".join(parts)

    def require_fits(self, image_size: tuple[int, int]) -> None:
        """Check that the blocks divide images of this size.

        Raises:
            BlockSizeError: they do not; the message lists the sizes that do.
        """
        if any(side % length for side, length in zip(image_size, self.block_size, strict=True)):
            heights, widths = (divisors(side) for side in image_size)
            raise BlockSizeError(
                f"block_size {by(self.block_size)} does not divide images of {by(image_size)}; heights that do: "
                f"{', '.join(map(str, heights))}; widths that do: {', '.join(map(str, widths))}"
            )


def by(size: tuple[int, int]) -> str:
    """Return a size as text."""
    return f"{size[0]} x {size[1]}"


def _schemes(field: str) -> tuple[str, ...]:
    return _BELONGS.get(field, get_args(SchemeName))


def _told(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]} .."


def _one_of(*values: Any) -> tuple[Callable[[Any], bool], str]:
    named = ", ".join(map(str, values[:-1]))
    return lambda value: type(value) in (str, int) and value in values, f"{named} or {values[-1]}"


_BOOL: tuple[Callable[[Any], bool], str] = (lambda value: isinstance(value, bool), "true or false")


def _is_size(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(each) is int and each > 0 for each in value)


_FITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "scheme": _one_of(*get_args(SchemeName)),
    "block_size": (_is_size, "two whole numbers of pixels, [height, width]"),
    "permute": _BOOL,
    "shared": _BOOL,
    "per_channel": _BOOL,
    "matrix": _one_of(*get_args(Matrix)),
    "side": _one_of(*get_args(Side)),
    "unit_pixels": _one_of(*UNIT_PIXELS),
}
