"""The comparison as one self-contained HTML page."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torchprotect.attacks import Level
from torchprotect.audit.comparison import chart
from torchprotect.audit.comparison.compared import LEVELS, Compared
from torchprotect.audit.comparison.key_parts import tell_parts
from torchprotect.audit.comparison.setting import TITLES
from torchprotect.audit.report import words
from torchprotect.audit.report.statement import MEANING, STATEMENT

if TYPE_CHECKING:
    from torchprotect.audit.comparison.comparison import Comparison

CHARTED = (Level.PUBLIC_DATA, Level.KNOWN_PAIRS)
"""Levels with a chart: at L0, most settings have no measure on the scale."""

_TEMPLATE = "comparison.html.j2"


def render(comparison: "Comparison") -> str:
    """Return the page as HTML. All text from outside is escaped."""
    from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined

    own, audits = Path(__file__).parent, Path(words.__file__).parent  # the audit's page has the style of both
    loader = ChoiceLoader([FileSystemLoader(own), FileSystemLoader(audits)])
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": words.percent, "spaced": words.spaced, "numbers": str}
    return environment.get_template(_TEMPLATE).render(_context(comparison))


def _context(comparison: "Comparison") -> dict[str, Any]:
    from markupsafe import Markup

    return {
        "words": words,
        "interval": interval,
        "comparison": comparison,
        "facts": comparison.facts,
        "advice": comparison.advice,
        "levels": LEVELS,
        "charts": [Markup(chart.draw_panel(comparison, level)) for level in CHARTED],  # noqa: S704 - escaped there
        "charted": CHARTED,
        "style": Markup(chart.STYLE),  # noqa: S704 - a constant
        "light": chart.LIGHT,
        "dark": chart.DARK,
        "schemes": [
            (scheme, title)
            for scheme, title in TITLES.items()
            if any(each.setting.scheme == scheme for each in comparison.settings)
        ],
        "rows": [_row(comparison, each) for each in comparison.settings],
        "attacks": _attacks(comparison),
        "not_run": _not_run(comparison),
        "meaning": MEANING,
        "statement": STATEMENT,
    }


def _row(comparison: "Comparison", compared: Compared) -> dict[str, Any]:
    """Return a line of the table."""
    kept = comparison.kept(compared)
    return {
        "name": compared.setting.name,
        "accuracy": words.percent(compared.accuracy.value),
        "interval": interval(*compared.accuracy[1:]),
        "kept": words.percent(kept.value),
        "probe": None if compared.probe is None else words.percent(compared.probe.value),
        "leaks": [(level.value, *_leak(compared, level), tell_parts(compared, level)) for level in LEVELS],
        "seconds": f"{compared.cost.seconds:.2g} s",
        "size": "the same" if compared.cost.bytes == 1 else f"{compared.cost.bytes:g} times",
    }


def _leak(compared: Compared, level: Level) -> tuple[float | None, str, str]:
    """Return the leakage, its interval, and the attack behind it."""
    worst, ends = compared.worst(level), compared.interval(level)
    if worst is None or ends is None:
        return None, "", "not measured"
    given = f", {worst.given}" if worst.given else ""
    already = "" if worst.level is level else f", already at {worst.level.value}"
    return compared.leakage(level), interval(*ends), f"{worst.called}{given}{already}"


def _attacks(comparison: "Comparison") -> list[tuple[str, str, str, list[str]]]:
    """Return what each attack leaks under each setting: level, name, what it finds, and the shares."""
    every = [{each.attack: each for each in one.outcome.findings if each.counted} for one in comparison.settings]
    known = {name: each for found in every for name, each in found.items()}
    return [
        (
            each.level.value,
            each.called,
            words.LEAKS[each.leaks],
            [words.percent(found[name].leakage) if name in found else words.percent(None) for found in every],
        )
        for name, each in sorted(known.items(), key=lambda item: item[1].level)
    ]


def interval(low: float, high: float) -> str:
    """Return the 95 % interval of a share as text."""
    return f"{100 * low:.1f} to {words.percent(high)}"


def _not_run(comparison: "Comparison") -> list[tuple[str, str, str, str]]:
    """Return attacks that were not run: level, name, reason, and the numbers of the settings."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for number, each in enumerate(comparison.settings, 1):
        for one in each.outcome.not_run:
            if one.cause != "not applicable":
                found.setdefault((one.level.value, one.called, one.reason), []).append(number)
    every = len(comparison.settings)
    return [
        (*told, "all" if len(numbers) == every else ", ".join(map(str, numbers)))
        for told, numbers in sorted(found.items())
    ]
