"""Images led toward several target classes at once."""

import torch
from torch import Tensor, nn

from torchprotect.adversarial.combine import combine, require_shares
from torchprotect.adversarial.l2 import distances, project, round_to_8bit
from torchprotect.adversarial.pgd import Perturbed, PGDSettings, search
from torchprotect.errors import InputRangeError, InputShapeError


def perturb_toward(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    shares: Tensor,
    settings: PGDSettings,
    *,
    way: str = "concat",
    places: Tensor | None = None,
    reproject: bool = False,
    to_8bit: bool = True,
    generator: torch.Generator | None = None,
) -> Perturbed:
    """Perturb each image once for each of its targets and combine the results.

    Args:
        model: as for :func:`pgd_l2`.
        images: floating point ``[N, C, H, W]`` within the settings' bounds.
        targets: int64 ``[N, K]``.
        shares: ``[N, K]``, what part of the result each target has; rows sum to 1. A target with share 0 costs nothing.
        settings: of the search.
        way: how to combine, see :func:`combine`; without effect on images with one target.
        places: for the ways that paste somewhere, see :func:`combine`.
        reproject: keep the result within ``eps``, which :func:`concat` can exceed, also after rounding.
        to_8bit: round to 256 levels of 0..1, as stored images are; needs bounds within 0..1.
        generator: draws random starts.

    Returns:
        Images, distances after everything, and for each target the loss before combining, ``[N, K]`` (NaN for share 0).

    References:
        Hu et al., Adversarial Data Encryption, section 4.1.
    """
    if targets.ndim != 2 or not targets.shape[1] or targets.shape != shares.shape or len(targets) != len(images):
        raise InputShapeError(
            f"targets and shares are [N, K] for N images, not {list(targets.shape)} and {list(shares.shape)} for "
            f"{len(images)}"
        )
    if to_8bit and not (settings.bounds[0] >= 0 and settings.bounds[1] <= 1):
        raise InputRangeError(f"8-bit pixels stand for 0..1, but bounds are {settings.bounds}; use to_8bit=False")
    require_shares(shares)
    images = images.detach()
    versions, losses = [], []
    for target, share in zip(targets.T, shares.T, strict=True):
        version, loss = images.clone(), torch.full((len(images),), torch.nan, dtype=images.dtype, device=images.device)
        wanted = share > 0
        found = search(model, images[wanted], target[wanted], settings, generator)
        version[wanted], loss[wanted] = found.images, found.losses.to(loss.dtype)
        versions.append(version)
        losses.append(loss)
    result = versions[0] if len(versions) == 1 else combine(way, _filled(versions, shares), shares, places)
    if reproject:
        result = project(result, images, settings.eps).clamp_(*settings.bounds)
    if to_8bit:
        result = round_to_8bit(result, images, eps=settings.eps if reproject else None)
    return Perturbed(result, distances(result, images), torch.stack(losses, 1))


def _filled(versions: list[Tensor], shares: Tensor) -> Tensor:
    """Stack versions; in place of those without share stands the one of largest share, never the plain image.

    :func:`cutmix` shows some of the first version even when all of the share is the second's.
    """
    stacked = torch.stack(versions)  # [K, N, ...]
    main = stacked[shares.argmax(1), torch.arange(len(shares), device=shares.device)]
    missing = (shares == 0).T.reshape(*stacked.shape[:2], *[1] * (stacked.ndim - 2))
    return torch.where(missing, main, stacked)
