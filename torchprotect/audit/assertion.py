"""The audit as a test of a team's own."""

import os
from pathlib import Path
from typing import Any

from torchprotect.audit.evidence.evidence import Evidence
from torchprotect.audit.report.outcome import level_of
from torchprotect.audit.report.report import Report
from torchprotect.audit.report.sentences import deed
from torchprotect.audit.run import run
from torchprotect.errors import InputRangeError


def assert_leakage_below(
    audited: Report | Evidence | str | os.PathLike[str], *, level: str, value: float, **options: Any
) -> Report:
    """Fail a test if more than an allowed leakage is measured for an attacker level.

    Args:
        audited: a report, the path of a report's JSON, or an export or evidence on which to run an audit.
        level: attacker level, ``"L0"`` to ``"L4"``.
        value: largest allowed leakage, 0..1; 0.6 is 60 %.
        **options: options of :func:`torchprotect.audit.run`, for an export or evidence.

    Returns:
        The report.

    Raises:
        AssertionError: the leakage is larger, or no attack of this very level was measured. The message lists what each
            attack did, and how much it leaks.
        InputRangeError: the value is not in 0..1, or there is no such level.

    Example::

        def test_leakage():
            audit.assert_leakage_below("report.json", level="L1", value=0.6)
    """
    wanted, value = level_of(level), require_share(value)
    if isinstance(audited, Report):
        report = audited
    elif not isinstance(audited, Evidence) and Path(audited).is_file():
        report = Report.read(audited)
    else:
        report = run(audited, **options)
    if not report.measured(wanted):
        reasons = [f"  {each.attack}: {each.reason}" for each in report.not_run if each.level is wanted]
        raise AssertionError(
            "\n".join([f"no attack was measured at {level}, so nothing can be said about it:", *reasons])
        )
    leakage = report.leakage(wanted) or 0.0
    if leakage > value:
        rows = [
            f"  {each.leakage:6.1%}  {each.attack} ({each.level.value}): {deed(each)}" for each in report.at(wanted)
        ]
        raise AssertionError(
            "\n".join([f"leakage at {level} is {leakage:.1%}, at most {value:.1%} is allowed:", *rows])
        )
    return report


def require_share(value: float) -> float:
    """Return the most that may leak, if it is one; NaN is not: no leakage exceeds it.

    Raises:
        InputRangeError: it lies outside 0..1.
    """
    if not 0 <= value <= 1:
        raise InputRangeError(
            f"value, the largest allowed leakage, must be a share of 0 to 1, such as 0.5, not {value!r}"
        )
    return value
