"""Inner products of the rows of a block: what a matrix that multiplies the rows from the right does not change.

An orthogonal matrix keeps the products. Any other changes them, but also changes the second moments of all rows at a
place, and products taken in the metric of these moments are what they were.
"""

import torch
from torch import Tensor

_TOLERANCE = 1e-11  # of float64 moments: directions with less of the largest are rounding errors of float32 rows


def products(lines: Tensor, metric: Tensor | None = None) -> Tensor:
    """Return the inner products of the lines of each block, ``[positions, N, features]``.

    Those of two different lines come once, times the root of 2, so that distances are those of whole matrices.

    Args:
        lines: ``[positions, N, C, lines, length]``.
        metric: ``[positions, C, length, length]``.
    """
    first, second = torch.triu_indices(lines.shape[3], lines.shape[3], device=lines.device)
    weights = torch.where(first == second, 1.0, 2**0.5)
    measured = lines if metric is None else lines @ metric[:, None].to(lines)
    return ((measured @ lines.mT)[..., first, second] * weights).flatten(2)


def add_noise_energy(read: Tensor, count: int, spread: float, metric: Tensor | None, length: int) -> Tensor:
    """Add to products of plain lines what noise adds on average to those of a line with itself.

    Args:
        read: of :func:`products`.
        count: lines of a block.
        spread: variance of the noise.
        metric: as there.
        length: of a line.
    """
    if not spread:
        return read
    first, second = torch.triu_indices(count, count, device=read.device)
    added = spread * (torch.full((1, 1), length) if metric is None else metric.diagonal(dim1=-2, dim2=-1).sum(-1))
    added = added.to(read)[..., None] * (first == second)  # [positions, C, products]
    return read + added.expand(-1, read.shape[2] // len(first), -1).flatten(1)[:, None]


def common_metric(lines: Tensor, spread: float = 0.0) -> Tensor:
    """Return the metric in which lines count by what neighbouring lines share: ``[positions, C, length, length]``.

    With second moments S of the lines and L of neighbouring lines it is S^-1 L S^-1 L S^-1. If lines are multiplied
    with R, S turns into R' S R and L into R' L R, so that products in the metric stay. Noise is in S, but not in L: the
    metric leaves out directions that hold nothing else.

    Args:
        lines: ``[positions, N, C, lines, length]``.
        spread: variance of noise that is to be counted in, beside the mean.
    """
    flat = lines.double().movedim(2, 1)  # [positions, C, N, lines, length]
    count = flat.shape[3]
    inside = flat.mT @ flat if count == 1 else None
    moments = torch.einsum("pcnli,pcnlj->pcij", flat, flat) / (flat.shape[2] * count)
    moments = moments + spread * torch.eye(flat.shape[4], dtype=flat.dtype, device=flat.device)
    if inside is not None:
        return _inverse(moments)
    shared = torch.einsum("pcnli,pcnlj->pcij", flat[..., :-1, :], flat[..., 1:, :]) / (flat.shape[2] * (count - 1))
    turned = _inverse(moments) @ (shared + shared.mT) / 2
    return turned @ turned @ _inverse(moments)


def _inverse(moments: Tensor) -> Tensor:
    return torch.linalg.pinv(moments, rtol=_TOLERANCE, hermitian=True)
