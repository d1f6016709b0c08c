"""From scrambled images to what a classifier takes."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError


def require_images(images: Any) -> None:
    """Check for scrambled images: uint8 ``[N, 3, H, W]``, at least one.

    Raises:
        InputTypeError: something else than uint8; plain float pictures are refused that way too.
        InputShapeError: another shape, or no image.
    """
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        came = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InputTypeError(f"a cloud is given uint8 images, as scrambling makes them, not {came}")
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        raise InputShapeError(f"a cloud is given images [N, 3, H, W], at least one, not {list(images.shape)}")


def require_whole(name: str, value: Any, least: int) -> None:
    """Check for a whole number.

    Raises:
        InputRangeError: it is something else, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputRangeError(f"{name} is a whole number of at least {least}, not {value!r}")


@dataclass(frozen=True)
class Preparation:
    """Resizes, and normalises where asked to.

    Attributes:
        size: ``(height, width)`` the classifier takes; the images' own when ``None``.
        mean: of the three channels, on the 0..1 scale; not subtracted when ``None``.
        std: of the three channels, on the 0..1 scale; not divided by when ``None``.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            if not isinstance(self.size, tuple) or len(self.size) != 2:
                raise InputRangeError(f"size is a pair (height, width), not {self.size!r}")
            for side in self.size:
                require_whole("a side of size", side, 1)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and not _three_numbers(values):
                raise InputRangeError(f"{name} is a tuple of three finite numbers, not {values!r}")
        if self.std is not None and min(self.std) <= 0:
            raise InputRangeError(f"std is a tuple of three numbers above 0, not {self.std!r}")

    def floats(self, images: Tensor) -> Tensor:
        """Return float32 images in 0..1, resized, then normalised."""
        floats = self._resized(images.float() / 255)
        if self.mean is not None:
            floats = floats - floats.new_tensor(self.mean)[:, None, None]
        if self.std is not None:
            floats = floats / floats.new_tensor(self.std)[:, None, None]
        return floats

    def levels(self, images: Tensor) -> Tensor:
        """Return uint8 images, resized and rounded."""
        if self.size is None or tuple(images.shape[-2:]) == self.size:
            return images
        return self._resized(images.float()).round_().clamp_(0, 255).to(torch.uint8)

    def _resized(self, floats: Tensor) -> Tensor:
        if self.size is None or tuple(floats.shape[-2:]) == self.size:
            return floats
        return torch.nn.functional.interpolate(floats, self.size, mode="bilinear", antialias=True)


def _three_numbers(values: Any) -> bool:
    return (
        isinstance(values, tuple)
        and len(values) == 3
        and all(isinstance(value, int | float) and math.isfinite(value) for value in values)
    )
