"""Learn the one matrix that all positions share from public images, without a known pair."""

import torch
from torch import Tensor

from torchprotect.attacks.scheme import Scheme

_ROUNDS = 100
_LONGEST = 32  # longer lines start from their means alone: the equations below grow with the fourth power
_TOLERANCE = 1e-9  # of second moments: directions with less of the largest are rounding errors


def aligned(plain: Tensor, disguised: Tensor, scheme: Scheme) -> Tensor:
    """Multiply disguised lines by the inverse of their matrix, as far as statistics of plain lines determine it.

    A matrix R turns the mean m of a line of a block into m R, and its covariances C into R' C R. The lines of one
    position hardly determine R; those of all positions together do.

    Args:
        plain: lines of public images, ``[positions, N, C, lines, length]``.
        disguised: lines of disguised ones, blocks in the same order, ``[positions, M, C, lines, length]``.
        scheme: scheme of matrices that all positions share.

    Returns:
        Lines like ``disguised``, in the coordinates of plain ones.
    """
    if scheme.channels is None:
        return (disguised.double() @ _inverse_map(plain, disguised, scheme.keeps_lengths)).to(disguised.dtype)
    channels = zip(plain.split(1, 2), disguised.split(1, 2), strict=True)
    backs = torch.stack([_inverse_map(one, other, scheme.keeps_lengths) for one, other in channels])
    return (disguised.double() @ backs).to(disguised.dtype)


def forward(plain: Tensor, disguised: Tensor, order: Tensor, scheme: Scheme) -> Tensor:
    """Multiply plain lines of known pairs by the one matrix that comes closest to the disguised lines.

    Args:
        plain: ``[positions, N, C, lines, length]``.
        disguised: of the same shape; the block at position i is that of ``plain`` at ``order[i]``.
        order: int64 ``[positions]``.
        scheme: scheme of matrices that all positions share.
    """
    given, wanted = (each.movedim(2, 0).flatten(1, -2).double() for each in (plain[order], disguised))  # [C, n, length]
    products, squares = given.mT @ wanted, given.mT @ given
    if scheme.channels is None:
        products, squares = products.sum(0), squares.sum(0)
    matrix = _polar(products) if scheme.keeps_lengths else torch.linalg.pinv(squares, hermitian=True) @ products
    return (plain.double() @ matrix).to(plain.dtype)


def _inverse_map(plain: Tensor, disguised: Tensor, keeps_lengths: bool) -> Tensor:
    """Return the matrix ``[length, length]`` that takes disguised lines back."""
    mine, theirs = (lines.double().movedim(1, -2).flatten(0, -3) for lines in (plain, disguised))  # [places, N, length]
    if keeps_lengths:
        own = seen = torch.eye(mine.shape[-1]).to(mine) / mine.square().mean().sqrt().clamp(min=1e-9)
    else:
        own, seen = _whitening(mine), _whitening(theirs)
    rotation = _rotation(_moments(mine @ own), _moments(theirs @ seen))
    return seen @ rotation.mT @ torch.linalg.pinv(own)


def _whitening(lines: Tensor) -> Tensor:
    """Return symmetric coordinates in which the lines of all positions together have unit second moments."""
    squares, directions = torch.linalg.eigh((lines.mT @ lines).sum(0) / lines.shape[:2].numel())
    kept = squares > _TOLERANCE * squares[-1:]
    return directions * (torch.where(kept, squares, 1).rsqrt() * kept) @ directions.mT


def _moments(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Return means ``[places, length]`` and covariances ``[places, length, length]``."""
    means = lines.mean(1, keepdim=True)
    return means[:, 0], (lines - means).mT @ (lines - means) / lines.shape[1]


def _rotation(mine: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> Tensor:
    """Return the orthogonal Q that brings ``means Q`` and ``Q' covariances Q`` closest to theirs."""
    (means, spread), (means_seen, spread_seen) = mine, theirs
    product = means.mT @ means_seen
    rotation = _polar(product if len(product) > _LONGEST else _least_squares_map(mine, theirs))
    for _ in range(_ROUNDS):
        rotation = _polar(product + (spread @ rotation @ spread_seen).sum(0))  # the objective never falls
    return rotation


def _least_squares_map(mine: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> Tensor:
    """Return the least-squares Q, orthogonal or not, of ``means Q - means'`` and ``C Q - Q C'``."""
    (means, spread), (means_seen, spread_seen) = mine, theirs
    length = means.shape[1]
    one = torch.eye(length).to(means)
    mixed = (spread.flatten(1).mT @ spread_seen.flatten(1)).view([length] * 4).movedim(1, 2).reshape(length**2, -1)
    squares = torch.kron((spread @ spread).sum(0) + means.mT @ means, one)
    squares = squares + torch.kron(one, (spread_seen @ spread_seen).sum(0)) - 2 * mixed
    return (torch.linalg.pinv(squares, hermitian=True) @ (means.mT @ means_seen).flatten()).view(length, length)


def _polar(matrix: Tensor) -> Tensor:
    """Return the orthogonal matrix nearest to a matrix."""
    left, _, right = torch.linalg.svd(matrix)
    return left @ right
