"""Reassemble permuted blocks by matching their edges."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from torchprotect.attacks._inputs import require_images
from torchprotect.attacks.disguise._blocks import cut, undo_order
from torchprotect.attacks.disguise._puzzle import Costs, fits, solve
from torchprotect.attacks.protocol import Attack, Seen, only_for
from torchprotect.attacks.results import LayoutResult, Level
from torchprotect.attacks.scheme import Scheme, require_preserved
from torchprotect.attacks.scores import LAYOUT

_PAIRS_AT_ONCE = 2**22  # bounds the memory
_ROUNDING = 1e-12


def jigsaw_attack(
    disguised: Tensor, *, scheme: Scheme, progress: Callable[[int, int], None] | None = None
) -> LayoutResult:
    """Reassemble permuted blocks like a jigsaw puzzle: an attacker with disguised images only (level L0).

    All images must share one order, as they do with one key; every image adds evidence. The blocks must be otherwise
    unchanged: this is an attack on block permutation alone.

    Two blocks are likely neighbours if their edges, each extrapolated by half a pixel, are close. The evidence is the
    logarithm of the share of all blocks that are as close or closer, seen from either side, averaged over the images.
    Ties count as the largest share, so that backgrounds contribute nothing. The layout starts with one block and adds
    the most certain neighbour each time. It is then improved by exact assignments of every second cell, and shifted
    cyclically so that the worst seams lie on the borders. All this is repeated from many starts.

    Some things cannot be learned from edges: blocks that are constant in all images may end up anywhere; if a blank
    margin surrounds all images, the layout can shift within it; and blocks one pixel wide do not distinguish left from
    right.

    Margins are in units of the evidence: how much better a block fits beside its neighbours than the next best one.

    Cost: ``images``, ``pairs`` (of edges compared in each image), ``starts``.

    Args:
        disguised: ``[N, C, H, W]``, any number type.
        scheme: scheme of ``BlockPermute``.
        progress: called with starts done and the total.

    Raises:
        InputShapeError: these are not images.
        InputRangeError: the images hold NaN or infinity.
        BlockSizeError: blocks do not divide the images.

    References:
        Extrapolated and ranked edges: Pomeranz, Shemesh, Ben-Shahar, A fully automated greedy square jigsaw puzzle
        solver, CVPR 2011. On disguises that permute blocks: Chuman, Kiya, arXiv 2202.00806.
    """
    require_preserved(scheme, "jigsaw_attack", "values")
    require_images("disguised images", disguised)
    block_size = scheme.blocks
    right, below = _evidence(disguised, block_size)
    count = len(right)
    size = disguised.shape[-2] // block_size[0], disguised.shape[-1] // block_size[1]
    grid, starts = solve(right, below, size, progress)
    order = torch.from_numpy(grid.reshape(-1).argsort())
    cost = {"images": len(disguised), "pairs": 2 * count * (count - 1), "starts": starts}
    images = undo_order(disguised, order, block_size)
    of_cells = fits(grid, right, below)
    cells = np.arange(count)
    own = of_cells[grid.reshape(-1), cells].copy()
    of_cells[grid.reshape(-1), cells] = np.inf
    margins = torch.from_numpy(of_cells.min(0) - own).float()[order]
    return LayoutResult(Level.CIPHERTEXT_ONLY, cost, order.to(disguised.device), margins.to(disguised.device), images)


def _evidence(images: Tensor, block_size: tuple[int, int]) -> tuple[Costs, Costs]:
    """Return the cost of each block as right, and as lower, neighbour of each other: ``[blocks, blocks]``."""
    blocks = cut(images, block_size).movedim(1, 0)  # [N, positions, C, h, w]
    count = blocks.shape[1]
    totals = torch.zeros(2, count, count, dtype=torch.float64, device=images.device)
    for part in blocks.split(max(1, _PAIRS_AT_ONCE // count**2)):
        for total, turned in zip(totals, (part, part.mT), strict=True):
            total += _log_ranks(turned.double())
    totals = totals / len(images)
    totals.diagonal(dim1=1, dim2=2).fill_(1)  # a block is not its own neighbour
    right, below = totals.cpu().numpy()
    return right, below


def _log_ranks(blocks: Tensor) -> Tensor:
    """Return the evidence of last columns ``[N, positions, C, h, w]`` beside first ones, summed over the images."""
    width = blocks.shape[-1]
    last, before, first, after = (blocks[..., n].flatten(2) for n in (-1, max(-2, -width), 0, min(1, width - 1)))
    ends, begins = 1.5 * last - 0.5 * before, 1.5 * first - 0.5 * after
    distances = ends.square().sum(2)[:, :, None] + begins.square().sum(2)[:, None] - 2 * ends @ begins.mT
    distances = distances.clamp(min=_ROUNDING * float(distances.max())).float()  # equal edges are ties
    distances.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    return (_ranks(distances).log() + _ranks(distances.mT.contiguous()).mT.log()).sum(0) / 2


def _ranks(distances: Tensor) -> Tensor:
    """Return which share of each row ``[..., n]``, itself left out, is as small as each value, or smaller."""
    others = max(1, distances.shape[-1] - 1)
    ranks = torch.searchsorted(distances.sort(-1).values, distances, right=True)
    return ranks.clamp(max=others).double() / others


def _run(seen: Seen) -> LayoutResult:
    found = jigsaw_attack(seen.disguised, scheme=seen.scheme)
    return replace(found, images=found.images[: seen.targets])


JIGSAW = Attack(
    name="jigsaw_attack",
    title="Jigsaw",
    about="reassembles blocks by matching their edges",
    finds="picture",
    level=Level.CIPHERTEXT_ONLY,
    run=_run,
    score=LAYOUT,
    reason=only_for("BlockPermute"),
)
