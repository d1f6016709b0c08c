"""Regression attack on RMT."""

from dataclasses import replace

from torch import Tensor

from torchprotect import attacks
from torchprotect.attacks import AttackResult, Level
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, first, needs_pairs, needs_scheme, rebuild
from torchprotect.audit.report.finding import Finding


def _run(bench: Bench) -> Finding:
    scheme = bench.evidence.scheme
    ranks: dict[int | None, dict[str, int]] = {}

    def attack(plain: Tensor, disguised: Tensor, target: Tensor, count: int) -> AttackResult:
        order = bench.order_from_pairs(count)
        found = attacks.regression_attack(
            plain,
            disguised,
            target,
            block_size=scheme.blocks,
            side=scheme.side,
            order=None if order is None else order.guesses,
            channels=scheme.channels,
        )
        ranks[count] = {"rank_least": int(found.rank.min()), "rank_most": int(found.rank.max())}
        return found

    found = rebuild(bench, REGRESSION.name, attack, bench.numbers_of_pairs())
    return replace(found, facts=ranks[found.pairs], settings={"intercept": True})


REGRESSION = Check("regression_attack", Level.KNOWN_PAIRS, first(needs_scheme("RMTDisguise"), needs_pairs), _run)
