"""The L2 ball around each image of a batch, in the units of its pixels (0..1), over the whole image."""

import torch
from torch import Tensor

from torchprotect._inputs import require_number, require_tensor
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError

_LEVELS = 255
_HALVINGS = 20  # of the fraction of a perturbation that is kept: finer than any 8-bit step
_ROUNDINGS = 4  # roundings that a projection leaves to the radius, so that the measured distance is within it


def distances(images: Tensor, plain: Tensor) -> Tensor:
    """Return the L2 distance of each image to its plain version.

    Args:
        images: floating point ``[N, ...]``.
        plain: plain versions, of the same shape.

    Returns:
        ``[N]``, in the dtype of the images, at least float32.
    """
    _require_alike(images, plain)
    difference = images - plain
    return norms(difference.float() if difference.dtype in (torch.float16, torch.bfloat16) else difference)


def project(images: Tensor, plain: Tensor, eps: float) -> Tensor:
    """Project images onto the L2 balls of radius ``eps`` around their plain versions: ``[N, ...]`` like both."""
    _require_alike(images, plain)
    require_number("eps", eps, above=0)
    return into_ball(images - plain, plain, eps)


def into_ball(difference: Tensor, plain: Tensor, eps: float) -> Tensor:
    """Return ``plain + difference``, with differences longer than ``eps`` scaled to that length."""
    radius = eps * (1 - _ROUNDINGS * torch.finfo(difference.dtype).eps)
    length = norms(difference)
    scale = torch.where(length > radius, radius / length, torch.ones_like(length))
    return torch.addcmul(plain, difference, per_image(scale, difference))


def round_to_8bit(images: Tensor, plain: Tensor, *, eps: float | None = None) -> Tensor:
    """Round pixels in 0..1 to the nearest of 256 levels.

    Rounding ``n`` pixel values changes an image by a distance of about ``sqrt(n / 12) / 255``: 0.063 for 3 x 32 x 32.

    Args:
        images: floating point ``[N, ...]`` in 0..1.
        plain: the plain images, from which ``eps`` is measured; of the same shape.
        eps: keep the rounded images within this distance, by undoing as little of a perturbation as 8 bits allow. If
            the rounded plain image itself is farther away, that image is returned.

    Returns:
        Multiples of 1 / 255 in the images' shape and dtype.

    Raises:
        InputRangeError: pixels lie outside 0..1; the message has their range.
    """
    _require_alike(images, plain)
    require_within(images, 0.0, 1.0, "8-bit pixels stand for 0..1")
    rounded = _rounded(images)
    if eps is None:
        return rounded
    require_number("eps", eps, above=0)
    best, low, high = _rounded(plain), images.new_zeros(len(images)), images.new_ones(len(images))
    kept = high
    for _ in range(_HALVINGS):
        tried = _rounded(plain + (images - plain) * per_image(kept, images))
        fits = distances(tried, plain) <= eps
        best = torch.where(per_image(fits, images), tried, best)
        low, high = torch.where(fits, kept, low), torch.where(fits, high, kept)
        kept = (low + high) / 2
        if bool((low == 1).all()):  # nothing had to be undone
            break
    return best


def norms(tensor: Tensor) -> Tensor:
    """Return the L2 norm of each image, ``[N]``, in any memory format.

    Uses a sum of squares, because float32 sums of ``vector_norm`` are less exact: an error of 2e-6 at 3 x 320 x 320.
    """
    return tensor.square().sum(tuple(range(1, tensor.ndim))).sqrt()


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Return ``values [N]`` with dimensions added, to broadcast with ``like [N, ...]``."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


def require_within(images: Tensor, low: float, high: float, hint: str) -> None:
    """Check that all pixels lie in ``low..high``, both as numbers of the images' dtype."""
    if not images.numel():
        return
    least, most = images.detach().aminmax()
    edges = images.new_tensor([low, high])
    if not bool((least >= edges[0]) & (most <= edges[1])):
        raise InputRangeError(
            f"images must lie in {(low, high)}, but lie in ({float(least):g}, {float(most):g}); {hint}"
        )


def _require_alike(images: Tensor, plain: Tensor) -> None:
    require_tensor("images", images)
    require_tensor("plain", plain)
    if not (images.is_floating_point() and plain.is_floating_point()):
        raise InputTypeError(f"images must be floating point, not {images.dtype} and {plain.dtype}: divide by 255")
    if images.shape != plain.shape or images.ndim < 2:
        raise InputShapeError(
            f"images and plain must have the same shape [N, ...], not {list(images.shape)} and {list(plain.shape)}"
        )


def _rounded(images: Tensor) -> Tensor:
    return images.mul(_LEVELS).round_().div_(_LEVELS)
