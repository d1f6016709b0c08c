"""The outcome of an audit: findings, attacks that were not run, accuracies and facts."""

from dataclasses import dataclass, field
from typing import Any

from torchprotect.attacks import Level
from torchprotect.audit.report.finding import Finding, NotRun
from torchprotect.audit.report.severity import rank
from torchprotect.audit.report.utility import Utility
from torchprotect.errors import InputRangeError


@dataclass(frozen=True)
class Outcome:
    """The outcome of an audit.

    Attributes:
        findings: findings of every attack that ran.
        not_run: all other attacks, with the reasons.
        utility: accuracies of trained networks; ``None`` if there were no labels.
        facts: ``data``, ``disguise``, ``environment``, ``settings``, ``split``, ``started`` and ``seconds``.
    """

    findings: tuple[Finding, ...]
    not_run: tuple[NotRun, ...]
    utility: Utility | None
    facts: dict[str, Any] = field(default_factory=dict)

    def at(self, level: Level | str) -> list[Finding]:
        """Return the findings about images at a level and below, which count for it; most leakage first."""
        known = [each for each in self.findings if each.counted and each.level <= level_of(level)]
        return sorted(known, key=lambda each: (-(each.leakage or 0.0), each.leaks not in ("identity", "picture")))

    def worst(self, level: Level | str) -> Finding | None:
        """Return the worst finding for a level, whose attacker can do whatever lower levels can.

        The worst is the most severe. Among equally severe ones, it is one that identifies images or rebuilds pictures
        rather than one that guesses classes; among these, the one that leaks most.
        """
        return max(self.at(level), key=rank, default=None)

    def leakage(self, level: Level | str) -> float | None:
        """Return the most that an attack leaks at a level and below, 0..1; ``None`` if no attack was measured."""
        return max((each.leakage or 0.0 for each in self.at(level)), default=None)

    def measured(self, level: Level | str) -> bool:
        """Return whether an attack of this very level was measured."""
        return any(each.counted and each.level is level_of(level) for each in self.findings)


def level_of(level: Level | str) -> Level:
    """Return a level by its name, ``L0`` to ``L4``."""
    try:
        return level if isinstance(level, Level) else Level(level)
    except ValueError:
        raise InputRangeError(
            f"a level must be one of {', '.join(each.value for each in Level)}, not {level!r}"
        ) from None
