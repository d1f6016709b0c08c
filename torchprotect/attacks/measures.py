"""Measured numbers of attacks, each with its unit, chance level and upper bound."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from torchprotect.errors import InputRangeError

Unit = Literal["share", "dB", "index", "correlation"]
"""The unit of a number: a share of 0..1, decibels, a similarity index such as SSIM, or a correlation."""

About = Literal["class", "identity", "known", "picture", "key", "distances"]
"""What a number is about: the class of an image, which image it is, which disguised image belongs to a known one,
similarity, a part of the key, or distances."""


@dataclass(frozen=True)
class Measure:
    """One measured number of a finding, with its interval and its reference values.

    Attributes:
        metric: what was measured.
        value: the measured value.
        low: lower end of its 95 % interval.
        high: upper end.
        chance: value reached without seeing the disguised images; ``None`` if there is no such value.
        upper: value reached on plain images; ``None`` if it is unknown, or infinite, as for PSNR.
        scaled: whether the measure lies on the scale from chance to plain images, and so has a leakage.
        upper_by: what reached the upper bound, if it is one of several bounds.
        unit: unit of value, interval, chance and upper bound; a share is 0..1.
        count: number of trials behind a share, so that it can be stated as a whole number of them; ``None`` if it is
            not a share of trials, like a mean of the shares of several classes.
        about: what the number is about, for the words of the verdict; ``None`` if the metric alone says it.

    Raises:
        InputRangeError: there is no such unit, or the number cannot be about this.
    """

    metric: str
    value: float
    low: float
    high: float
    chance: float | None = None
    upper: float | None = None
    scaled: bool = True
    upper_by: str | None = None
    unit: Unit = "share"
    count: int | None = None
    about: About | None = None

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit) or self.about not in (None, *get_args(About)):
            raise InputRangeError(
                f"unit of a measure must be one of {get_args(Unit)}, and about one of {get_args(About)} or None; got "
                f"{self.unit!r} and {self.about!r}"
            )

    @property
    def leakage(self) -> float | None:
        """Position of the value between chance (0) and plain images (1); ``None`` if one of them is missing."""
        return self._between(self.value)

    @property
    def leakage_low(self) -> float | None:
        """Position of the lower end of the interval on the same scale."""
        return self._between(self.low)

    @property
    def leakage_high(self) -> float | None:
        """Position of the upper end of the interval on the same scale."""
        return self._between(self.high)

    def _between(self, value: float) -> float | None:
        if not self.scaled or self.chance is None or self.upper is None or math.isnan(value):
            return None
        if not self.upper > self.chance:
            return None
        return min(1.0, max(0.0, (value - self.chance) / (self.upper - self.chance)))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, and the leakage with its interval; NaN and infinity become ``None``."""
        told = {name: getattr(self, name) for name in ("leakage", "leakage_low", "leakage_high")}
        return {name: _finite(each) for name, each in {**asdict(self), **told}.items()}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Measure":
        """Rebuild a measure from the result of :meth:`to_dict`."""
        value, low, high = (_number(fields[name]) for name in ("value", "low", "high"))
        rest = {name: fields[name] for name in ("chance", "upper", "scaled", "upper_by", "unit", "count", "about")}
        return cls(fields["metric"], value, low, high, **rest)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value
