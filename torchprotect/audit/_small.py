"""Images made small enough to be compared with all others."""

import torch
from torch import Tensor, nn

_SIDE = 32


def small(images: Tensor) -> Tensor:
    """Return pixels in grey levels of 0..255, float32 ``[N, pixels]``, of images shrunk to 32 x 32 at most.

    Args:
        images: ``[N, C, H, W]``, uint8 or floating point in 0..1.
    """
    floats = images.float() * (1 if images.dtype == torch.uint8 else 255)
    size = min(_SIDE, images.shape[-2]), min(_SIDE, images.shape[-1])
    return nn.functional.adaptive_avg_pool2d(floats, size).flatten(1)
