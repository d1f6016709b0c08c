"""Codebook attack on AES-ECB."""

from dataclasses import replace
from typing import get_args

from torch import Tensor

from torchprotect import attacks
from torchprotect.attacks import AttackResult, Level
from torchprotect.attacks.disguise.codebook import Fallback
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, first, needs_pairs, needs_scheme, rebuild
from torchprotect.audit.report.finding import Finding


def _run(bench: Bench) -> Finding:
    found = [_with_fallback(bench, each) for each in get_args(Fallback)]
    best = max(found, key=lambda each: each.leakage or 0.0)
    return replace(best, note="Of three ways to fill in units that are not in the book, the one that leaks most.")


def _with_fallback(bench: Bench, fallback: Fallback) -> Finding:
    scheme = bench.evidence.scheme
    rates: dict[int | None, dict[str, float]] = {}

    def attack(plain: Tensor, disguised: Tensor, target: Tensor, count: int) -> AttackResult:
        order = bench.order_from_pairs(count)
        found = attacks.codebook_attack(
            plain,
            disguised,
            target,
            block_size=scheme.blocks,
            unit_pixels=scheme.unit_pixels,
            fallback=fallback,
            order=None if order is None else order.guesses,
            channels=scheme.channels,
            generator=bench.generator(CODEBOOK.name),
        )
        rates[count] = {"hit_rate": found.hit_rate, "hit_rate_non_constant": found.hit_rate_non_constant}
        return found

    found = rebuild(bench, CODEBOOK.name, attack, bench.numbers_of_pairs())
    return replace(found, facts=rates[found.pairs], settings={"fallback": fallback})


CODEBOOK = Check("codebook_attack", Level.KNOWN_PAIRS, first(needs_scheme("AESECBDisguise"), needs_pairs), _run)
