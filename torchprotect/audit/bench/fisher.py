"""Measure the scrambler itself (dFIL), which the owner can do with encoder and key."""

from collections.abc import Callable
from typing import Any

from torchprotect.attacks import Level, diagonal_fisher_leakage
from torchprotect.attacks.results import as_json
from torchprotect.attacks.scheme import SCRAMBLING
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.report.finding import NotRun

NAME = "diagonal_fisher_leakage"
_IMAGES, _PROBES, _AT_ONCE = 16, 4, 8
_TOLD = ("mean_dfil", "mean_standard_error", "mean_rmse_bound", "noise")
_LACKING = (
    "a measure of the scrambler itself, which needs plain images (--plain), the key (--key) and the encoder (--model "
    "package.module:factory; in Python, encoder=)"
)


def fisher_part(bench: Bench) -> Callable[[], dict[str, Any]] | NotRun | None:
    """Return the function that measures the scrambler, or why it cannot be measured; ``None`` for another disguise."""
    if bench.evidence.scheme.name != SCRAMBLING:
        return None
    if bench.scramble is None or bench.evidence.pairing is None:
        return NotRun(NAME, Level.PARTIAL_KEY, _LACKING, "missing input", "Diagonal Fisher information leakage")
    scramble = bench.scramble

    def measure() -> dict[str, Any]:
        result = diagonal_fisher_leakage(
            scramble,
            bench.truth(bench.targets[:_IMAGES]),
            probes=_PROBES,
            batch_size=_AT_ONCE,
            generator=bench.generator(NAME),
        )
        return {**{name: as_json(getattr(result, name)) for name in _TOLD}, **result.cost}

    return measure
