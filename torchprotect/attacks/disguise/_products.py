"""Inner products of the rows of a block, which a matrix that multiplies the rows from the right does not change.

An orthogonal matrix keeps the products. Any other matrix changes them, and with them the second moments of all rows at
a position; in coordinates derived from these moments, the products are the same again.
"""

import torch
from torch import Tensor

_TOLERANCE = 1e-13  # of float64 moments: directions with less of the largest are rounding errors of float32 rows


def products(lines: Tensor) -> Tensor:
    """Return the inner products of the lines of each block, ``[positions, N, features]``.

    Products of two different lines occur once, multiplied by the square root of 2, so that distances equal those of
    whole matrices.

    Args:
        lines: ``[positions, N, C, lines, length]``.
    """
    first, second = _pairs(lines)
    weights = torch.where(first == second, 1.0, 2**0.5)
    return ((lines @ lines.mT)[..., first, second] * weights).flatten(2)


def noise_energy(lines: Tensor, variance: Tensor) -> Tensor:
    """Return what noise adds to :func:`products` on average: only to products of a line with itself.

    Args:
        lines: as for :func:`products`.
        variance: variance of the noise of a line, summed over its length, ``[positions, C]``.
    """
    first, second = _pairs(lines)
    return (variance[..., None] * (first == second)).flatten(1)[:, None].to(lines)


def shared_coordinates(lines: Tensor, variance: float = 0.0) -> Tensor:
    """Return coordinates that weigh lines by what neighbouring lines share: ``[positions, C, length, length]``.

    With second moments S of the lines and L of neighbouring lines, a product of ``lines @ coordinates`` is one in the
    metric S^-1 L S^-1 L S^-1. If lines are multiplied by R, S turns into R' S R and L into R' L R, and the products
    stay the same. Noise is in S, but not in L: directions that hold only noise are left out.

    Args:
        lines: ``[positions, N, C, lines, length]``.
        variance: variance of noise to include, for each number of a line.
    """
    own, shared = _moments(lines)
    own = own + variance * torch.eye(own.shape[-1]).to(own)
    squares, directions = torch.linalg.eigh(own)
    kept = squares > _TOLERANCE * squares[..., -1:]
    white = directions * (torch.where(kept, squares, 1).rsqrt() * kept)[..., None, :]
    return white if shared is None else white @ white.mT @ shared @ white


def _moments(lines: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return second moments of lines, and of neighbouring ones if there are any: float64 ``[positions, C, m, m]``."""
    flat = lines.double().movedim(2, 1)  # [positions, C, N, lines, length]
    own = _mean_product(flat, flat)
    if flat.shape[3] == 1:
        return own, None
    shared = _mean_product(flat[..., :-1, :], flat[..., 1:, :])
    return own, (shared + shared.mT) / 2


def _mean_product(one: Tensor, other: Tensor) -> Tensor:
    one, other = one.flatten(2, 3), other.flatten(2, 3)
    return one.mT @ other / one.shape[2]


def _pairs(lines: Tensor) -> Tensor:
    return torch.triu_indices(lines.shape[3], lines.shape[3], device=lines.device)
