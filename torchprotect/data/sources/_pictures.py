"""Decode image files without silent loss."""

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any, BinaryIO

import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor, to_pil_image

from torchprotect.data.preparation import CHANNELS, Preparation, Shape, converted, orientation_of
from torchprotect.data.sources._base import Header
from torchprotect.errors import InputRangeError, ProtectError, SourceError

_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")  # others, such as EPS, are drawn by outside programs
IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "bmp", "ppm", "pgm", "tif", "tiff", "webp")

_CHANNELS = {"1": 1, "L": 1, "P": 3, "CMYK": 3, "YCbCr": 3, "RGB": 3}  # of the tensor a mode becomes
_WITH_ALPHA = {"LA": 1, "PA": 3, "RGBA": 3}  # the same, where a preparation makes sure that they are opaque


def to_tensor(picture: PIL.Image.Image, preparation: Preparation) -> Tensor:
    """Prepare a PIL image and turn it into uint8 ``[1 or 3, H, W]``; raise ``ValueError`` if anything would be lost."""
    channels = _require_lossless(picture, preparation)
    _require_one_raster(picture)
    tensor: Tensor = pil_to_tensor(converted(preparation(picture), "grey" if channels == 1 else "rgb"))
    _require_lossless(picture, preparation)  # a PNG may declare transparency after its pixels
    return tensor


def prepare_tensor(image: Tensor, preparation: Preparation) -> Tensor:
    """Prepare an image tensor; raise ``ValueError`` unless it is uint8 ``[1 or 3, H, W]``."""
    if not preparation:
        return image
    if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"a preparation takes uint8 images [1 or 3, H, W], not {image.dtype} {list(image.shape)}")
    return to_tensor(to_pil_image(image), preparation)


def _require_lossless(picture: PIL.Image.Image, preparation: Preparation) -> int:
    """Return the number of channels a picture has as a tensor, 1 or 3; nothing is decoded for it.

    Raises:
        ValueError: the picture has more than 8 bits a channel, transparency that the preparation does not look at, or
            several frames.
    """
    converted = preparation.mode is not None
    taken = _CHANNELS | (_WITH_ALPHA if converted else {})
    if picture.mode not in taken:
        if picture.mode in _WITH_ALPHA:
            raise InputRangeError(
                f"it has an alpha channel (mode {picture.mode}); --mode rgb drops it if it is fully opaque"
            )
        raise ValueError(f"mode {picture.mode} is not taken: it may have transparency or more than 8 bits")
    if _bits(picture) > 8:
        raise ValueError(f"mode {picture.mode} of {_bits(picture)} bits a channel would lose precision")
    fourth = picture.format == "BMP" and any("X" in str(args) for args in _readings(picture))
    if ("transparency" in picture.info or fourth) and not converted:
        raise ValueError(f"mode {picture.mode} with a transparent colour or a fourth channel would lose it")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # a JPEG with previews or a gain map: its first picture is the picture
        raise ValueError(f"it holds {frames} frames or pages; write each into a file of its own")
    return taken[picture.mode] if preparation.mode is None else CHANNELS[preparation.mode]


def _bits(picture: PIL.Image.Image) -> int:
    """Return the bits a channel has in the file. Pillow silently reduces 16-bit RGB to 8 bits."""
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(258, (8,)))  # type: ignore[attr-defined]  # BitsPerSample
    if picture.format == "PPM":
        return max((16 for args in _readings(picture) if isinstance(args, tuple) and args[-1] > 255), default=8)
    return max((16 for args in _readings(picture) if ";16" in str(args)), default=8)


def _readings(picture: PIL.Image.Image) -> list[Any]:
    """Return the raw modes in which Pillow will decode the file, such as ``RGB;16B``."""
    return [tile[3] for tile in getattr(picture, "tile", ())]


def _require_one_raster(picture: PIL.Image.Image) -> None:
    """Refuse a PPM file with several pictures, of which Pillow would read the first only."""
    stream, tiles = getattr(picture, "fp", None), getattr(picture, "tile", ())
    if picture.format != "PPM" or stream is None or not tiles or tiles[0][0] != "raw":
        return
    end = tiles[0][2] + picture.width * picture.height * len(picture.getbands())
    if stream.seek(0, io.SEEK_END) > end + 1:
        raise ValueError("it holds more than one picture; write each into a file of its own")


def decode(content: bytes, name: str, preparation: Preparation) -> Tensor:
    """Decode an image file to uint8 ``[1 or 3, H, W]``, prepared.

    Raises:
        SourceError: it cannot be decoded or prepared; the message has its name.
    """
    try:
        with _refuse_decompression_bombs(), PIL.Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            return to_tensor(picture, preparation)
    except Exception as error:  # a decoder fails in many ways on a broken file
        raise _unreadable(name, error) from error


def decode_header(file: BinaryIO, name: str, preparation: Preparation) -> Header:
    """Return what is known of the result of :func:`decode` from the header alone.

    Raises:
        SourceError: the header cannot be read, or the picture would be refused.
    """
    try:
        with _refuse_decompression_bombs(), PIL.Image.open(file, formats=_FORMATS) as picture:
            stored = Shape(_require_lossless(picture, preparation), picture.height, picture.width)
            orientation = orientation_of(picture)
            return Header(preparation.shape(stored, orientation), orientation != 1 and not preparation.exif)
    except Exception as error:  # a decoder fails in many ways on a broken file
        raise _unreadable(name, error) from error


@contextlib.contextmanager
def _refuse_decompression_bombs() -> Iterator[None]:
    """Raise where Pillow would only warn: at pictures of more than 89 million pixels."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Palette images with Transparency", UserWarning)  # checked here
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        yield


def _unreadable(name: str, error: Exception) -> SourceError:
    if isinstance(error, ProtectError):  # its message says what to do
        return SourceError(f"cannot use image {name}: {error}")
    known = "no known image format" if isinstance(error, PIL.UnidentifiedImageError) else str(error)
    reason = known or type(error).__name__
    return SourceError(f"cannot read image {name}: {reason}; convert or repair it, or skip such images")
