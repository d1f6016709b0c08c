"""Results for one setting: what a network keeps, what attacks find, what the disguise costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torchprotect.attacks import Level, Measure
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.audit.comparison.disguised import Cost
from torchprotect.audit.comparison.setting import Setting
from torchprotect.audit.report.finding import Finding, NotRun
from torchprotect.audit.report.outcome import Outcome

LEVELS = (Level.CIPHERTEXT_ONLY, Level.PUBLIC_DATA, Level.KNOWN_PAIRS)
"""The levels at which attacks of this package run."""


class Share(NamedTuple):
    """A share, 0..1, with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, count: int) -> "Share":
        """Return a share that was counted over this many trials.

        It is rounded to six decimals, so that a reload gives the same advice.
        """
        return cls(*(round(each, 6) for each in (value, *wilson(value, count))))


@dataclass(frozen=True)
class Compared:
    """Results for one setting.

    Attributes:
        setting: its public parameters.
        accuracy: accuracy, on other disguised images, of the small network that was trained on disguised images.
        probe: accuracy of a linear classifier on the features of a pretrained network; ``None`` if none is installed.
        outcome: findings, and attacks that were not run.
        cost: cost of disguising.
        seconds: CPU time of all work for this setting.
    """

    setting: Setting
    accuracy: Share
    probe: Share | None
    outcome: Outcome
    cost: Cost
    seconds: float

    def leakage(self, level: Level) -> float | None:
        """Return the largest leakage of any attack at a level or below; ``None`` if nothing was measured."""
        return self.outcome.leakage(level)

    def worst(self, level: Level) -> Finding | None:
        """Return the finding that leaks most at a level and below; of equals, the one that needs least knowledge."""
        return min(self.outcome.at(level), key=lambda each: (-(each.leakage or 0.0), each.level.rank), default=None)

    def part_of_key(self, attack: str) -> Measure | None:
        """Return the share of the key's parts that an attack found; ``None`` if the attack was not run."""
        found = (each.measures for each in self.outcome.findings if each.attack == attack)
        return next((measure for some in found for measure in some if measure.about == "key"), None)

    def interval(self, level: Level) -> tuple[float, float] | None:
        """Return the 95 % interval of the worst finding's leakage; the value itself if there is no interval."""
        worst = self.worst(level)
        if worst is None or worst.headline is None or worst.leakage is None:
            return None
        low, high = worst.headline.leakage_low, worst.headline.leakage_high
        return (worst.leakage if low is None else low), (worst.leakage if high is None else high)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {
            "name": self.setting.name,
            "setting": self.setting.to_dict(),
            "accuracy": list(self.accuracy),
            "probe": None if self.probe is None else list(self.probe),
            "levels": {level.value: self._told(level) for level in LEVELS},
            "cost": self.cost._asdict(),
            "seconds": self.seconds,
            "findings": [each.to_dict() for each in self.outcome.findings],
            "not_run": [each.to_dict() for each in self.outcome.not_run],
        }

    def _told(self, level: Level) -> dict[str, Any]:
        worst, interval = self.worst(level), self.interval(level)
        return {
            "leakage": self.leakage(level),
            "low": None if interval is None else interval[0],
            "high": None if interval is None else interval[1],
            "attack": None if worst is None else worst.attack,
            "pairs": None if worst is None else worst.pairs,
            "measured": self.outcome.measured(level),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Compared":
        """Rebuild the results from :meth:`to_dict`."""
        return cls(
            Setting.from_dict(fields["setting"]),
            Share(*fields["accuracy"]),
            None if fields["probe"] is None else Share(*fields["probe"]),
            Outcome(
                tuple(map(Finding.from_dict, fields["findings"])),
                tuple(map(NotRun.from_dict, fields["not_run"])),
                None,
            ),
            Cost(**fields["cost"]),
            fields["seconds"],
        )
