"""Learned inversion: a U-Net on known pairs."""

from dataclasses import replace

from torch import Tensor

from torchprotect import attacks
from torchprotect.attacks import AttackResult, Level
from torchprotect.attacks.disguise._blocks import undo_order
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, NotApplicable, Reason, first, needs_pairs, rebuild
from torchprotect.audit.report.finding import Finding


def _run(bench: Bench) -> Finding:
    scheme, settings = bench.evidence.scheme, bench.settings

    def attack(plain: Tensor, disguised: Tensor, target: Tensor, count: int) -> AttackResult:
        order = bench.order_from_pairs(count)
        if order is not None:
            disguised, target = (undo_order(each, order.guesses, scheme.blocks) for each in (disguised, target))
        return attacks.reconstruction_attack(
            plain,
            disguised,
            target,
            epochs=settings.inversion_epochs,
            generator=bench.generator(INVERSION.name),
            device=settings.device,
        )

    count = min(settings.inversion_pairs, len(bench.split.known))
    found = rebuild(bench, INVERSION.name, attack, [count])
    return replace(found, settings={"epochs": settings.inversion_epochs})


def _reason(bench: Bench) -> Reason:
    return NotApplicable("the images are readable as they are") if bench.evidence.scheme.readable else None


INVERSION = Check("reconstruction_attack", Level.KNOWN_PAIRS, first(_reason, needs_pairs), _run)
