"""The finding of one attack: numbers with their chance level and upper bound, and examples."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torchprotect.attacks import Attack, Level
from torchprotect.attacks.measures import Measure
from torchprotect.attacks.protocol import Finds

_COUNTED = ("class", "picture", "identity", "use")
"""Findings that count for a level's leakage. A part of a key does no harm by itself, nor do distances: the attacks
that use them measure what they give away."""


_KEPT = ("attack", "leaks", "pairs", "facts", "cost", "settings", "seconds", "note", "title", "method", "holder")

Known = Literal["pair", "image"]
"""What an attacker knows: pairs, or plain images of the set without their disguised versions."""


@dataclass(frozen=True)
class Point:
    """One point of a curve: the headline measure of an attack for a number of known pairs, or known images."""

    pairs: int
    measure: Measure


@dataclass(frozen=True)
class Example:
    """One image for a person to look at, as PNG files: plain, disguised and rebuilt.

    Attributes:
        rank: ``worst``, ``median`` or ``best`` result for the attacker.
        plain: the owner's image.
        disguised: the released image.
        rebuilt: the attack's result.
    """

    rank: str
    plain: bytes
    disguised: bytes
    rebuilt: bytes


@dataclass(frozen=True)
class Finding:
    """Result of one attack.

    Attributes:
        attack: name of the attack.
        level: attacker level.
        leaks: what the attack reveals.
        measures: the measured numbers; the one that leaks most is the headline.
        pairs: number of known pairs behind the headline; or of known images, if ``known`` says so.
        curve: the headline measure for other numbers of pairs too; the headline is its best point.
        examples: pictures, worst to best.
        facts: statistics that have no scale, such as of duplicates.
        cost: cost of the attack, in its own units.
        settings: options of the attack.
        seconds: running time.
        note: advice for reading the result.
        title: common name of the attack; its name if empty.
        method: what it does, in half a sentence.
        holder: who the attacker is; implied by the level if empty.
        known: what ``pairs`` and the curve count.
    """

    attack: str
    level: Level
    leaks: Finds
    measures: tuple[Measure, ...] = ()
    pairs: int | None = None
    curve: tuple[Point, ...] = ()
    examples: tuple[Example, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    note: str = ""
    title: str = ""
    method: str = ""
    holder: str = ""
    known: Known = "pair"

    @property
    def called(self) -> str:
        """Common name of the attack."""
        return self.title or self.attack

    @property
    def given(self) -> str:
        """Pairs or images that the attacker knows, for the headline: ``5 known images``; empty without any."""
        if self.pairs is None:
            return ""
        kind = "pair" if self.known == "pair" else "known image"
        return f"{self.pairs:,} {kind}{'' if self.pairs == 1 else 's'}"

    @property
    def headline(self) -> Measure | None:
        """The measure that leaks most; the first one if none has a leakage."""
        return headline(self.measures)

    @property
    def leakage(self) -> float | None:
        """Leakage of the headline."""
        return self.headline.leakage if self.headline else None

    @property
    def counted(self) -> bool:
        """Whether it counts for the leakage of its level: it is about images, and has a scale."""
        return self.leaks in _COUNTED and self.leakage is not None

    @property
    def without_scale(self) -> bool:
        """Whether it would count, except that models on plain images do no better than guessing."""
        return bool(self.measures) and self.leaks in _COUNTED and self.leakage is None

    def to_dict(self) -> dict[str, Any]:
        """Return the finding for JSON, without pictures."""
        told = (*_KEPT, "known")
        top = self.headline.to_dict() if self.headline else dict.fromkeys(Measure("", 0, 0, 0).to_dict())
        return {
            **{name: getattr(self, name) for name in told},
            "level": self.level.value,
            "counted": self.counted,
            **top,
            "measures": [each.to_dict() for each in self.measures],
            "curve": [{"pairs": point.pairs, **point.measure.to_dict()} for point in self.curve],
        }

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Finding":
        """Rebuild a finding from the result of :meth:`to_dict`; pictures are read from ``examples``, if present."""
        return cls(
            **{name: fields[name] for name in _KEPT},
            known=fields.get("known", "pair"),  # reports of earlier versions have no other
            level=Level(fields["level"]),
            measures=tuple(map(Measure.from_dict, fields["measures"])),
            curve=tuple(Point(each["pairs"], Measure.from_dict(each)) for each in fields["curve"]),
            examples=tuple(_example(each) for each in fields.get("examples", ())),
        )

    def with_pictures(self) -> dict[str, Any]:
        """Return :meth:`to_dict` and the pictures in base64."""
        names = ("plain", "disguised", "rebuilt")
        coded = [
            {"rank": each.rank, **{name: base64.b64encode(getattr(each, name)).decode() for name in names}}
            for each in self.examples
        ]
        return {**self.to_dict(), "examples": coded}


Cause = Literal["not applicable", "missing input", "refused", "failed", "not chosen", "not included"]
"""Why an attack was not run. ``not applicable``: there is nothing for it to examine. ``missing input``: plain
images, labels, pairs or the like are missing. ``refused``: it refused the images. ``failed``: it is user-supplied
and failed. ``not chosen``: others were requested. ``not included``: no audit of this version runs it, or only on
request."""


@dataclass(frozen=True)
class NotRun:
    """An attack that was not run, and the reason.

    Attributes:
        attack: name of the attack.
        level: attacker level.
        reason: in words.
        cause: kind of the reason.
        title: common name of the attack; its name if empty.
    """

    attack: str
    level: Level
    reason: str
    cause: Cause
    title: str = ""

    @classmethod
    def of(cls, attack: Attack, reason: str, cause: Cause) -> "NotRun":
        """Make it for an attack."""
        return cls(attack.name, attack.level, reason, cause, attack.title)

    @property
    def called(self) -> str:
        """Common name of the attack."""
        return self.title or self.attack

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return {**vars(self), "level": self.level.value}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "NotRun":
        """Rebuild it from :meth:`to_dict`."""
        return cls(fields["attack"], Level(fields["level"]), fields["reason"], fields["cause"], fields["title"])


def headline(measures: tuple[Measure, ...]) -> Measure | None:
    """Return the measure that leaks most; of equals, one that reveals more than the class; the first if none leaks.

    A part of the key is ignored if there are measures of images, which measure what that part reveals.
    """
    told = [each for each in measures if each.about != "key"] or measures
    scaled = [each for each in told if each.leakage is not None]
    if not scaled:
        return told[0] if told else None
    return max(scaled, key=lambda each: (each.leakage or 0.0, each.about != "class"))


def best_number(curve: Mapping[int, tuple[Measure, ...]]) -> int:
    """Return the number of known pairs or images with most leakage; of equals, the least; without leakage, the last."""
    leakages = {pairs: top.leakage for pairs, measures in curve.items() if (top := headline(measures)) is not None}
    scaled = {pairs: leakage for pairs, leakage in leakages.items() if leakage is not None}
    return max(scaled, key=scaled.__getitem__) if scaled else max(curve)


def _example(fields: dict[str, str]) -> Example:
    return Example(fields["rank"], *(base64.b64decode(fields[name]) for name in ("plain", "disguised", "rebuilt")))
