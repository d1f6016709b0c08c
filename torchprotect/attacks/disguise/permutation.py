"""Recover the secret order of blocks."""

from functools import partial

import torch
from torch import Tensor

from torchprotect.attacks.disguise._alignment import forward
from torchprotect.attacks.disguise._assignment import assign, margins
from torchprotect.attacks.disguise._blocks import cut, undo_order
from torchprotect.attacks.disguise._inputs import require_pairs
from torchprotect.attacks.disguise._matching import match_statistics
from torchprotect.attacks.disguise._preserved import Reading, levels
from torchprotect.attacks.protocol import Attack, Need, Seen, only_permuted
from torchprotect.attacks.results import LayoutResult, Level, PermutationResult, StatisticsResult
from torchprotect.attacks.scheme import BLOCK_DISGUISES, Preserved, Scheme, require_preserved
from torchprotect.attacks.scores import ORDER
from torchprotect.errors import BlockSizeError

_MOST_ROUNDS = 20
_LOG_ODDS = 6.0  # log odds of the block that a prior order names, against each other block
_TIE = 1e-6  # of the mean cost: differences below it are rounding errors
_BY_BLOCKS: tuple[Preserved, ...] = ("values", "energies", "equality")


def recover_permutation(
    plain: Tensor,
    disguised: Tensor,
    *,
    scheme: Scheme,
    prior: Tensor | None = None,
) -> PermutationResult:
    """Recover the order of the blocks from known pairs: an attacker with known pairs (level L2).

    What the disguise preserves of each block is compared with the same property of each plain block, over all pairs:
    pixels; norms of rows; or which pairs of images agree in a unit (which takes at least two pairs). Of all orders, the
    attack takes the one with the smallest sum of differences. If all positions share a secret, more is compared: in
    which images, and how often, a unit occurs anywhere; or the rows themselves, under the one matrix that suits the
    order found so far.

    A guess is certain only if blocks differ. Blocks that are empty in all pairs are interchangeable; their margin is 0
    or, with noise, nearly 0.

    Cost: ``pairs``, ``assignments`` (assignment problems solved: one, or some if positions share a matrix).

    Args:
        plain: known images, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        disguised: the same images disguised, in the same order, exactly as released; ``scheme.white`` is the value of
            white.
        scheme: scheme of a disguise by blocks.
        prior: a likely order, int64 ``[positions]``, such as one from statistics. It decides if pairs leave several
            blocks open.

    Returns:
        The order, and margins as differences of the costs: mean squares of grey levels (of standardised norms if
        matrices are not orthogonal), or shares of units. A negative margin means that another block fits better but was
        needed elsewhere.

    Raises:
        InputTypeError: plain images are neither uint8 nor floating point.
        InputShapeError: pairs do not fit together, or there are none.
        InputRangeError: there are fewer pairs than needed, or a setting is invalid.
        BlockSizeError: blocks do not divide the images, or units do not divide the blocks.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section IV-B, assumes that the attacker knows the order.
    """
    preserved, reading = require_preserved(scheme, "recover_permutation", *_BY_BLOCKS), Reading(scheme)
    require_pairs(plain, disguised, at_least=2 if preserved == "equality" else 1)
    reading.require("plain", plain, disguised)
    read = {"values": reading.values, "energies": reading.norms, "equality": reading.agreements}[preserved]
    mine, theirs = (each.flatten(1) for each in read(plain, disguised))
    if not scheme.keeps_lengths:
        mine, theirs = (_standardised(each) for each in (mine, theirs))
    if preserved == "equality":
        costs = torch.cdist(theirs, mine, p=0.0) / mine.shape[1]
    else:
        costs = torch.cdist(theirs, mine).square() / mine.shape[1]
    order, assignments = assign(costs), 1
    if preserved == "energies" and scheme.shared:
        order, costs, assignments = _fit_shared_matrix(*reading.lines(plain, disguised), order, scheme)
    if prior is not None:
        order, assignments = assign(_apply_prior(prior, costs, order, mine.shape[1])), assignments + 1
    cost = {"pairs": len(plain), "assignments": assignments}
    return PermutationResult(Level.KNOWN_PAIRS, cost, order, margins(costs, order))


def _fit_shared_matrix(mine: Tensor, theirs: Tensor, order: Tensor, scheme: Scheme) -> tuple[Tensor, Tensor, int]:
    """Alternate between fitting the shared matrix to an order and the order to the matrix, until nothing changes.

    Args:
        mine: lines of plain blocks, ``[positions, N, C, lines, length]``.
        theirs: lines of disguised ones.
        order: initial order.
        scheme: scheme of shared matrices.

    Returns:
        The order, the costs ``[positions, blocks]`` it was taken from, and the number of assignments solved.
    """
    seen, assignments = theirs.flatten(1), 1
    for _ in range(_MOST_ROUNDS):
        assignments += 1
        costs = torch.cdist(seen, forward(mine, theirs, order, scheme).flatten(1)).square() / seen.shape[1]
        before, order = order, assign(costs)
        if torch.equal(before, order):
            break
    return order, costs, assignments


def _apply_prior(prior: Tensor, costs: Tensor, order: Tensor, numbers: int) -> Tensor:
    """Return costs ``[positions, blocks]`` that favour the blocks of a prior order according to its odds.

    Args:
        prior: int64 ``[positions]``.
        costs: mean squares of differences.
        order: the order with the least sum of costs, from which the variance of right blocks is estimated.
        numbers: how many numbers of a block are compared.
    """
    if prior.shape != order.shape or not torch.equal(prior.sort().values, order.sort().values):
        raise BlockSizeError(f"a prior order must name each of the {len(order)} blocks of these images once")
    variance = costs.gather(1, order[:, None]).mean()
    worth = (2 * _LOG_ODDS * variance / numbers).clamp(min=_TIE * float(costs.mean()))
    return costs.scatter_add(1, prior[:, None], -worth.expand(len(prior), 1))


def recover_permutation_from_statistics(
    public: Tensor,
    disguised: Tensor,
    *,
    scheme: Scheme,
) -> StatisticsResult:
    """Recover the order of the blocks without any pair: an attacker with public data (level L1).

    The attacker has other images of the same kind. Means and standard deviations of what the disguise preserves give a
    first order (an assignment problem). Then blocks are matched by how they vary together with all other blocks (a
    quadratic assignment, solved as a series of linear ones). Both statistics hardly distinguish an image from its
    mirror image, so swaps of blocks at mirrored positions are tried too. The guess is the order that fits best by both
    statistics.

    The order cannot be known if statistics are equal: for blocks that are empty in all images, or for left and right in
    photographs, which take about 10,000 images to distinguish.

    Cost: ``public``, ``disguised`` (images), ``assignments`` (assignment problems solved).

    Args:
        public: plain images of the same kind, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        disguised: ``[M, C, H, W]``, exactly as released; ``scheme.white`` is the value of white.
        scheme: scheme of a disguise by blocks.

    Returns:
        The order, its mirror image, and margins of the sum of both costs, each divided by its mean. A negative margin
        means that another block fits better but was needed elsewhere.

    Raises:
        InputTypeError: public images are neither uint8 nor floating point.
        InputShapeError: images differ in size or device, or there are none.
        InputRangeError: a setting is invalid.
        BlockSizeError: blocks do not divide the images, or units do not divide the blocks.

    References:
        Guo, Wu: Deriving Private Information from Arbitrarily Projected Data, use statistics of public data in the same
        way.
    """
    preserved = require_preserved(scheme, "recover_permutation_from_statistics", *_BY_BLOCKS)
    reading = Reading(scheme)
    reading.require("public", public, disguised)
    equality = reading.repeats if scheme.shared else reading.silhouettes
    read = {"values": reading.values, "energies": reading.norms, "equality": equality}[preserved]
    mine, theirs = read(public, disguised)
    height, width = scheme.blocks
    grid = (public.shape[2] // height, public.shape[3] // width)
    if not scheme.keeps_lengths:
        mine, theirs = (each / levels(each, public.shape[1], scheme) for each in (mine, theirs))
    order, lead, assignments = match_statistics(mine, theirs, grid, coarse=preserved == "equality")
    cost = {"public": len(public), "disguised": len(disguised), "assignments": assignments}
    mirror = torch.arange(len(order), device=order.device).unflatten(0, grid).flip(1).flatten()
    return StatisticsResult(Level.PUBLIC_DATA, cost, order, lead, mirror[order])


def order_or_pairs(plain: Tensor, disguised: Tensor, scheme: Scheme, order: Tensor | None) -> Tensor | None:
    """Return the given order, or otherwise the one recovered from known pairs; ``None`` if blocks are not permuted."""
    if order is not None or not scheme.permuted:
        return order
    return recover_permutation(plain, disguised, scheme=scheme).guesses


def order_or_statistics(public: Tensor, disguised: Tensor, scheme: Scheme, order: Tensor | None) -> Tensor:
    """Return the given order, or else the one recovered from public images; the identity if nothing is permuted."""
    if order is not None:
        return order
    if scheme.permuted:
        return recover_permutation_from_statistics(public, disguised, scheme=scheme).guesses
    return torch.arange(len(cut(disguised[:1], scheme.blocks)), device=disguised.device)


def _standardised(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(1, keepdim=True)
    return centred / centred.std(1, correction=0, keepdim=True).clamp(min=1e-9)


def _run_pairs(seen: Seen) -> PermutationResult:
    plain, disguised, _ = seen.need(Need.PAIRS)
    recover = seen.recovered or partial(recover_permutation, plain, disguised, scheme=seen.scheme)
    return _opened(seen, recover())


def _run_statistics(seen: Seen) -> PermutationResult:
    public = seen.need(Need.PUBLIC)
    recover = seen.recovered or partial(recover_permutation_from_statistics, public, seen.disguised, scheme=seen.scheme)
    return _opened(seen, recover())


def _opened(seen: Seen, found: PermutationResult) -> PermutationResult:
    """Put the blocks of the images back, if that restores the images: if the content of blocks is unchanged."""
    if seen.scheme.preserved != "values":
        return found
    images = undo_order(seen.target, found.guesses, seen.scheme.blocks)
    return LayoutResult(found.level, found.cost, found.guesses, found.margins, images)


PERMUTATION = Attack(
    name="recover_permutation",
    title="Order from pairs",
    about="matches blocks to positions with known pairs",
    finds="key",
    level=Level.KNOWN_PAIRS,
    run=_run_pairs,
    score=ORDER,
    needs=frozenset({Need.PAIRS}),
    reason=only_permuted(*BLOCK_DISGUISES),
)

PERMUTATION_FROM_STATISTICS = Attack(
    name="recover_permutation_from_statistics",
    title="Order from statistics",
    about="matches blocks to positions with statistics of public images",
    finds="key",
    level=Level.PUBLIC_DATA,
    run=_run_statistics,
    score=ORDER,
    needs=frozenset({Need.PUBLIC}),
    reason=only_permuted(*BLOCK_DISGUISES),
)
