"""Class of AES-ECB images from where units repeat."""

from torchprotect import attacks
from torchprotect.attacks import Level
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, first, needs_classes, needs_scheme
from torchprotect.audit._measures import of_guesses
from torchprotect.audit.report.finding import Finding


def _run(bench: Bench) -> Finding:
    scheme, indices, order = bench.evidence.scheme, bench.split.attacked, bench.supposed_order
    result = attacks.silhouette_attack(
        *bench.public(),
        bench.disguised(indices),
        classes=bench.evidence.classes,
        block_size=scheme.blocks,
        unit_pixels=scheme.unit_pixels,
        order=order,
    )
    return Finding(
        SILHOUETTE.name,
        result.level,
        "class",
        of_guesses(bench, result, indices),
        facts={"background_share": float(result.background_share)},
        cost=result.cost,
    )


SILHOUETTE = Check("silhouette_attack", Level.PUBLIC_DATA, first(needs_scheme("AESECBDisguise"), needs_classes), _run)
