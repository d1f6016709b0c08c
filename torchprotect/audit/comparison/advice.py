"""Which setting to take, in one sentence for each question."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from torchprotect.attacks import Level
from torchprotect.audit.comparison.compared import LEVELS, Compared
from torchprotect.audit.report.words import percent

if TYPE_CHECKING:
    from torchprotect.audit.comparison.comparison import Comparison

KEEPS = 0.9
"""Share of the accuracy on plain images that a setting of use keeps."""

_HALF = 0.5


@dataclass(frozen=True)
class Advice:
    """The answer to one question.

    Attributes:
        question: in words.
        setting: the one that answers it, by its number from 1 up; ``None`` where none does.
        sentence: what it keeps and leaks, and what to know beside.
    """

    question: str
    setting: int | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def advise(comparison: "Comparison") -> tuple[Advice, ...]:
    """Answer the questions that a choice comes down to."""
    everything = range(len(comparison.settings))
    of_use = [each for each in everything if comparison.kept(comparison.settings[each]).value >= KEEPS]
    if not comparison.plain.low > comparison.chance:
        return (Advice("Which setting to take", None, _NO_YARDSTICK),)
    told = [
        _least(comparison, f"{_USEFUL}, least leakage at {level.value}", of_use, level)
        for level in (Level.PUBLIC_DATA, Level.KNOWN_PAIRS)
    ]
    told.append(_least(comparison, "Least leakage at L2, whatever it costs", everything, Level.KNOWN_PAIRS))
    most = max(everything, key=lambda each: comparison.settings[each].accuracy.value)
    told.append(Advice("Keeps the most", most + 1, _sentence(comparison, most, Level.KNOWN_PAIRS)))
    return tuple(told)


_USEFUL = f"Keeps at least {KEEPS:.0%} of plain accuracy".replace("%", " %")
_NO_YARDSTICK = (
    "Nothing can be advised: the network is no better than guessing on plain images. Give more images, or drop --fast"
)


def _least(comparison: "Comparison", question: str, among: Sequence[int], level: Level) -> Advice:
    known = [each for each in among if comparison.settings[each].leakage(level) is not None]
    if not among:
        return Advice(question, None, f"None of the compared settings does. {_nearest(comparison)}")
    if not known:
        return Advice(question, None, f"No attack was measured at {level.value} on a setting that does")
    best = min(known, key=lambda each: _rank(comparison.settings[each], level))
    told = _sentence(comparison, best, level)
    equals = _equals(comparison, best, known, level)
    if equals and len(equals) == len(known) - 1:
        told += ". By the intervals, every other setting that answers this may leak as little"
    elif equals:
        told += f". By the intervals, no. {', '.join(str(each + 1) for each in equals)} may leak as little"
    return Advice(question, best + 1, told)


def _nearest(comparison: "Comparison") -> str:
    most = max(comparison.settings, key=lambda each: each.accuracy.value)
    kept, low, high = comparison.kept(most)
    interval = f"95 % interval {100 * low:.1f} to {percent(high)}"
    return f"The most, {percent(kept)} ({interval}), is kept under {most.setting.name}"


def _equals(comparison: "Comparison", best: int, known: Sequence[int], level: Level) -> list[int]:
    """Return the other settings whose interval of leakage meets that of the best one: they are ties."""
    ends = comparison.settings[best].interval(level)
    return [
        each
        for each in known
        if each != best
        and ends is not None
        and (other := comparison.settings[each].interval(level)) is not None
        and other[0] <= ends[1]
    ]


def _sentence(comparison: "Comparison", index: int, level: Level) -> str:
    found = comparison.settings[index]
    kept, leakage, worst = comparison.kept(found), found.leakage(level), found.worst(level)
    told = f"{found.setting.name} (no. {index + 1}) keeps {percent(kept.value)} of plain accuracy"
    if worst is not None:
        given = f" with {worst.given}" if worst.given else ""
        told += f" and leaks {percent(leakage)} at {level.value} ({worst.called}{given})"
    if not found.accuracy.low > comparison.chance:
        told += ". A network learns nothing from it that guessing would not give"
    elif leakage is not None and leakage >= _HALF:
        told += ". That is more than half of what plain images give: it hides little from such an attacker"
    return told


def _rank(compared: Compared, level: Level) -> tuple[float, ...]:
    """Return a sorting key: less leakage at a level first.

    Of equals, that which leaks less at the levels below, then over all attacks, then that which keeps more.
    """
    levels = LEVELS[LEVELS.index(level) :: -1]
    every = [each.leakage or 0.0 for each in compared.outcome.at(level)]
    return (*(round(compared.leakage(each) or 0.0, 3) for each in levels), fmean(every), -compared.accuracy.value)
