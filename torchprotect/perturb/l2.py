"""The L2 ball around each image of a batch, in the units of its pixels (0..1), over the whole image."""

import torch
from torch import Tensor

_LEVELS = 255
_HALVINGS = 20  # of the share of a perturbation that is kept: finer than any 8-bit step


def distances(images: Tensor, plain: Tensor) -> Tensor:
    """Return the L2 distance of each image to its plain one.

    Args:
        images: floating point ``[N, ...]``.
        plain: of the same shape.

    Returns:
        ``[N]``, in the dtype of the images, at least float32.
    """
    difference = images - plain
    return _norms(difference.float() if difference.dtype in (torch.float16, torch.bfloat16) else difference)


def project(images: Tensor, plain: Tensor, eps: float) -> Tensor:
    """Return the nearest images within ``eps`` of the plain ones: ``[N, ...]`` like both."""
    difference = images - plain
    return plain + difference * per_image((eps / _norms(difference).clamp_min(1e-12)).clamp_max(1), difference)


def round_to_8bit(images: Tensor, plain: Tensor, *, eps: float | None = None) -> Tensor:
    """Round pixels of 0..1 to the nearest of 256 levels.

    Rounding moves an image of ``n`` pixel values by about ``sqrt(n / 12) / 255``: 0.063 for 3 x 32 x 32.

    Args:
        images: floating point ``[N, ...]`` in 0..1.
        plain: what ``eps`` is measured from, of the same shape.
        eps: keep the rounded images within it, by taking back as small a part of a perturbation as 8 bits allow. An
            image whose plain one, rounded, is farther away than that comes back as that.

    Returns:
        Multiples of 1 / 255 in the images' shape and dtype.
    """
    rounded = _rounded(images)
    if eps is None:
        return rounded
    best, low, high = _rounded(plain), images.new_zeros(len(images)), images.new_ones(len(images))
    share = high
    for _ in range(_HALVINGS):
        tried = _rounded(plain + (images - plain) * per_image(share, images))
        fits = distances(tried, plain) <= eps
        best = torch.where(per_image(fits, images), tried, best)
        low, high = torch.where(fits, share, low), torch.where(fits, high, share)
        share = (low + high) / 2
        if bool((low == 1).all()):  # nothing had to be taken back
            break
    return best


def _rounded(images: Tensor) -> Tensor:
    return images.mul(_LEVELS).round_().div_(_LEVELS)


def _norms(difference: Tensor) -> Tensor:
    return torch.linalg.vector_norm(difference.flatten(1), dim=1)


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Return ``values [N]`` with dimensions added, to be used with ``like [N, ...]``."""
    return values.reshape(-1, *[1] * (like.ndim - 1))
