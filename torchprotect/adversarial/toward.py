"""Perturb images toward several target classes at once."""

import torch
from torch import Tensor, nn

from torchprotect.adversarial.combine import combine, require_weights
from torchprotect.adversarial.l2 import distances, project, round_to_8bit
from torchprotect.adversarial.pgd import Perturbed, PGDSettings, search
from torchprotect.errors import InputRangeError, InputShapeError


def perturb_toward(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    weights: Tensor,
    settings: PGDSettings,
    *,
    mix_mode: str = "concat",
    positions: Tensor | None = None,
    reproject: bool = False,
    to_8bit: bool = True,
    generator: torch.Generator | None = None,
) -> Perturbed:
    """Perturb each image once for each of its targets, and combine the results.

    Args:
        model: as for :func:`pgd_l2`.
        images: floating point ``[N, C, H, W]`` within the settings' bounds.
        targets: int64 ``[N, K]``.
        weights: ``[N, K]``, the weight of each target in the result; rows sum to 1. Targets of weight 0 cost no time.
        settings: settings of the search.
        mix_mode: see :func:`combine`; has no effect on images with one target.
        positions: where to paste, for ``cutmix`` and ``random-square``, see :func:`combine`.
        reproject: keep the result within ``eps`` after combining and after rounding; ``concat`` and pasting can exceed
            it.
        to_8bit: round to 256 levels of 0..1, like stored images; needs bounds within 0..1.
        generator: draws random starts.

    Returns:
        The images, their final distances, and the loss toward each target before combining, ``[N, K]`` (NaN for weight
        0).

    References:
        Hu et al., Adversarial Data Encryption, section 4.1.
    """
    if targets.ndim != 2 or not targets.shape[1] or targets.shape != weights.shape or len(targets) != len(images):
        raise InputShapeError(
            f"targets and weights must be [N, K] for N images, got {list(targets.shape)} and {list(weights.shape)} for "
            f"{len(images)}"
        )
    if to_8bit and not (settings.bounds[0] >= 0 and settings.bounds[1] <= 1):
        raise InputRangeError(f"8-bit pixels stand for 0..1, but bounds are {settings.bounds}; use to_8bit=False")
    require_weights(weights)
    images = images.detach()
    versions, losses = [], []
    for target, weight in zip(targets.T, weights.T, strict=True):
        version, loss = images.clone(), torch.full((len(images),), torch.nan, dtype=images.dtype, device=images.device)
        wanted = weight > 0
        found = search(model, images[wanted], target[wanted], settings, generator)
        version[wanted], loss[wanted] = found.images, found.losses.to(loss.dtype)
        versions.append(version)
        losses.append(loss)
    result = (
        versions[0] if len(versions) == 1 else combine(mix_mode, _stack_versions(versions, weights), weights, positions)
    )
    if reproject:
        result = project(result, images, settings.eps).clamp_(*settings.bounds)
    if to_8bit:
        result = round_to_8bit(result, images, eps=settings.eps if reproject else None)
    return Perturbed(result, distances(result, images), torch.stack(losses, 1))


def _stack_versions(versions: list[Tensor], weights: Tensor) -> Tensor:
    """Stack versions; the one of largest weight replaces those of weight 0, which are still plain.

    ``cutmix`` can show some of the first version even where its weight is 0.
    """
    stacked = torch.stack(versions)  # [K, N, ...]
    main = stacked[weights.argmax(1), torch.arange(len(weights), device=weights.device)]
    missing = (weights == 0).T.reshape(*stacked.shape[:2], *[1] * (stacked.ndim - 2))
    return torch.where(missing, main, stacked)
