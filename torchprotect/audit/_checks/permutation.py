"""Recovery of the order of blocks: from known pairs, or by statistics of public images."""

from dataclasses import replace

from torch import Tensor

from torchprotect.attacks.results import AttackResult, Level, PermutationResult, Reconstruction
from torchprotect.attacks.disguise._blocks import undo_order
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import (
    Check,
    Reason,
    first,
    needs_moved_blocks,
    needs_pairs,
    needs_scheme,
    needs_truth,
    rebuild,
)
from torchprotect.audit._measures import of_images, of_permutation
from torchprotect.audit._pictures import examples
from torchprotect.audit.report.finding import Finding, Point

_ALONE = "BlockPermute"  # there the order is the whole key, and lays the images open


def _needs_order(bench: Bench) -> Reason:
    return None if bench.evidence.order is not None else "no key was given (--key): the true order is not known"


def _from_pairs(bench: Bench) -> Finding:
    if bench.evidence.scheme.name == _ALONE:
        return _lay_open_from_pairs(bench)
    counts = bench.numbers_of_pairs()
    results = [_known(bench.order_from_pairs(count)) for count in counts]
    measures = [of_permutation(result, _truth(bench)) for result in results]
    curve = tuple(Point(count, measure) for count, measure in zip(counts, measures, strict=True))
    name, level = PERMUTATION_FROM_PAIRS.name, PERMUTATION_FROM_PAIRS.level
    return Finding(name, level, "key", (measures[-1],), counts[-1], curve, cost=results[-1].cost)


def _lay_open_from_pairs(bench: Bench) -> Finding:
    def attack(plain: Tensor, disguised: Tensor, target: Tensor, count: int) -> AttackResult:
        return _laid_back(bench, _known(bench.order_from_pairs(count)), target)

    counts = bench.numbers_of_pairs()
    found = rebuild(bench, PERMUTATION_FROM_PAIRS.name, attack, counts)
    order = _known(bench.order_from_pairs(found.pairs or counts[-1]))
    return replace(found, measures=(*found.measures, of_permutation(order, _truth(bench))))


def _from_statistics(bench: Bench) -> Finding:
    result = _known(bench.order_from_statistics)
    found = Finding(PERMUTATION_FROM_STATISTICS.name, result.level, "key", cost=result.cost)
    right = of_permutation(result, _truth(bench))
    if bench.evidence.scheme.name != _ALONE:
        return replace(found, measures=(right,))
    indices = bench.targets()
    rebuilt = _laid_back(bench, result, bench.disguised(indices))
    measures = (*of_images(bench, rebuilt, indices), right)
    return replace(found, leaks="picture", measures=measures, examples=examples(bench, rebuilt.images, indices))


def _laid_back(bench: Bench, order: PermutationResult, images: Tensor) -> Reconstruction:
    laid = undo_order(images, order.guesses, bench.evidence.scheme.blocks)
    return Reconstruction(order.level, order.cost, laid)


def _known(order: PermutationResult | None) -> PermutationResult:
    assert order is not None  # noqa: S101 - the check has asked for moved blocks
    return order


def _truth(bench: Bench) -> Tensor:
    assert bench.evidence.order is not None  # noqa: S101 - the check has asked for it
    return bench.evidence.order


_BLOCKS = needs_scheme("BlockPermute", "RMTDisguise", "AESECBDisguise")

PERMUTATION_FROM_PAIRS = Check(
    "recover_permutation",
    Level.KNOWN_PAIRS,
    first(_BLOCKS, needs_moved_blocks, needs_pairs, _needs_order),
    _from_pairs,
)
PERMUTATION_FROM_STATISTICS = Check(
    "recover_permutation_from_statistics",
    Level.PUBLIC_DATA,
    first(_BLOCKS, needs_moved_blocks, needs_truth, _needs_order),
    _from_statistics,
)
