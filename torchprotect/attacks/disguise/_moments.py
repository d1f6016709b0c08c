"""First and second moments of block lines over many images, in a form that fits into memory even for large images."""

from dataclasses import dataclass

import torch
from torch import Tensor

_FACTORS = (48, 256)  # principal components that tell how lines far apart vary together: fewest and most
_FACTOR_NUMBERS = 2**21  # that all of them may have: fewer components of large images bound the time
_ROUNDS = 2  # of subspace iteration; components are far apart enough for two
_MOST_NUMBERS = 2**27  # pixels that moments are taken of: half a gigabyte in float32


@dataclass(frozen=True, eq=False, repr=False)
class Moments:
    """Means of lines, and their covariances: exact within a line, by the leading principal components between lines.

    A group holds the lines that one matrix multiplies at one position.

    Attributes:
        means: means of each line, ``[groups, lines, length]``.
        factors: ``[factors, groups, lines, length]``: principal components of whole images, scaled by their standard
            deviations.
        own: ``[groups, lines, length, length]``: covariance of each line with itself, minus that of the factors.
    """

    means: Tensor
    factors: Tensor
    own: Tensor

    def turned(self, linear: Tensor) -> "Moments":
        """Return the moments of lines multiplied by one matrix per group, ``[groups, length, length]``."""
        return Moments(
            self.means @ linear,
            self.factors @ linear,
            linear.mT[:, None] @ self.own @ linear[:, None],
        )

    def numel(self) -> int:
        """Return the number of values."""
        return self.means.numel() + self.factors.numel() + self.own.numel()

    @property
    def pooled(self) -> Tensor:
        """Second moments over all lines of a group, float64 ``[groups, length, length]``."""
        means, factors, own = self.means.double(), self.factors.double(), self.own.double()
        return (own.sum(1) + torch.einsum("kgia,kgib->gab", factors, factors) + means.mT @ means) / own.shape[1]


def moments_of(lines: Tensor, *, variance: float = 0.0) -> Moments:
    """Return the moments of lines.

    Args:
        lines: ``[groups, N, lines, length]``.
        variance: variance of noise to include, for each number.
    """
    groups, _, count, length = lines.shape
    lines = lines[:, : max(2, _MOST_NUMBERS // (groups * count * length))]
    means = lines.mean(1)
    centred = (lines - means[:, None]).movedim(1, 0)  # [N, groups, lines, length]
    factors = _factors(centred.flatten(1)).unflatten(1, (groups, count, length))
    own = torch.einsum("ngia,ngib->giab", centred, centred) / len(centred)
    own = own - torch.einsum("kgia,kgib->giab", factors, factors)
    own.diagonal(dim1=-2, dim2=-1).add_(variance)
    return Moments(means, factors, own)


def _factors(centred: Tensor) -> Tensor:
    """Return leading principal components of ``[N, numbers]``, scaled by their deviations: ``[factors, numbers]``.

    By subspace iteration from random directions (Halko, Martinsson, Tropp: arXiv 0909.4061), drawn from a fixed seed.
    """
    fewest, most = _FACTORS
    count = min(max(fewest, min(most, _FACTOR_NUMBERS // centred.shape[1])), *centred.shape)
    start = torch.randn(centred.shape[1], count, generator=torch.Generator().manual_seed(0)).to(centred)
    basis = torch.linalg.qr(start)[0]
    for _ in range(_ROUNDS):
        basis = torch.linalg.qr(centred.mT @ (centred @ basis))[0]
    scores = centred @ basis
    values, directions = torch.linalg.eigh((scores.mT @ scores).double() / len(centred))
    return (basis @ (directions * values.clamp(min=0).sqrt()).to(basis)).mT
