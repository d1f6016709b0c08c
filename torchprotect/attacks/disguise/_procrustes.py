"""Rows turned back by orthogonal matrices that a few pairs tell, and drawn toward what public rows look like."""

import torch
from torch import Tensor

from torchprotect.attacks._inputs import like
from torchprotect.attacks.disguise._rows import Rows
from torchprotect.attacks.images import white_of
from torchprotect.attacks.scheme import Scheme

_ROUNDING = 0.01  # variance of numbers without noise, in grey levels
_PIXELS_AT_ONCE = 2**22  # bounds the memory


def rotate_back(plain: Tensor, disguised: Tensor, target: Tensor, public: Tensor, scheme: Scheme) -> Tensor:
    """Rebuild images: Procrustes gives the matrix of each position, public rows the linear estimate with least error.

    The image of a direction under the matrix is the less certain, the less of it there is in the rows of the pairs.
    That counts as noise there, so that its estimate stays near the mean of public rows. A regression does not know what
    rows look like, and needs many more pairs.

    Args:
        plain: of known pairs, ``[P, C, H, W]``.
        disguised: likewise, blocks in the original order.
        target: disguised images, blocks in the original order, ``[M, C, H, W]``.
        public: plain images of the same kind, ``[N, C, H, W]``.
        scheme: of orthogonal matrices, each position with its own.
    """
    rows, own = Rows(scheme), 1 if plain.dtype == torch.uint8 else 255
    theirs = 255 // white_of(scheme, public, disguised)
    mean, covariance = _moments(rows.of(public).double() * own)
    given, seen = rows.of(plain).double() * own + scheme.noise / 2, rows.of(disguised).double() * theirs
    left, told, right = torch.linalg.svd(given.mT @ seen)
    variance = scheme.noise**2 / 12 + _ROUNDING
    energy = (mean.square().sum((1, 2)) + covariance.diagonal(dim1=1, dim2=2).sum(1))[:, None]
    uncertain = variance * (1 + energy / (told + _ROUNDING))
    noise = left * uncertain[:, None] @ left.mT
    shrink = torch.linalg.solve(covariance + noise, covariance)
    linear = right.mT @ left.mT @ shrink
    constant = mean - (mean + scheme.noise / 2) @ shrink
    at_once = max(1, _PIXELS_AT_ONCE // target[0].numel())
    return torch.cat(
        [
            like(rows.lay(torch.baddbmm(constant, rows.of(part).double() * theirs, linear), part.shape) / own, plain)
            for part in target.split(at_once)
        ]
    )


def _moments(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return means ``[groups, 1, length]`` and covariances ``[groups, length, length]``."""
    mean = rows.mean(1, keepdim=True)
    centred = rows - mean
    return mean, centred.mT @ centred / rows.shape[1]
