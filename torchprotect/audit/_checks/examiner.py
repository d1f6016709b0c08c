"""Direct re-identification: a network that knows plain images looks at disguised ones."""

from torchprotect.attacks import Level
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, needs_classes
from torchprotect.audit._measures import of_guesses
from torchprotect.audit.report.finding import Finding


def _run(bench: Bench) -> Finding:
    indices = bench.split.attacked
    result = bench.look(bench.disguised(indices))
    measures = of_guesses(bench, result, indices)
    return Finding(EXAMINER.name, result.level, "class", measures, cost=result.cost)


EXAMINER = Check("DNNExaminer", Level.PUBLIC_DATA, needs_classes, _run)
