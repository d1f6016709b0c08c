"""Shrink images for comparisons with many others."""

import math

import torch
from torch import Tensor, nn

from torchprotect.attacks.scheme import Scheme

_FLAT_SIDE = 64  # scrambled images are read at this size: 12,288 numbers each
_IMAGES_AT_ONCE = 256  # bounds the memory


def shrink(images: Tensor, side: int = 32) -> Tensor:
    """Return pixels in grey levels of 0..255, float32 ``[N, pixels]``, of images averaged down to a size.

    Args:
        images: ``[N, C, H, W]``, uint8 or floating point in 0..1.
        side: largest number of pixels on a side; shorter sides stay as they are.
    """
    white = 1 if images.dtype == torch.uint8 else 255
    size = min(side, images.shape[-2]), min(side, images.shape[-1])
    parts = images.split(_IMAGES_AT_ONCE)
    return torch.cat([nn.functional.adaptive_avg_pool2d(part.float() * white, size).flatten(1) for part in parts])


def flat_pixels(images: Tensor) -> Tensor:
    """Return uint8 images as float32 ``[N, D]`` in 0..1, averaged down to 64 x 64 where they are larger."""
    return shrink(images, _FLAT_SIDE) / 255


def white_of(scheme: Scheme, plain: Tensor, disguised: Tensor) -> int:
    """Return the value of white in disguised images, 255 or 1.

    uint8 has 255. For floating-point images the scheme states it; otherwise it is the value at which they are about as
    bright as the plain ones. An attacker would try both, and only one of two scales that differ by a factor of 255 can
    fit.

    Args:
        scheme: scheme of the disguise.
        plain: images of the same kind, uint8 or floating point in 0..1.
        disguised: images of any number type.
    """
    if not disguised.is_floating_point():
        return 255
    if scheme.white is not None:
        return scheme.white
    expected = (plain.float() * (1 if plain.dtype == torch.uint8 else 255) + scheme.noise / 2).square().mean().sqrt()
    ratio = float(disguised.float().square().mean().sqrt() / expected)
    if not 0 < ratio < math.inf:
        return 1 if plain.is_floating_point() else 255
    return 255 if abs(math.log(ratio)) <= abs(math.log(255 * ratio)) else 1
