"""Linkage: known plain images looked up among disguised ones."""

from dataclasses import replace

import torch

from torchprotect import attacks
from torchprotect.attacks import Level
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, first, needs_scheme, needs_truth
from torchprotect.audit._measures import of_linkage
from torchprotect.audit.report.finding import Finding

_GUESSES = 10


def _run(bench: Bench) -> Finding:
    scheme, candidates = bench.evidence.scheme, bench.disguised(bench.split.attacked)
    known = sought = bench.truth(bench.targets())
    if scheme.preserved == "equality":  # how rare a unit is can be told from many images only
        known = torch.cat([sought, bench.plain(bench.split.public)])
    result = attacks.linkage_attack(
        known, candidates, **scheme.matching, learned_scale=scheme.learned_scale, k=min(_GUESSES, len(candidates))
    )
    count = len(sought)
    found = replace(result, guesses=result.guesses[:count], distances=result.distances[:count])
    return Finding(
        LINKAGE.name,
        result.level,
        "identity",
        of_linkage(found, torch.arange(count), len(candidates), bench.identities(bench.split.attacked)),
        cost=result.cost,
        settings={"candidates": len(candidates), "learned_scale": scheme.learned_scale},
    )


LINKAGE = Check(
    "linkage_attack",
    Level.PUBLIC_DATA,
    first(needs_scheme("BlockPermute", "RMTDisguise", "AESECBDisguise"), needs_truth),
    _run,
)
