"""Linkage: known plain images looked up among disguised ones."""

import torch

from torchprotect import attacks
from torchprotect.attacks import Level
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, first, needs_scheme, needs_truth
from torchprotect.audit._finding import Finding
from torchprotect.audit._measures import of_linkage

_GUESSES = 10


def _run(bench: Bench) -> Finding:
    scheme, candidates = bench.evidence.scheme, bench.disguised(bench.split.attacked)
    known = bench.truth(bench.targets())
    scaled = scheme.name == "RMTDisguise" and scheme.matrix != "orthogonal"
    result = attacks.linkage_attack(
        known, candidates, **scheme.matching, learned_scale=scaled, k=min(_GUESSES, len(candidates))
    )
    measures = of_linkage(result, torch.arange(len(known)), len(candidates))
    return Finding(
        LINKAGE.name,
        result.level,
        "identity",
        measures,
        cost=result.cost,
        settings={"candidates": len(candidates), "learned_scale": scaled},
    )


LINKAGE = Check(
    "linkage_attack",
    Level.PUBLIC_DATA,
    first(needs_scheme("BlockPermute", "RMTDisguise", "AESECBDisguise"), needs_truth),
    _run,
)
