"""Images made small enough to be compared with all others."""

import torch
from torch import Tensor, nn


def small(images: Tensor, side: int = 32) -> Tensor:
    """Return pixels in grey levels of 0..255, float32 ``[N, pixels]``, of shrunk images.

    Args:
        images: ``[N, C, H, W]``, uint8 or floating point in 0..1.
        side: most pixels of a side.
    """
    floats = images.float() * (1 if images.dtype == torch.uint8 else 255)
    size = min(side, images.shape[-2]), min(side, images.shape[-1])
    return nn.functional.adaptive_avg_pool2d(floats, size).flatten(1)
