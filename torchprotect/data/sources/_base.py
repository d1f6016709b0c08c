"""What a source of plain images is."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect.errors import SourceError

_FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")  # others, such as EPS, are drawn by outside programs
IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "bmp", "ppm", "pgm", "tif", "tiff", "webp")


class Sample(NamedTuple):
    """One plain image ``[C, H, W]`` and its class number, if it has one."""

    image: Tensor
    label: int | None


class Source(Protocol):
    """Plain images read by index. A source can be pickled, for worker processes.

    Attributes:
        folders: folders that are searched or read as a whole; an export refuses to write in there.
    """

    folders: tuple[Path, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; raise :class:`SourceError` with its name if it cannot be read."""

    def name(self, index: int) -> str:
        """Return what the source calls a sample; it stays out of the export."""

    def listing(self) -> Iterator[bytes]:
        """Yield what identifies the source's content without decoding it."""


def to_tensor(picture: PIL.Image.Image) -> Tensor:
    """Turn a PIL image into uint8 ``[1 or 3, H, W]``; raise ``ValueError`` where that would lose something."""
    if picture.mode in ("1", "L"):
        picture = picture.convert("L")
    elif picture.mode in ("P", "CMYK", "YCbCr", "RGB") and "transparency" not in picture.info:
        picture = picture.convert("RGB")
    else:
        raise ValueError(f"mode {picture.mode} has transparency or more than 8 bits; convert it to grey or RGB")
    tensor: Tensor = pil_to_tensor(picture)
    return tensor


def decode(content: bytes, name: str) -> Tensor:
    """Decode an image file to uint8 ``[1 or 3, H, W]``.

    Raises:
        SourceError: it cannot be decoded; the message has its name.
    """
    try:
        with PIL.Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            return to_tensor(picture)
    except Exception as error:  # a decoder fails in many ways on a broken file
        reason = "no known image format" if isinstance(error, PIL.UnidentifiedImageError) else str(error)
        raise SourceError(f"cannot read image {name}: {reason}; mend it, or skip unreadable images") from error


def require_image(image: Tensor, name: str) -> Tensor:
    """Check that a sample's image is a tensor ``[C, H, W]``."""
    if type(image) is not Tensor or image.ndim != 3 or image.device != torch.device("cpu"):
        raise SourceError(f"sample {name} is no image [C, H, W] on the CPU")
    return image
