"""The severity of a finding, in as many steps as its interval supports."""

import math
from typing import Literal

from torchprotect.attacks.measures import Measure
from torchprotect.audit.report.finding import Finding

Severity = Literal["not measured", "none found", "key partly read", "partial", "severe"]
"""Ascending. ``none found``: the 95 % interval does not exceed chance. ``severe``: all of the interval lies nearer
to the result on plain images than to chance. ``partial``: between these. ``key partly read``: nothing is known about
images, but more of the key than by chance; only a level has it, never a finding about images."""

SEVERITIES: tuple[Severity, ...] = ("not measured", "none found", "key partly read", "partial", "severe")
_HALFWAY = 0.5


def severity(measure: Measure) -> Severity:
    """Return the severity of one measure."""
    if measure.leakage is None or measure.chance is None:
        return "not measured"
    surely = measure.value if math.isnan(measure.low) else measure.low
    if surely <= measure.chance:
        return "none found"
    leakage = measure.leakage if measure.leakage_low is None else measure.leakage_low
    return "partial" if leakage < _HALFWAY or weak_yardstick(measure) else "severe"


def severity_of(finding: Finding | None) -> Severity:
    """Return the severity of the worst measure of a finding about images; ``not measured`` without a finding."""
    if finding is None or not finding.counted:
        return "not measured"
    return max((severity(each) for each in finding.measures), key=SEVERITIES.index)


def key_measure(finding: Finding) -> Measure | None:
    """Return the measure of how much of a key was read, for a finding about a key."""
    return next((each for each in finding.measures if finding.leaks == "key" and each.about == "key"), None)


def key_read(finding: Finding) -> bool:
    """Return whether more of a key was read than by chance."""
    measure = key_measure(finding)
    return measure is not None and severity(measure) in ("partial", "severe")


def rank(finding: Finding) -> tuple[int, bool, float, int]:
    """Return a sorting key; the worst finding comes last.

    Findings of one severity are ties, because their intervals say no more. Among ties, a finding that identifies images
    or rebuilds pictures is worse than one that guesses classes, then the one that leaks more, then the one with less
    knowledge.
    """
    severity = SEVERITIES.index(severity_of(finding))
    return severity, finding.leaks in ("identity", "picture"), finding.leakage or 0.0, -finding.level.rank


def weak_yardstick(measure: Measure) -> bool:
    """Return whether a model on plain images is itself wrong more often than right, so that leakage says little."""
    return measure.about == "class" and measure.upper is not None and measure.upper < _HALFWAY
