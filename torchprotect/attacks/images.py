"""Images made small enough to be compared with many others."""

import torch
from torch import Tensor, nn

_FLAT_SIDE = 64  # scrambled images are read at this size: 12,288 numbers each
_IMAGES_AT_ONCE = 256  # bounds the memory


def shrink(images: Tensor, side: int = 32) -> Tensor:
    """Return pixels in grey levels of 0..255, float32 ``[N, pixels]``, of images averaged down to a size.

    Args:
        images: ``[N, C, H, W]``, uint8 or floating point in 0..1.
        side: most pixels of a side; shorter sides stay as they are.
    """
    white = 1 if images.dtype == torch.uint8 else 255
    size = min(side, images.shape[-2]), min(side, images.shape[-1])
    parts = images.split(_IMAGES_AT_ONCE)
    return torch.cat([nn.functional.adaptive_avg_pool2d(part.float() * white, size).flatten(1) for part in parts])


def flat_pixels(images: Tensor) -> Tensor:
    """Return uint8 images as float32 ``[N, D]`` in 0..1, averaged down to 64 x 64 where they are larger."""
    return shrink(images, _FLAT_SIDE) / 255
