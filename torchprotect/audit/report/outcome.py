"""What an audit came to: findings, attacks that were not run, accuracies and facts."""

from dataclasses import dataclass, field
from typing import Any

from torchprotect.attacks import Level
from torchprotect.audit.report.finding import Finding, NotRun
from torchprotect.audit.report.severity import rank
from torchprotect.audit.report.utility import Utility
from torchprotect.errors import InputRangeError


@dataclass(frozen=True)
class Outcome:
    """What an audit came to.

    Attributes:
        findings: of every attack that ran.
        not_run: every other attack, and why.
        utility: accuracies of trained networks; ``None`` where there were no labels.
        facts: ``data``, ``disguise``, ``environment``, ``settings``, ``split``, ``started`` and ``seconds``.
    """

    findings: tuple[Finding, ...]
    not_run: tuple[NotRun, ...]
    utility: Utility | None
    facts: dict[str, Any] = field(default_factory=dict)

    def at(self, level: Level | str) -> list[Finding]:
        """Return what counts for a level: findings about images at it and below, with the most leakage first."""
        known = [each for each in self.findings if each.counted and each.level <= level_of(level)]
        return sorted(known, key=lambda each: (-(each.leakage or 0.0), each.leaks not in ("identity", "picture")))

    def worst(self, level: Level | str) -> Finding | None:
        """Return the finding that is worst for an attacker of a level, who can do whatever lower levels can.

        That is the most severe; of these rather one that identifies images or rebuilds pictures than one that guesses
        classes; of these the one that leaks most.
        """
        return max(self.at(level), key=rank, default=None)

    def leakage(self, level: Level | str) -> float | None:
        """Return the most that an attack leaks at a level and below, 0..1; ``None`` if no attack was measured."""
        return max((each.leakage or 0.0 for each in self.at(level)), default=None)

    def measured(self, level: Level | str) -> bool:
        """Say whether an attack of this very level was measured."""
        return any(each.counted and each.level is level_of(level) for each in self.findings)


def level_of(level: Level | str) -> Level:
    """Return a level by its name, ``L0`` to ``L4``."""
    try:
        return level if isinstance(level, Level) else Level(level)
    except ValueError:
        raise InputRangeError(
            f"a level must be one of {', '.join(each.value for each in Level)}, not {level!r}"
        ) from None
