"""Similarity of images to reference images, image by image."""

import torch
from torch import Tensor

from torchprotect.attacks._inputs import require_plain, require_same_size
from torchprotect.errors import InputShapeError

_WINDOW = 11  # as in the paper on SSIM
_AT_ONCE = 2**22  # numbers of one batch, which SSIM makes about ten temporary copies of


def psnr(images: Tensor, reference: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio of each image, in dB; infinite for an image equal to its reference.

    It needs the truth, so no attacker can compute it.

    Args:
        images: ``[N, C, H, W]``, uint8 or floating point in 0..1.
        reference: the same number and size; uint8 or floating point in 0..1, whichever of them ``images`` are.

    Returns:
        float32 ``[N]``: ``-10 log10(mean squared difference)``, of pixels in 0..1.

    Raises:
        InputShapeError: the images do not fit together.
        InputTypeError: they are neither uint8 nor floating point.
        InputRangeError: floating-point images leave 0..1.
    """
    return torch.cat([-10 * _mean_square(*pair).log10() for pair in _batches(images, reference)])


def rmse(images: Tensor, reference: Tensor) -> Tensor:
    """Return the root of the mean squared difference of each image, in grey levels of 0..255: float32 ``[N]``.

    Needs the truth: no attacker computes it. Arguments and errors are those of :func:`psnr`.
    """
    return torch.cat([255 * _mean_square(*pair).sqrt() for pair in _batches(images, reference)])


def ssim(images: Tensor, reference: Tensor) -> Tensor:
    """Compute the structural similarity of each image, averaged over pixels and channels; 1 for equal images.

    It needs the truth, so no attacker can compute it. kornia computes the map, with a Gaussian window (11 pixels,
    standard deviation 1.5) and mirrored borders; for images below 6 pixels the window is cut.

    Args:
        images: ``[N, C, H, W]``, uint8 or floating point in 0..1.
        reference: the same number and size; uint8 or floating point in 0..1, whichever of them ``images`` are.

    Returns:
        float32 ``[N]``, -1..1.

    Raises:
        InputShapeError: the images do not fit together.
        InputTypeError: they are neither uint8 nor floating point.
        InputRangeError: floating-point images leave 0..1.

    References:
        Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to
        Structural Similarity (2004).
    """
    from kornia.metrics import ssim as similarity_map  # more than a second to import

    window = min(_WINDOW, 2 * min(images.shape[-2:]) - 1)
    found = []
    for pair in _batches(images, reference):
        one, other = (each.flatten(0, 1)[None] for each in pair)  # as channels of one image: several times faster
        found.append(similarity_map(one, other, window, eps=0.0).mean((0, 2, 3)))
    return torch.cat(found).unflatten(0, images.shape[:2]).mean(1).clamp(-1, 1)  # rounding reaches beyond


def _mean_square(images: Tensor, reference: Tensor) -> Tensor:
    return (images - reference).square().mean((1, 2, 3))


def _batches(images: Tensor, reference: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Check two sets and split them into pairs of batches, float32 in 0..1."""
    require_plain("images", images)
    require_plain("reference images", reference)
    require_same_size("images", images, "reference images", reference)
    if len(images) != len(reference) or images.device != reference.device:
        raise InputShapeError(
            f"as many images as reference images, on one device, are needed, not {len(images)} on {images.device} and "
            f"{len(reference)} on {reference.device}"
        )
    size = max(1, _AT_ONCE // images[0].numel())
    return [
        (_floats(one), _floats(other)) for one, other in zip(images.split(size), reference.split(size), strict=True)
    ]


def _floats(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()
