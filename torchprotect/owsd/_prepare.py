"""Prepare scrambled images for a classifier."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchprotect._inputs import require_int, require_number
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError


def require_images(images: Any) -> None:
    """Check for scrambled images: uint8 ``[N, 3, H, W]``, at least one.

    Raises:
        InputTypeError: they are not a uint8 tensor; this refuses plain float images too.
        InputShapeError: they have another shape, or there is none.
    """
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        received = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InputTypeError(f"a cloud takes uint8 images, as scrambling makes them, not {received}")
    if images.ndim != 4 or images.shape[1] != 3 or not images.numel():
        raise InputShapeError(f"a cloud takes images [N, 3, H, W], at least one, not {list(images.shape)}")


@dataclass(frozen=True)
class Preparation:
    """Resizing and normalisation of images for a classifier.

    Attributes:
        size: ``(height, width)`` that the classifier takes; unchanged when ``None``.
        mean: mean of the three channels, on the 0..1 scale; not subtracted when ``None``.
        std: standard deviation of the three channels, on the 0..1 scale; not divided by when ``None``.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.size is not None:
            if not isinstance(self.size, tuple) or len(self.size) != 2:
                raise InputRangeError(f"size must be a pair (height, width), got {self.size!r}")
            for side in self.size:
                require_int("each side of size", side, at_least=1)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None:
                _require_three_numbers(name, values, above=0 if name == "std" else None)

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


def _require_three_numbers(name: str, values: Any, *, above: float | None) -> None:
    if not isinstance(values, tuple) or len(values) != 3:
        raise InputRangeError(f"{name} must be a tuple of three numbers, one for each channel, got {values!r}")
    for value in values:
        require_number(f"each number of {name}", value, above=above)
