"""Prepare pictures before a disguise: orientation, mode and size. The pixels are the same on every machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import PIL.Image
import PIL.ImageOps
from PIL import features

from torchprotect._inputs import require_int
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError

Mode: TypeAlias = Literal["rgb", "grey"]
_PILLOW_MODES: dict[Mode, str] = {"rgb": "RGB", "grey": "L"}
CHANNELS: dict[Mode, int] = {"rgb": 3, "grey": 1}
_GREY = ("1", "L")  # modes of one channel
_ORIENTATION = 0x0112  # tag of EXIF
_LARGEST_SIDE = 1 << 16
_MOST_PIXELS = 89_478_485  # as Pillow, which takes larger pictures for decompression bombs


class Shape(NamedTuple):
    """Shape of an image, ``[C, H, W]``."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels} x {self.height} x {self.width}"


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Steps that bring every picture to one shape before the disguise, applied in the order of the attributes.

    A step that is not set does nothing. Pictures are decoded in full, and resized with Pillow's antialiased bilinear
    filter in integer arithmetic. The pixels depend on the versions of Pillow and its JPEG library, but not on the
    machine.

    Attributes:
        exif: turn the picture as its EXIF orientation says. Otherwise pixels are used as stored.
        mode: ``"rgb"`` (3 channels) or ``"grey"`` (1 channel, ITU-R 601-2 luma). Palettes are resolved. An alpha
            channel is dropped if it is opaque everywhere; other transparency is refused.
        resize: ``(height, width)`` in pixels, regardless of the aspect ratio; or the length of the shorter side, as in
            ``torchvision.transforms.Resize``.
        crop: ``(height, width)`` of the centre to keep, as in ``torchvision.transforms.CenterCrop``. Pictures must be
            at least that large.
        pad: ``(height, width)`` to pad to with black, evenly on both sides. Pictures must be at most that large.

    Raises:
        InputTypeError, InputRangeError: a setting is not a valid size or mode, or both ``crop`` and ``pad`` are given.

    Example::

        prepare = data.Preparation(mode="rgb", resize=256, crop=(224, 224))
    """

    exif: bool = False
    mode: Mode | None = None
    resize: int | tuple[int, int] | None = None
    crop: tuple[int, int] | None = None
    pad: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.exif, bool):
            raise InputTypeError(f"exif must be True or False, got {self.exif!r}")
        if self.mode not in (None, *get_args(Mode)):
            raise InputRangeError(f"mode must be 'rgb', 'grey' or None, got {self.mode!r}")
        if isinstance(self.resize, int):
            require_int("resize", self.resize, at_least=1, at_most=_LARGEST_SIDE)
        else:
            _require_size("resize", self.resize)
        _require_size("crop", self.crop)
        _require_size("pad", self.pad)
        if self.crop is not None and self.pad is not None:
            raise InputRangeError("crop and pad exclude each other: a picture is cut to a size, or padded to it")

    def __bool__(self) -> bool:
        return bool(self.describe())

    def describe(self) -> dict[str, Any]:
        """Return the settings that have an effect, as they are written to a plan and a manifest."""
        settings = {"exif": self.exif or None, "mode": self.mode}
        sizes = {"resize": self.resize, "crop": self.crop, "pad": self.pad}
        listed = {name: list(size) if isinstance(size, tuple) else size for name, size in sizes.items()}
        return {name: value for name, value in (settings | listed).items() if value is not None}

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> "Preparation":
        """Make a preparation from the result of :meth:`describe`.

        Raises:
            InputTypeError, InputRangeError: the description is not one of a preparation, or comes from a newer version.
        """
        if unknown := sorted(described.keys() - cls.__dataclass_fields__.keys()):
            raise InputRangeError(f"this version does not know these steps of a preparation: {', '.join(unknown)}")
        sizes: dict[str, Any] = {
            n: tuple(value) if isinstance(value, list) else value for n, value in described.items()
        }
        return cls(**sizes)

    def __call__(self, picture: PIL.Image.Image) -> PIL.Image.Image:
        """Prepare a picture.

        Args:
            picture: picture of any mode that holds 8 bits a channel.

        Returns:
            A picture of mode ``L`` or ``RGB``; without any step, what was given.

        Raises:
            InputShapeError: it is too small to be cropped, or too large to be padded.
            InputRangeError: it is transparent.
        """
        if not self:
            return picture
        if self.exif:
            picture = PIL.ImageOps.exif_transpose(picture)
        if self.mode is not None:
            _require_opaque(picture)
        picture = converted(picture, self.mode or ("grey" if picture.mode in _GREY else "rgb"))
        if self.resize is not None:
            height, width = self._resized(picture.height, picture.width)
            picture = picture.resize((width, height), PIL.Image.Resampling.BILINEAR)
        if self.crop is not None:
            picture = _crop(picture, self.crop)
        return picture if self.pad is None else _pad(picture, self.pad)

    def shape(self, shape: Shape, orientation: int = 1) -> Shape:
        """Return the shape that a picture has after the preparation.

        Args:
            shape: shape of the picture before.
            orientation: its EXIF orientation; 1 if there is none.

        Raises:
            InputShapeError: the picture is too small to be cropped, or too large to be padded.
        """
        channels, height, width = shape
        if self.exif and orientation in (5, 6, 7, 8):
            height, width = width, height
        if self.mode is not None:
            channels = CHANNELS[self.mode]
        if self.resize is not None:
            height, width = self._resized(height, width)
        if self.crop is not None:
            _require_covers("crop", (height, width), self.crop)
            height, width = self.crop
        if self.pad is not None:
            _require_covers("pad", self.pad, (height, width))
            height, width = self.pad
        return Shape(channels, height, width)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if isinstance(self.resize, tuple):
            return self.resize
        assert self.resize is not None  # noqa: S101 - asked by the callers; tells the type checker
        short, long = min(height, width), max(height, width)
        longer = int(self.resize * long / short)
        if self.resize * longer > _MOST_PIXELS:
            raise InputShapeError(
                f"the picture is {height} x {width} pixels, so narrow that it would have {self.resize} x {longer}; "
                "crop it, or skip such images"
            )
        return (self.resize, longer) if height <= width else (longer, self.resize)


def converted(picture: PIL.Image.Image, mode: Mode) -> PIL.Image.Image:
    """Return a picture in a mode; itself, not a copy, if it has that mode."""
    wanted = _PILLOW_MODES[mode]
    return picture if picture.mode == wanted else picture.convert(wanted)


def orientation_of(picture: PIL.Image.Image) -> int:
    """Return the EXIF orientation of a picture, 1 (upright) if there is none; nothing is decoded.

    Pillow rotates a TIFF while decoding it, and reports the size it will then have.
    """
    if picture.format == "TIFF" or (picture.format == "PNG" and "exif" not in picture.info):
        return 1
    found = picture.getexif().get(_ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def decoder_versions() -> dict[str, str | None]:
    """Return the versions of the libraries that decode and resize pictures; other versions may give other pixels."""
    jpeg, turbo = features.version("jpg"), features.version("libjpeg_turbo")
    return {
        "pillow": PIL.__version__,
        "jpeg": f"libjpeg {jpeg}" if turbo is None else f"libjpeg-turbo {turbo}",
        "webp": features.version("webp"),
    }


def other_decoders(plan: Mapping[str, Any]) -> str | None:
    """Describe the decoder versions that differ between an export's plan and this machine; ``None`` if none does."""
    made_with, here = plan.get("decoders", {}), decoder_versions()
    differing = [f"{name} was {was}, is {here.get(name)}" for name, was in made_with.items() if here.get(name) != was]
    return f"other versions may decode other pixels: {', '.join(differing)}" if differing else None


def _require_size(name: str, size: Any) -> None:
    if size is None:
        return
    if not isinstance(size, tuple) or len(size) != 2:
        raise InputTypeError(f"{name} must be (height, width), got {size!r}")
    for side in size:
        require_int(f"a side of {name}", side, at_least=1, at_most=_LARGEST_SIDE)


def _require_opaque(picture: PIL.Image.Image) -> None:
    """Check that dropping a picture's transparency loses nothing."""
    picture.load()  # a PNG may declare transparency after its pixels
    if not picture.has_transparency_data:
        return
    if picture.convert("RGBA").getchannel("A").getextrema()[0] != 255:
        raise InputRangeError("it is transparent in places; lay it over a background first, or skip such images")


def _require_covers(step: Literal["crop", "pad"], large: tuple[int, int], small: tuple[int, int]) -> None:
    if small[0] <= large[0] and small[1] <= large[1]:
        return
    size, wanted = (large, small) if step == "crop" else (small, large)
    problem = "smaller than the crop" if step == "crop" else "larger than the size to pad to"
    raise InputShapeError(
        f"the picture is {size[0]} x {size[1]} pixels, {problem}, {wanted[0]} x {wanted[1]}; resize it first"
    )


def _crop(picture: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    _require_covers("crop", (picture.height, picture.width), size)
    # rounded as in torchvision's CenterCrop
    top, left = round((picture.height - size[0]) / 2), round((picture.width - size[1]) / 2)
    return picture.crop((left, top, left + size[1], top + size[0]))


def _pad(picture: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    _require_covers("pad", size, (picture.height, picture.width))
    canvas = PIL.Image.new(picture.mode, (size[1], size[0]))
    canvas.paste(picture, ((size[1] - picture.width) // 2, (size[0] - picture.height) // 2))
    return canvas
