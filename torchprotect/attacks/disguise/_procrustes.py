"""Invert orthogonal matrices that are estimated from a few pairs, with public rows as the prior."""

import torch
from torch import Tensor

from torchprotect.attacks._inputs import like
from torchprotect.attacks.disguise._rows import Rows
from torchprotect.attacks.images import white_of
from torchprotect.attacks.scheme import Scheme

_ROUNDING = 0.01  # variance of numbers without noise, in grey levels
_PIXELS_AT_ONCE = 2**22  # bounds the memory


def rotate_back(plain: Tensor, disguised: Tensor, target: Tensor, public: Tensor, scheme: Scheme) -> Tensor:
    """Rebuild images: Procrustes estimates the matrix of each position, public rows give the best linear estimate.

    The image of a direction under the matrix is less certain the less the rows of the pairs extend along it. This
    uncertainty counts as noise, so that the estimate there stays near the mean of public rows. A regression does not
    know what rows look like, and needs many more pairs.

    Args:
        plain: plain images of known pairs, ``[P, C, H, W]``.
        disguised: their disguised versions, blocks in the original order.
        target: disguised images, blocks in the original order, ``[M, C, H, W]``.
        public: plain images of the same kind, ``[N, C, H, W]``.
        scheme: scheme of orthogonal matrices, a separate one for each position.
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
