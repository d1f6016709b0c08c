"""Parts of a setting's key: they do not count as leakage, but show how reliable its numbers are."""

from torchprotect.attacks import Level, Measure, read_matrix_rows, recover_permutation_from_statistics
from torchprotect.audit.comparison.compared import Compared
from torchprotect.audit.report.sentences import whole

_FOUND = 0.9
"""Share of the blocks above which their order counts as recovered; and leakage that a known order hardly raises."""


def warn_of_order(compared: Compared, level: Level) -> str | None:
    """Return a warning if statistics did not recover the block order, in which case leakage may be underestimated."""
    order = _hidden_order(compared, level)
    if order is None:
        return None
    return (
        f"Without pairs, the order of its blocks was recovered for {_counted(order)} blocks only, and attacks that use "
        "the order find less for it. An attacker who gets the whole order, for example from a few pairs, may find more"
    )


def tell_parts(compared: Compared, level: Level) -> str | None:
    """Return how much of the key attacks of this very level found, for a line of the table; ``None`` if nothing."""
    if level is Level.CIPHERTEXT_ONLY:
        rows = compared.part_of_key(read_matrix_rows.__name__)
        return f"key: {_counted(rows)} rows" if rows is not None and rows.value > 0 else None
    order = _hidden_order(compared, level) if level is Level.PUBLIC_DATA else None
    return None if order is None else f"order: only {_counted(order)} blocks"


def _hidden_order(compared: Compared, level: Level) -> Measure | None:
    """Return how much of a secret order statistics recovered, if that is too little and not nearly all leaks anyway."""
    order = compared.part_of_key(recover_permutation_from_statistics.__name__)
    leakage = compared.leakage(level)
    return order if order is not None and order.value < _FOUND and (leakage or 0.0) < _FOUND else None


def _counted(part: Measure) -> str:
    """Return how many parts were found: ``111 of 112``."""
    of = part.count or 100
    return f"{whole(part.value, of)} of {of:,}"
