"""Jigsaw: blocks put together by what fits at their edges."""

from dataclasses import replace

from torchprotect import attacks
from torchprotect.attacks import Level
from torchprotect.attacks.results import Reconstruction
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, first, needs_scheme, needs_truth
from torchprotect.audit._measures import of_images, of_permutation
from torchprotect.audit._pictures import examples
from torchprotect.audit.report.finding import Finding


def _run(bench: Bench) -> Finding:
    block_size = bench.evidence.scheme.blocks
    result = attacks.jigsaw_attack(bench.disguised(bench.split.attacked), block_size=block_size)
    indices = bench.targets()  # the first of those attacked
    rebuilt = Reconstruction(result.level, result.cost, result.images[: len(indices)])
    found = Finding(
        JIGSAW.name,
        result.level,
        "picture",
        of_images(bench, rebuilt, indices),
        examples=examples(bench, rebuilt.images, indices),
        cost=result.cost,
    )
    if bench.evidence.order is None:
        return found
    return replace(found, measures=(*found.measures, of_permutation(result, bench.evidence.order)))


JIGSAW = Check("jigsaw_attack", Level.CIPHERTEXT_ONLY, first(needs_scheme("BlockPermute"), needs_truth), _run)
