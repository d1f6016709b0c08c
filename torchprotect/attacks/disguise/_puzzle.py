"""Arrange blocks on a grid so that neighbours fit."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Costs = NDArray[np.float64]
Grid = NDArray[np.int64]

_MOST_STARTS = 64
_START_WORK = 2**22  # fewer starts where there are so many blocks that each takes long


def solve(
    right: Costs, below: Costs, size: tuple[int, int], progress: Callable[[int, int], None] | None = None
) -> tuple[Grid, int]:
    """Search for the layout with the least total cost over all neighbours; the result is a local optimum.

    Args:
        right: ``[blocks, blocks]``: cost of the second block as right neighbour of the first. The cost of a block
            beside itself exceeds all others.
        below: the same for the lower neighbour.
        size: rows and columns of the grid, as many cells as there are blocks.
        progress: called with layouts done and the total.

    Returns:
        The block in each cell, and the number of starting layouts.
    """
    count = len(right)
    starts = np.unique(np.linspace(0, count - 1, min(_MOST_STARTS, max(1, _START_WORK // count**2))).astype(int))
    layouts = []
    for start in starts.tolist():
        layouts.append(_improve(_grow(start, right, below, size), right, below))
        if progress is not None:
            progress(len(layouts), len(starts))
    return min(layouts, key=lambda layout: layout[1])[0], len(starts)


def fits(grid: Grid, right: Costs, below: Costs) -> Costs:
    """Return the cost of each block in each cell, beside the blocks around it: ``[blocks, cells]``, row-major."""
    costs = np.zeros((len(right), *grid.shape))
    costs[:, :, 1:] += right.T[:, grid[:, :-1]]
    costs[:, :, :-1] += right[:, grid[:, 1:]]
    costs[:, 1:] += below.T[:, grid[:-1]]
    costs[:, :-1] += below[:, grid[1:]]
    return costs.reshape(len(right), -1)


def _grow(start: int, right: Costs, below: Costs, size: tuple[int, int]) -> Grid:
    """Add blocks one by one beside placed ones, each time the one that is furthest ahead of its best rival."""
    rows, columns = size
    count = rows * columns
    placed = np.full((2 * rows + 1, 2 * columns + 1), -1)  # the first block may end up in any cell
    costs = np.zeros((count, *placed.shape))
    beside = np.zeros(placed.shape, bool)
    free = np.ones(count, bool)
    low = high = np.array([rows, columns])
    cell, block = (rows, columns), start
    while True:
        row, column = cell
        placed[cell], free[block] = block, False
        low, high = np.minimum(low, cell), np.maximum(high, cell)
        if not free.any():
            return placed[low[0] : high[0] + 1, low[1] : high[1] + 1]
        for y, x, cost in (
            (row, column + 1, right[block]),
            (row, column - 1, right[:, block]),
            (row + 1, column, below[block]),
            (row - 1, column, below[:, block]),
        ):
            costs[:, y, x] += cost
            beside[y, x] = True
        within = np.zeros(placed.shape, bool)
        top, left = np.maximum(high - size + 1, 0)
        within[top : low[0] + rows, left : low[1] + columns] = True
        cells = np.argwhere(beside & within & (placed < 0))
        blocks = np.flatnonzero(free)
        of_cells = costs[blocks][:, cells[:, 0], cells[:, 1]]
        if len(blocks) > 1:
            best, second = np.partition(of_cells, 1, axis=0)[:2]
            chosen = int((second - best).argmax())
        else:
            chosen = int(of_cells[0].argmin())
        cell, block = (int(cells[chosen, 0]), int(cells[chosen, 1])), int(blocks[of_cells[:, chosen].argmin()])


def _improve(grid: Grid, right: Costs, below: Costs) -> tuple[Grid, float]:
    """Reassign blocks until nothing improves: all cells of one chessboard colour at once, then rows and columns.

    Cells of one colour are not neighbours, so their best assignment can be solved exactly.
    """
    from scipy.optimize import linear_sum_assignment

    best = _cost(grid, right, below)
    black = np.indices(grid.shape).sum(0).reshape(-1) % 2 == 1
    while True:
        tried = grid.copy()
        for colour in (black, ~black):
            blocks = tried.reshape(-1)[colour]
            chosen, cells = linear_sum_assignment(fits(tried, right, below)[blocks][:, colour])
            tried.reshape(-1)[np.flatnonzero(colour)[cells]] = blocks[chosen]
        tried = _cut_at_worst_seam(tried, right, below)
        cost = _cost(tried, right, below)
        if cost >= best - 1e-9:
            return grid, best
        grid, best = tried, cost


def _cut_at_worst_seam(grid: Grid, right: Costs, below: Costs) -> Grid:
    """Shift the grid cyclically so that the worst-fitting columns and rows lie at its edges."""
    seams = right[grid, np.roll(grid, -1, 1)].sum(0)
    grid = np.roll(grid, -int(seams.argmax()) - 1, 1)
    seams = below[grid, np.roll(grid, -1, 0)].sum(1)
    return np.roll(grid, -int(seams.argmax()) - 1, 0)


def _cost(grid: Grid, right: Costs, below: Costs) -> float:
    return float(right[grid[:, :-1], grid[:, 1:]].sum() + below[grid[:-1], grid[1:]].sum())
