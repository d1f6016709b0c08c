"""Fit the matrices of all positions together, so that moments of plain lines become those of disguised ones."""

from typing import NamedTuple

import torch
from torch import Tensor

from torchprotect.attacks.disguise._assignment import assign
from torchprotect.attacks.disguise._moments import Moments

_ROUNDS = 60
_ROUNDS_WITH_ROWS = 10
_WEIGHT = 1e6  # of known rows beside fitted ones
_SETTLED = 1e-4  # relative change of a round
_LONGEST = 16  # longer lines start from their means alone: the equations below grow with the sixth power
_TOLERANCE = 1e-9  # of second moments: directions with less of the largest are rounding errors


class Matrices(NamedTuple):
    """Fitted matrices.

    Attributes:
        forward: float64 ``[groups, length, length]``: from plain to disguised lines.
        back: the inverse direction, of the same shape. For matrices that are not rotations, it is 0 in directions in
            which disguised lines do not vary.
    """

    forward: Tensor
    back: Tensor


class KnownRows(NamedTuple):
    """Known rows of rotations; which pixel each belongs to, and its sign, are unknown.

    Attributes:
        rows: ``[known, length]``.
        group: int64 ``[known]``.
    """

    rows: Tensor
    group: Tensor


def fit_matrices(
    plain: Moments, disguised: Moments, *, orthogonal: bool, tied: int = 0, known: KnownRows | None = None
) -> Matrices:
    """Return the matrices R that bring the moments of ``plain @ R`` closest to those of disguised lines.

    With orthogonal matrices, means m turn into m R and covariances C of lines p and q into R_p' C R_q. Matrices that
    are not rotations become rotations in coordinates in which the lines of each group have unit second moments. These
    coordinates determine each matrix only up to a rotation; how lines of different groups vary together determines that
    rotation.

    Args:
        plain: moments of public lines, including noise.
        disguised: moments of disguised lines, in the same order.
        orthogonal: whether the matrices are rotations.
        tied: number of matrices if all positions share them: 1, or one for each channel; 0 if each group has its own.
        known: rows of orthogonal matrices, which the fit keeps.
    """
    if orthogonal:
        rotation = _rotations(plain, disguised, tied)
        if known is not None:
            rotation = _with_known_rows(plain, disguised, tied, known, rotation)
        return Matrices(rotation, rotation.mT)
    white, colour = _whitening(_shared(plain.pooled, tied))
    white_seen, colour_seen = _whitening(_shared(disguised.pooled, tied))
    turned = plain.turned(white.to(plain.means)), disguised.turned(white_seen.to(disguised.means))
    rotation = _rotations(*turned, tied)
    return Matrices(white @ rotation @ colour_seen, white_seen @ rotation.mT @ colour)


def _rotations(plain: Moments, disguised: Moments, tied: int) -> Tensor:
    """Return orthogonal Q that maximise the agreement of turned moments: each round moves to the best linear gain.

    The agreement is convex in all matrices together, so that it never falls.
    """
    rotation = _start(plain, disguised, tied)
    for _ in range(_ROUNDS):
        before, rotation = rotation, nearest_rotations(_shared(_gain(plain, disguised, rotation), tied))
        if float((rotation - before).norm() / rotation.norm()) < _SETTLED:
            break
    return rotation.double()


def _gain(plain: Moments, disguised: Moments, rotation: Tensor) -> Tensor:
    """Return the gradient of the agreement: for each group, how well plain numbers match disguised ones."""
    coupling = (plain.factors @ rotation).flatten(1) @ disguised.factors.flatten(1).mT
    seen = torch.einsum("kl,lgib->kgib", coupling, disguised.factors)
    gain = torch.einsum("kgia,kgib->gab", plain.factors, seen)
    return gain + (plain.own @ rotation[:, None] @ disguised.own).sum(1) + plain.means.mT @ disguised.means


def _with_known_rows(plain: Moments, disguised: Moments, tied: int, known: KnownRows, rotation: Tensor) -> Tensor:
    """Continue with rotations that contain the known rows, each for the pixel whose moments match those along it best.

    Disguised lines have the values of single pixels along known rows. Pixels are not negative, which determines the
    signs.
    """
    one = torch.eye(rotation.shape[-1]).to(plain.means).expand(rotation.shape)
    squares = _shared(_gain(plain, plain, one), tied).double().diagonal(dim1=1, dim2=2)  # of the moments of each pixel
    means = disguised.means.double().mean(1)
    rows = known.rows.double()
    rows = rows * (rows * means[known.group]).sum(1, keepdim=True).sign()
    groups = known.group.unique().tolist()
    for _ in range(_ROUNDS_WITH_ROWS):
        gain = _shared(_gain(plain, disguised, rotation.to(plain.means)), tied).double()
        for group in groups:
            read = rows[known.group == group]
            pixels = assign(squares[group] - 2 * read @ gain[group].mT)  # squared distances, up to a constant
            # a weight so large that the nearest rotation keeps these rows
            gain[group, pixels] = _WEIGHT * gain[group].abs().amax() * read
        if tied:
            gain = gain[:tied].repeat(len(gain) // tied, 1, 1)
        before, rotation = rotation, nearest_rotations(gain)
        if torch.equal(before, rotation):
            break
    return rotation


def _start(plain: Moments, disguised: Moments, tied: int) -> Tensor:
    """Return rotations from the lines of each group alone: least squares of ``means Q - means'`` and ``C Q - Q C'``."""
    means = plain.means.mT @ disguised.means
    length = means.shape[-1]
    if length > _LONGEST:
        return nearest_rotations(_shared(means, tied))
    spread, spread_seen = _line_covariances(plain), _line_covariances(disguised)
    one = torch.eye(length).to(spread)
    mixed = torch.einsum("giab,gicd->gacbd", spread, spread_seen).flatten(3).flatten(1, 2)
    left = (spread @ spread).sum(1) + (plain.means.mT @ plain.means).double()
    right = (spread_seen @ spread_seen).sum(1)
    squares = _kron(left, one.expand_as(left)) + _kron(one.expand_as(right), right) - 2 * mixed
    wanted = _shared(means.double(), tied).flatten(1)[..., None]
    relaxed = torch.linalg.pinv(_shared(squares, tied), hermitian=True) @ wanted
    return nearest_rotations(relaxed.view(-1, length, length)).to(means)


def _line_covariances(moments: Moments) -> Tensor:
    """Return the covariance of each line with itself, float64 ``[groups, lines, length, length]``."""
    return (moments.own + torch.einsum("kgia,kgib->giab", moments.factors, moments.factors)).double()


def _kron(one: Tensor, other: Tensor) -> Tensor:
    """Return Kronecker products of square matrices, ``[groups, length**2, length**2]``."""
    return torch.einsum("gac,gbd->gabcd", one, other).flatten(3).flatten(1, 2)


def _shared(values: Tensor, tied: int) -> Tensor:
    """Give all groups that share a matrix the sum of their values."""
    if not tied:
        return values
    apart = values.unflatten(0, (-1, tied))
    return apart.sum(0, keepdim=True).expand_as(apart).flatten(0, 1)


def _whitening(moments: Tensor) -> tuple[Tensor, Tensor]:
    """Return symmetric matrices that normalise second moments to the identity, and their inverses."""
    squares, directions = torch.linalg.eigh(moments)
    kept = squares > _TOLERANCE * squares[..., -1:]
    roots = torch.where(kept, squares, 1).sqrt() * kept
    inverse = torch.where(kept, squares, 1).rsqrt() * kept
    white, colour = (directions * each[..., None, :] @ directions.mT for each in (inverse, roots))
    return white, colour


def nearest_rotations(matrices: Tensor) -> Tensor:
    """Return the orthogonal matrices nearest to the given matrices."""
    left, _, right = torch.linalg.svd(matrices.double())
    return (left @ right).to(matrices)
