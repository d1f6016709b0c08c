"""Match blocks to positions by their statistics over many images."""

import torch
from torch import Tensor

from torchprotect.attacks.disguise._assignment import assign, margins

_MOST_ROUNDS = 20
_MOST_COUPLED = 1024  # largest number of values per image for covariances; features are averaged down to it
_TINY = 1e-12
_LEAST_GAIN = 1e-3  # smallest decrease of the misfit that counts; smaller ones fit noise


def match_statistics(
    mine: Tensor, theirs: Tensor, grid: tuple[int, int], *, coarse: bool = False
) -> tuple[Tensor, Tensor, int]:
    """Return the block of ``mine`` for each position of ``theirs``, margins, and the number of assignments solved.

    Args:
        mine: features of images in the original order, ``[positions, N, features]``.
        theirs: the same for other images in an unknown order, ``[positions, M, features]``.
        grid: rows and columns of blocks.
        coarse: whether features say so little about a block that assignments stop early; then swaps of any two blocks
            are tried too. Finer features need none, and with few images swaps would fit noise.
    """
    alone = torch.cdist(_moments(theirs), _moments(mine)).square()
    match = _Match(alone, _covariances(theirs), _covariances(mine))
    turns = _turns(torch.arange(len(mine), device=mine.device).unflatten(0, grid))
    finish = match.exchange if coarse else lambda order: order
    best = finish(match.refine(assign(alone)))
    for _ in range(_MOST_ROUNDS):
        turned = match.turn(best, turns)
        better = min((best, *map(finish, (turned, match.refine(turned)))), key=match.misfit)
        if torch.equal(better, best):
            break
        best = better
    return best, margins(match.costs(best), best), 1 + match.assignments


def _turns(rows: Tensor) -> list[Tensor]:
    """Return swaps of blocks with those at mirrored positions: of all blocks, of a row or column, or of two blocks.

    Each gives, for every block of the grid, the one to take instead, int64 ``[positions]``.
    """
    same, turns = rows.flatten(), [rows.flip(0, 1).flatten()]
    for side in (0, 1):
        mirrored = rows.flip(side).flatten()
        lines = rows.unbind(1 - side)  # a mirror image of a line is the line itself, turned round
        pairs = (torch.stack(pair) for pair in zip(same, mirrored, strict=True) if pair[0] < pair[1])
        turns += [torch.where(torch.isin(same, which), mirrored, same) for which in (same, *lines, *pairs)]
    return turns


class _Match:
    """Cost of placing a block at a position: on its own, and relative to the blocks at all other positions."""

    def __init__(self, alone: Tensor, theirs: Tensor, mine: Tensor) -> None:
        self._alone, self._theirs, self._mine = alone, theirs, mine
        self._positions = torch.arange(len(alone), device=alone.device)
        self.assignments = 0

    def refine(self, order: Tensor) -> Tensor:
        """Give each position the block that fits best with the others; repeat until nothing changes."""
        for _ in range(_MOST_ROUNDS):
            self.assignments += 1
            better = assign(self._together(order))
            if torch.equal(better, order):
                break
            order = better
        return order

    def exchange(self, order: Tensor) -> Tensor:
        """Swap the two blocks whose swap lowers the misfit most; repeat until none does."""
        for _ in range(len(order)):
            misfits = self._if_exchanged(order)
            best = int(misfits.argmin())
            if misfits.flatten()[best] > misfits[0, 0] - _LEAST_GAIN:
                break
            pair = torch.tensor(divmod(best, len(order)), device=order.device)
            order = order.scatter(0, pair, order[pair.flip(0)])
        return order

    def turn(self, order: Tensor, turns: list[Tensor]) -> Tensor:
        """Try swaps of blocks one after the other, and keep those that fit better."""
        best = self.misfit(order)
        for exchange in turns:
            tried = exchange[order]
            misfit = self.misfit(tried)
            if misfit < best:
                order, best = tried, misfit
        return order

    def misfit(self, order: Tensor) -> float:
        """Return the sum of the logarithms of both costs, so that neither scale matters."""
        alone = self._alone[self._positions, order].double().sum()
        together = (self._theirs - self._mine[order][:, order]).square().sum()
        return float((alone + _TINY).log() + (together + _TINY).log())

    def _if_exchanged(self, order: Tensor) -> Tensor:
        """Return the misfit after a swap of the blocks at two positions, ``[positions, positions]``.

        The diagonal is the misfit of the order as it is.
        """
        theirs, mine = self._theirs, self._mine[order][:, order]
        own, tried = (each[self._positions, self._positions] for each in (theirs, mine))
        kept, crossed = _squares(theirs, mine), _squares(theirs, mine.movedim(1, 0))
        # relative to all other positions: rows of the table, without the two positions themselves
        rows = torch.cdist(theirs.flatten(1), mine.flatten(1)).square()
        rows = rows - _squares(own[:, None], mine.movedim(1, 0)) - _squares(theirs, tried)
        present = kept.sum(1, keepdim=True) - kept.diagonal()[:, None] - kept
        pairs = _squares(own[:, None], tried) - kept.diagonal()[:, None] + crossed - kept
        together = 2 * (rows - present) + pairs
        alone = self._alone.double()[:, order]
        alone = alone - alone.diagonal()[:, None]
        before = self._alone[self._positions, order].double().sum(), kept.sum()
        after = (start + half + half.T for start, half in zip(before, (alone, together), strict=True))
        first, second = ((each.clamp(min=0) + _TINY).log() for each in after)
        return first + second

    def costs(self, order: Tensor) -> Tensor:
        """Return the sum of both costs of each block at each position, each divided by its mean."""
        together = self._together(order)
        return self._alone / (self._alone.mean() + _TINY) + together / (together.mean() + _TINY)

    def _together(self, order: Tensor) -> Tensor:
        """Return how much the covariances with the blocks at all positions differ, ``[positions, blocks]``."""
        expected = self._mine[:, order]
        costs = torch.cdist(self._theirs.flatten(1), expected.flatten(1)).square()
        # at the position itself, use the candidate block instead of the block of the current order
        own, tried = self._theirs[self._positions, self._positions], self._mine[self._positions, self._positions]
        now = _squares(own[:, None], expected.movedim(1, 0))
        then = torch.cdist(own.flatten(1), tried.flatten(1)).square()
        return costs - now + then


def _squares(one: Tensor, other: Tensor) -> Tensor:
    """Return squared distances of matrices ``[..., features, features]``."""
    return torch.linalg.vector_norm(one - other, dim=(-2, -1)).square()


def _moments(features: Tensor) -> Tensor:
    return torch.cat([features.mean(1), features.std(1, correction=0)], 1)


def _covariances(features: Tensor) -> Tensor:
    """Return how features of all blocks vary together: float64 ``[positions, positions, features, features]``.

    Each feature is divided by the square root of its standard deviation. This lies between covariances, which a few
    bright blocks would dominate, and correlations, which blocks that are nearly always empty would dominate.
    """
    positions, _, count = features.shape
    kept = min(count, max(1, _MOST_COUPLED // positions))
    pooled = torch.nn.functional.adaptive_avg_pool1d(features, kept).double()
    centred = pooled - pooled.mean(1, keepdim=True)
    scaled = centred / centred.std(1, correction=0, keepdim=True).clamp(min=_TINY).sqrt()
    joined = scaled.movedim(1, 0).flatten(1)
    products = joined.T @ joined / len(joined)
    return products.unflatten(1, (positions, kept)).unflatten(0, (positions, kept)).movedim(1, 2)
