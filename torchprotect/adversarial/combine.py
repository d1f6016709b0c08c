"""Combine the versions of an image, each perturbed toward another target class, into one.

Every mode takes a weight for each version: for each image a row of non-negative numbers that sum to 1. Images of
classes with fewer targets have weights of 0 at the end of their row.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from torchprotect._mix_modes import MIX_MODES, MIXED_VERSIONS
from torchprotect.adversarial.l2 import per_image
from torchprotect.errors import InputRangeError, InputShapeError

_SLACK = 1e-4  # of the sum of weights
_ROUNDING = 1e-6  # weights are float32: a third of 300 columns must not become 99


def concat(images: Tensor, weights: Tensor, positions: Tensor | None = None) -> Tensor:
    """Concatenate columns from left to right: each weight gives the version's share of the width, rounded down.

    The distance of the result can exceed that of its parts, by up to a factor of sqrt(2) for two.
    """
    width = images.shape[-1]
    edges = ((weights.cumsum(1)[:, :-1] + _ROUNDING) * width).floor()  # [N, K - 1]
    columns = torch.arange(width, device=images.device)
    chosen = (columns >= edges[..., None]).sum(1)  # [N, W], which image each column is from
    index = chosen.reshape(1, len(chosen), *[1] * (images.ndim - 3), width).expand(1, *images.shape[1:])
    return images.gather(0, index)[0]


def mixup(images: Tensor, weights: Tensor, positions: Tensor | None = None) -> Tensor:
    """Return the weighted average; its distance is at most the largest of its versions' distances."""
    by_version = weights.T.to(images.dtype)
    mixed = images[0]  # with what remains of 1, so that weights that sum to nearly 1 do not darken the image
    for image, weight in zip(images[1:], by_version[1:], strict=True):
        mixed = torch.addcmul(mixed, image - images[0], per_image(weight, image))
    return mixed


def mixup_and_concat(images: Tensor, weights: Tensor, positions: Tensor | None = None) -> Tensor:
    """Average the first two versions and the last two, each pair by its own weights, and concatenate the averages.

    The left average fills a part of the width equal to the summed weight of its pair.
    """
    pairs = weights.unflatten(1, (2, 2))  # [N, 2, 2]
    together = pairs.sum(2)  # [N, 2]
    inside = torch.where(together[..., None] > 0, pairs / together[..., None], pairs.new_tensor([1.0, 0.0]))
    mixes = [mixup(images[2 * side : 2 * side + 2], inside[:, side]) for side in (0, 1)]
    return concat(torch.stack(mixes), together)


def cutmix(images: Tensor, weights: Tensor, positions: Tensor | None = None) -> Tensor:
    """Paste a box from the second version into the first: shaped like the image, centred anywhere, clipped at edges.

    Before clipping, its area is the second version's weight times that of the image.

    References:
        Yun et al., CutMix.
    """
    size = weights[:, 1].sqrt()[:, None] * _size(images)
    centre = _required(positions) * _size(images)
    return _paste(images, (centre - size / 2).round(), (centre + size / 2).round())


def random_square(images: Tensor, weights: Tensor, positions: Tensor | None = None) -> Tensor:
    """Paste a square from the second version into the first, anywhere inside the image.

    Its area is the second version's weight times that of the image, or that of the largest square that fits.

    References:
        Summers and Dinneen, Improved Mixed-Example Data Augmentation.
    """
    size = _size(images)
    side = (weights[:, 1] * size.prod()).sqrt().clamp_max(float(size.min())).round()[:, None]
    first = (_required(positions) * (size - side + 1)).floor()  # uniform over all positions inside the image
    return _paste(images, first, first + side)


_MIXERS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "concat": concat,
    "mixup": mixup,
    "mixup-and-concat": mixup_and_concat,
    "cutmix": cutmix,
    "random-square": random_square,
}

NEEDS_POSITIONS = ("cutmix", "random-square")
"""Modes that paste a part of one version into another."""


def combine(mix_mode: str, images: Tensor, weights: Tensor, positions: Tensor | None = None) -> Tensor:
    """Combine the versions of each image into one.

    Args:
        mix_mode: ``"concat"``, ``"mixup"``, ``"mixup-and-concat"``, ``"cutmix"`` or ``"random-square"``.
        images: floating point ``[K, N, C, H, W]``: ``K`` versions of ``N`` images.
        weights: ``[N, K]``, rows of non-negative numbers that sum to 1.
        positions: where to paste, for ``cutmix`` and ``random-square``: uniform numbers in [0, 1) ``[N, 2]``.

    Returns:
        ``[N, C, H, W]``.

    Raises:
        InputRangeError: the mode is unknown, weights do not sum to 1, or the mode combines another number of versions.
        InputShapeError: shapes do not match, or positions are missing.
    """
    if mix_mode not in MIX_MODES:
        raise InputRangeError(f"mix_mode must be one of {MIX_MODES}, got {mix_mode!r}")
    if images.ndim < 4 or weights.shape != (images.shape[1], images.shape[0]):
        raise InputShapeError(
            f"images [K, N, ..., H, W] and weights [N, K] are needed, not {list(images.shape)}, {list(weights.shape)}"
        )
    require_weights(weights)
    if images.shape[0] != MIXED_VERSIONS.get(mix_mode, images.shape[0]):
        raise InputRangeError(f"{mix_mode} mixes {MIXED_VERSIONS[mix_mode]} versions, not {images.shape[0]}")
    if mix_mode in NEEDS_POSITIONS and (positions is None or positions.shape != (images.shape[1], 2)):
        raise InputShapeError(f"{mix_mode} needs positions [N, 2] of uniform numbers in [0, 1)")
    if positions is not None and not bool(((positions >= 0) & (positions < 1)).all()):
        raise InputRangeError("positions must be numbers in [0, 1)")
    return _MIXERS[mix_mode](images, weights, positions)


def require_weights(weights: Tensor) -> None:
    """Check that each row holds non-negative numbers that sum to 1."""
    if not bool((weights >= 0).all() and ((weights.sum(1) - 1).abs() <= _SLACK).all()):
        raise InputRangeError("weights must be non-negative and sum to 1 for each image")


def _paste(images: Tensor, first: Tensor, end: Tensor) -> Tensor:
    """Return the first image with a box from the second: rows and columns ``first [N, 2]`` up to ``end``."""
    inside = []
    for dimension, length in enumerate(images.shape[-2:]):
        line = torch.arange(length, device=images.device)
        inside.append((line >= first[:, dimension, None]) & (line < end[:, dimension, None]))
    box = inside[0][:, :, None] & inside[1][:, None, :]  # [N, H, W]
    return torch.where(box.reshape(len(box), *[1] * (images.ndim - 4), *box.shape[1:]), images[1], images[0])


def _size(images: Tensor) -> Tensor:
    return torch.tensor(images.shape[-2:], dtype=torch.float32, device=images.device)


def _required(positions: Tensor | None) -> Tensor:
    if positions is None:
        raise InputShapeError("cutmix and random-square need positions [N, 2] of uniform numbers in [0, 1)")
    return positions
