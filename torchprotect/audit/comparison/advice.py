"""Advice on which setting to choose: one sentence for each question."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from torchprotect.attacks import Level
from torchprotect.audit.comparison.compared import Compared
from torchprotect.audit.comparison.key_parts import warn_of_order
from torchprotect.audit.report.words import percent

if TYPE_CHECKING:
    from torchprotect.audit.comparison.comparison import Comparison

KEEPS = 0.9
"""Share of the accuracy on plain images that a useful setting keeps."""

_HALF = 0.5


@dataclass(frozen=True)
class Advice:
    """The answer to one question about the compared settings.

    Attributes:
        question: the question, in words.
        setting: number of the setting that answers it, from 1 up; ``None`` if none does.
        sentence: what that setting keeps and leaks, and any caveat.
    """

    question: str
    setting: int | None
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON."""
        return asdict(self)


def advise(comparison: "Comparison") -> tuple[Advice, ...]:
    """Answer the questions behind a choice of settings."""
    everything = range(len(comparison.settings))
    of_use = [each for each in everything if comparison.kept(comparison.settings[each]).value >= KEEPS]
    if not comparison.plain.low > comparison.chance:
        return (Advice("Which setting to choose", None, _NO_YARDSTICK),)
    told = [
        _least(comparison, f"{_USEFUL}, least leakage at {level.value}", of_use, level, f" that keep {_SHARE}")
        for level in (Level.PUBLIC_DATA, Level.KNOWN_PAIRS)
    ]
    told.append(_least(comparison, "Least leakage at L2, at any cost", everything, Level.KNOWN_PAIRS, ""))
    most = max(everything, key=lambda each: comparison.settings[each].accuracy.value)
    told.append(Advice("Keeps the most", most + 1, _sentence(comparison, most, Level.KNOWN_PAIRS)))
    return tuple(told)


_SHARE = f"at least {KEEPS:.0%} of plain accuracy".replace("%", " %")
_USEFUL = f"Keeps {_SHARE}"
_NO_YARDSTICK = (
    "Nothing can be advised: the network is no better than guessing on plain images. Give more images, or drop --fast"
)


def _least(comparison: "Comparison", question: str, among: Sequence[int], level: Level, which: str) -> Advice:
    """Answer which setting leaks least at a level; of equals, the one that keeps the most, as on the charts.

    Args:
        comparison: the comparison.
        question: in words.
        among: candidate settings, by index.
        level: level of the leakage.
        which: clause that says what these settings have in common; empty for all.
    """
    known = [each for each in among if comparison.settings[each].leakage(level) is not None]
    if not among:
        return Advice(question, None, f"None of the compared settings does. {_nearest(comparison)}")
    if not known:
        return Advice(question, None, f"No attack was measured at {level.value} on a setting that does")
    best = min(known, key=lambda each: _rank(comparison.settings[each], level))
    if len(known) > 1 and _leaks_everything(comparison.settings[best], level):
        return Advice(question, best + 1, _all_leak(comparison, best, known, level, which))
    told = _sentence(comparison, best, level)
    equals = _equals(comparison, best, known, level)
    if equals:
        others = f"the other {len(equals)}" if 1 < len(equals) == len(known) - 1 else _numbers(equals)
        told += f". The intervals do not separate no. {best + 1} from {others}"
    return Advice(question, best + 1, told)


def _all_leak(comparison: "Comparison", most: int, known: Sequence[int], level: Level, which: str) -> str:
    every = "Both" if len(known) == 2 else f"All {len(known)}"
    told = (
        f"{every} settings{which} ({_numbers(known)}) leak everything at {level.value}: none hides anything from such "
        "an attacker"
    )
    return f"{told}. Of these {_keeps(comparison, most)}, the most"


def _numbers(settings: Sequence[int]) -> str:
    """Return ascending settings by number: ``no. 1 to 4``, or ``no. 1, 3 and 4``."""
    first, last = settings[0] + 1, settings[-1] + 1
    if len(settings) > 2 and last - first == len(settings) - 1:
        return f"no. {first} to {last}"
    *others, final = (str(each + 1) for each in settings)
    return f"no. {', '.join(others)} and {final}" if others else f"no. {final}"


def _nearest(comparison: "Comparison") -> str:
    most = max(comparison.settings, key=lambda each: each.accuracy.value)
    kept, low, high = comparison.kept(most)
    interval = f"95 % interval {100 * low:.1f} to {percent(high)}"
    return f"The most, {percent(kept)} ({interval}), is kept under {most.setting.name}"


def _equals(comparison: "Comparison", best: int, known: Sequence[int], level: Level) -> list[int]:
    """Return the other settings whose interval of leakage overlaps that of the best one: they are ties."""
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
    told, leakage = _keeps(comparison, index), found.leakage(level)
    if leakage is not None:
        told += f" and leaks {percent(leakage)} {_where(found, level)}"
    if not found.accuracy.low > comparison.chance:
        told += ". A network learns nothing from it that guessing would not give"
    elif _leaks_everything(found, level):
        told += ". That is as much as plain images give: it hides nothing from such an attacker"
    elif leakage is not None and leakage >= _HALF:
        told += ". That is more than half of what plain images give: it hides little from such an attacker"
    order = warn_of_order(found, level)
    return told if order is None else f"{told}. {order}"


def _keeps(comparison: "Comparison", index: int) -> str:
    found = comparison.settings[index]
    guessing = f"guessing alone: {percent(comparison.kept_by_guessing)}"
    return (
        f"{found.setting.name} (no. {index + 1}) keeps {percent(comparison.kept(found).value)} of plain accuracy "
        f"({guessing})"
    )


def _where(found: Compared, level: Level) -> str:
    """Return the lowest level at which as much leaks, and by which attack."""
    worst = found.worst(level)
    if worst is None:
        return f"at {level.value}"
    given = f" with {worst.given}" if worst.given else ""
    already = "" if worst.level is level else "already "
    anyone = ": to anyone who has the images" if worst.level is Level.CIPHERTEXT_ONLY else ""
    return f"{already}at {worst.level.value} ({worst.called}{given}){anyone}"


def _leaks_everything(found: Compared, level: Level) -> bool:
    """Return whether the leakage is 100 % as printed."""
    return percent(found.leakage(level)) == percent(1.0)


def _rank(compared: Compared, level: Level) -> tuple[float, float]:
    """Return a sorting key: less leakage at a level first; of equals, the setting that keeps more."""
    return compared.leakage(level) or 0.0, -compared.accuracy.value
