"""Class of RMT images from the energies of their rows."""

from torchprotect import attacks
from torchprotect.attacks import Level
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, first, needs_classes, needs_scheme
from torchprotect.audit._measures import of_guesses
from torchprotect.audit.report.finding import Finding


def _run(bench: Bench) -> Finding:
    scheme, indices, order = bench.evidence.scheme, bench.split.attacked, bench.supposed_order
    result = attacks.row_energy_attack(
        *bench.public(),
        bench.disguised(indices),
        classes=bench.evidence.classes,
        block_size=scheme.blocks,
        side=scheme.side,
        noise=scheme.noise,
        order=order,
        learned_scale=scheme.learned_scale,
    )
    return Finding(ROW_ENERGY.name, result.level, "class", of_guesses(bench, result, indices), cost=result.cost)


ROW_ENERGY = Check("row_energy_attack", Level.PUBLIC_DATA, first(needs_scheme("RMTDisguise"), needs_classes), _run)
