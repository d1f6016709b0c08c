"""Estimate the inverse of a secret matrix by least squares."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from torchprotect.attacks._inputs import like
from torchprotect.attacks.disguise._blocks import undo_order
from torchprotect.attacks.disguise._inputs import require_channels, require_pairs
from torchprotect.attacks.disguise._rows import Rows
from torchprotect.attacks.disguise.permutation import order_or_pairs
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import Level, Reconstruction
from torchprotect.attacks.scheme import Scheme, require_preserved
from torchprotect.attacks.scores import PICTURES
from torchprotect.errors import InputRangeError

_ROWS_OF_ALL = 5  # rows for each pixel of a row: so much do all positions count beside a position's own rows
_TOLERANCE = 1e-5  # singular values below this part of the largest are rounding errors of float32
_PIXELS_AT_ONCE = 2**22  # bounds the memory


@dataclass(frozen=True, eq=False, repr=False)
class RegressionResult(Reconstruction):
    """Images rebuilt by one linear map for each position.

    Attributes:
        rank: int64 ``[positions, channels or 1]``: number of independent directions of the known plain rows (around
            their mean, with an intercept). They determine the matrix if it equals the block's width (its height for
            ``side="left"``). In all other directions the attack can only guess zero or, with an intercept, the mean.
            Positions that share a matrix have one entry together.
    """

    rank: Tensor


def regression_attack(
    plain: Tensor,
    disguised: Tensor,
    target: Tensor,
    *,
    scheme: Scheme,
    intercept: bool = True,
    solve_for: Literal["plain", "matrix"] = "plain",
    order: Tensor | None = None,
) -> RegressionResult:
    """Fit a linear map back to plain pixels for each position: an attacker with known pairs (level L2).

    If a disguise multiplies each block by a matrix of its position, with or without noise, one linear map leads back;
    it is fitted by least squares. If the pairs do not determine it, the minimum-norm solution is taken. If all
    positions share one matrix, the rows of all positions give the map, so that one pair suffices. Under noise, each
    position still has its own map, with more weight on its own rows, because a map also captures what plain blocks look
    like there.

    Cost: ``pairs``, ``equations`` (known rows of pixels for one map), ``solutions`` (maps fitted).

    Args:
        plain: known images, uint8 or floating point in 0..1, ``[N, C, H, W]``; at least one.
        disguised: the same images disguised, in the same order, any number type.
        target: disguised images to rebuild, ``[M, C, H, W]``.
        scheme: scheme of ``RMTDisguise``.
        intercept: also fit a constant. It removes the mean of the noise: ``u / 2`` for noise drawn from 0 to ``u``.
        solve_for: ``plain`` fits plain rows to disguised ones, which weighs noise against signal; ``matrix`` estimates
            the secret matrix, as the paper does, and inverts it.
        order: int64 ``[positions]``, the original block at each position. If blocks are permuted, ``None`` recovers it
            from the pairs.

    Raises:
        InputShapeError: pairs, or pairs and target, do not fit together, or there are none.
        InputRangeError: ``solve_for`` is unknown, or the scheme is of another disguise or number of channels.
        BlockSizeError: blocks do not divide the images.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        sections IV-B and V-B.
    """
    require_preserved(scheme, "regression_attack", "energies")
    require_pairs(plain, disguised, target)
    require_channels(scheme.channels, plain)
    if solve_for not in ("plain", "matrix"):
        raise InputRangeError(f"solve_for must be 'plain' or 'matrix', got {solve_for!r}")
    order = order_or_pairs(plain, disguised, scheme, order)
    if order is not None:
        disguised, target = (undo_order(images, order, scheme.blocks) for images in (disguised, target))
    rows = Rows(scheme)
    plain_rows, disguised_rows = (rows.of(images).double() for images in (plain, disguised))
    groups, equations = plain_rows.shape[:2]
    linear, constant, rank = _fit(plain_rows, disguised_rows, intercept, solve_for)
    if scheme.shared and solve_for == "plain":
        rows = Rows(replace(scheme, shared=False))
        linear, constant = _fit_by_position(
            rows.of(plain).double(), rows.of(disguised).double(), intercept, scheme.channels or 1
        )
        groups = len(linear)
    at_once = max(1, _PIXELS_AT_ONCE // target[0].numel())
    rebuilt = [
        like(rows.lay(torch.baddbmm(constant, rows.of(part).double(), linear), part.shape), plain)
        for part in target.split(at_once)
    ]
    return RegressionResult(
        Level.KNOWN_PAIRS,
        {"pairs": len(plain), "equations": equations, "solutions": groups},
        torch.cat(rebuilt),
        rank.reshape(-1, scheme.channels or 1),
    )


def _fit(plain: Tensor, disguised: Tensor, intercept: bool, solve_for: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return the maps ``[groups, length, length]``, constants ``[groups, 1, length]`` and ranks ``[groups]``."""
    plain_mean, disguised_mean = (each.mean(1, keepdim=True) for each in (plain, disguised))
    if not intercept:
        plain_mean, disguised_mean = torch.zeros_like(plain_mean), torch.zeros_like(disguised_mean)
    plain, disguised = plain - plain_mean, disguised - disguised_mean
    forward, rank = _least_squares(plain, disguised)
    if solve_for == "matrix":
        linear = torch.linalg.pinv(forward, rtol=_TOLERANCE)
    else:
        linear, _ = _least_squares(disguised, plain)
    return linear, plain_mean - disguised_mean @ linear, rank


def _fit_by_position(plain: Tensor, disguised: Tensor, intercept: bool, channels: int) -> tuple[Tensor, Tensor]:
    """Return a map and a constant for each position, from its own rows and, with little weight, those of all positions.

    Args:
        plain: ``[positions * channels, rows, length]``.
        disguised: of the same shape.
        intercept: fit a constant.
        channels: number of channels with separate matrices.
    """
    count, length = plain.shape[1:]
    weight = _ROWS_OF_ALL * length

    def with_all(own: Tensor) -> Tensor:
        """Add the mean over all positions, as of ``weight`` rows, to sums over the rows of each."""
        mean = own.unflatten(0, (-1, channels)).mean(0) / count
        return own + weight * mean.repeat(len(own) // channels, *[1] * (own.ndim - 1))

    means = [with_all(rows.sum(1, keepdim=True)) / (count + weight) for rows in (plain, disguised)]
    if not intercept:
        means = [torch.zeros_like(mean) for mean in means]
    squares = with_all(disguised.mT @ disguised) - (count + weight) * means[1].mT @ means[1]
    products = with_all(disguised.mT @ plain) - (count + weight) * means[1].mT @ means[0]
    linear, _ = _solve(squares, products)
    return linear, means[0] - means[1] @ linear


def _least_squares(given: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the minimum-norm maps from given to wanted rows, and the ranks of the given ones."""
    return _solve(given.mT @ given, given.mT @ wanted)


def _solve(squares: Tensor, products: Tensor) -> tuple[Tensor, Tensor]:
    """Solve normal equations; these square the condition number of the rows, which float64 can hold."""
    values, directions = torch.linalg.eigh(squares)
    kept = values > _TOLERANCE**2 * values[:, -1:]
    inverse = torch.where(kept, values, 1).reciprocal() * kept
    return directions * inverse[:, None] @ directions.mT @ products, kept.sum(1)


def _run(seen: Seen) -> RegressionResult:
    plain, disguised, _ = seen.need(Need.PAIRS)
    return regression_attack(plain, disguised, seen.target, scheme=seen.scheme, order=seen.order)


REGRESSION = Attack(
    name="regression_attack",
    title="Regression",
    about="fits a linear map back to plain pixels on known pairs",
    finds="picture",
    level=Level.KNOWN_PAIRS,
    run=_run,
    score=PICTURES,
    needs=frozenset({Need.PAIRS}),
    reason=only_for("RMTDisguise"),
    facts=lambda result: {"rank_least": int(result.rank.min()), "rank_most": int(result.rank.max())},
)
