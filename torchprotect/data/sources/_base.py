"""The interface of a source of plain images, and the decoding of image files."""

import contextlib
import io
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect.errors import SourceError

_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")  # others, such as EPS, are drawn by outside programs
IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "bmp", "ppm", "pgm", "tif", "tiff", "webp")

_CHANNELS = {"1": 1, "L": 1, "P": 3, "CMYK": 3, "YCbCr": 3, "RGB": 3}  # of the tensor a mode becomes


class Sample(NamedTuple):
    """One plain image ``[C, H, W]`` and its class number, if it has one."""

    image: Tensor
    label: int | None


class Source(Protocol):
    """Plain images read by index. A source can be pickled, for worker processes.

    A source may also have ``known_labels() -> list[int | None]``, all labels, and ``shape(index) -> (C, H, W)``, each
    without decoding an image: an export then finds samples that do not fit before it writes a shard. It may have
    ``read(indices) -> Iterator[Sample | SourceError]``, which yields many samples in the order of their indices, an
    error in place of one that cannot be read: a source that is far away then fetches them together. An error that is
    raised instead, as by a store that cannot be reached, stops an export even if it skips images.

    Attributes:
        folders: folders, as paths or URLs, that are searched or read as a whole; an export refuses to write in there.
        left_out: kinds of files that were found but are not part of the source, and how many of each.
    """

    folders: tuple[Path | str, ...]
    left_out: Counter[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; raise :class:`SourceError` with its name if it cannot be read."""

    def name(self, index: int) -> str:
        """Return the sample's name within the source; it is not written into the export."""

    def locate(self, index: int) -> str:
        """Return a location that helps a person find the sample: its name, and the file that holds it."""

    def listing(self) -> Iterator[bytes]:
        """Yield what identifies this source, whatever its files contain: the names of the samples."""

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield values that change when one of these samples is replaced, as far as they are known without decoding.

        Raises:
            SourceError: the source itself changed since it was opened, so that an export of it must stop.
        """


def read_samples(source: Source, indices: list[int]) -> Iterator[Sample | SourceError]:
    """Yield the samples at these indices, in their order; an error in place of one that cannot be read."""
    if hasattr(source, "read"):
        yield from source.read(indices)
        return
    for index in indices:
        try:
            sample = source[index]
        except SourceError as error:
            yield error
        else:
            yield sample


def to_tensor(picture: PIL.Image.Image) -> Tensor:
    """Turn a PIL image into uint8 ``[1 or 3, H, W]``; raise ``ValueError`` if information would be lost."""
    channels = require_lossless(picture)
    _require_one_raster(picture)
    tensor: Tensor = pil_to_tensor(picture.convert("L" if channels == 1 else "RGB"))
    require_lossless(picture)  # a PNG may declare transparency after its pixels
    return tensor


def require_lossless(picture: PIL.Image.Image) -> int:
    """Return the number of channels a picture has as a tensor, 1 or 3; nothing is decoded for it.

    Raises:
        ValueError: the picture has more than 8 bits a channel, transparency, or several frames.
    """
    if picture.mode not in _CHANNELS:
        raise ValueError(f"mode {picture.mode} is not taken: it may have transparency or more than 8 bits")
    if _bits(picture) > 8:
        raise ValueError(f"mode {picture.mode} of {_bits(picture)} bits a channel would lose precision")
    fourth = picture.format == "BMP" and any("X" in str(args) for args in _readings(picture))
    if "transparency" in picture.info or fourth:
        raise ValueError(f"mode {picture.mode} with a transparent colour or a fourth channel would lose it")
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # a JPEG with previews or a gain map: its first picture is the picture
        raise ValueError(f"it holds {frames} frames or pages; write each into a file of its own")
    return _CHANNELS[picture.mode]


def _bits(picture: PIL.Image.Image) -> int:
    """Return the bits a channel has in the file. Pillow silently reduces 16-bit RGB to 8 bits."""
    if picture.format == "TIFF":
        return max(picture.tag_v2.get(258, (8,)))  # type: ignore[attr-defined]  # BitsPerSample
    if picture.format == "PPM":
        return max((16 for args in _readings(picture) if isinstance(args, tuple) and args[-1] > 255), default=8)
    return max((16 for args in _readings(picture) if ";16" in str(args)), default=8)


def _readings(picture: PIL.Image.Image) -> list[Any]:
    """Return the raw modes that Pillow will decode the file with, such as ``RGB;16B``."""
    return [tile[3] for tile in getattr(picture, "tile", ())]


def _require_one_raster(picture: PIL.Image.Image) -> None:
    """Refuse a PPM file with several pictures, of which Pillow would read the first only."""
    stream, tiles = getattr(picture, "fp", None), getattr(picture, "tile", ())
    if picture.format != "PPM" or stream is None or not tiles or tiles[0][0] != "raw":
        return
    end = tiles[0][2] + picture.width * picture.height * len(picture.getbands())
    if stream.seek(0, io.SEEK_END) > end + 1:
        raise ValueError("it holds more than one picture; write each into a file of its own")


def decode(content: bytes, name: str) -> Tensor:
    """Decode an image file to uint8 ``[1 or 3, H, W]``.

    Raises:
        SourceError: it cannot be decoded; the message has its name.
    """
    try:
        with _refuse_decompression_bombs(), PIL.Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            return to_tensor(picture)
    except Exception as error:  # a decoder fails in many ways on a broken file
        raise _unreadable(name, error) from error


def decode_shape(file: BinaryIO, name: str) -> tuple[int, int, int]:
    """Return the shape ``(C, H, W)`` that :func:`decode` would give, from the header alone.

    Raises:
        SourceError: the header cannot be read, or the picture would be refused.
    """
    try:
        with _refuse_decompression_bombs(), PIL.Image.open(file, formats=_FORMATS) as picture:
            return require_lossless(picture), picture.height, picture.width
    except Exception as error:  # a decoder fails in many ways on a broken file
        raise _unreadable(name, error) from error


@contextlib.contextmanager
def _refuse_decompression_bombs() -> Iterator[None]:
    """Raise where Pillow would only warn: at pictures of more than 89 million pixels."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        yield


def _unreadable(name: str, error: Exception) -> SourceError:
    reason = "no known image format" if isinstance(error, PIL.UnidentifiedImageError) else str(error)
    return SourceError(f"cannot read image {name}: {reason}; convert or repair it, or skip such images")


def require_image(image: Tensor, name: str) -> Tensor:
    """Check that a sample's image is a tensor ``[C, H, W]``."""
    if type(image) is not Tensor or image.ndim != 3 or image.device != torch.device("cpu"):
        raise SourceError(f"sample {name} is no image [C, H, W] on the CPU")
    return image
