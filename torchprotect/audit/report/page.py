"""The report as one self-contained HTML page."""

import base64
import importlib.util
import re
from itertools import groupby
from pathlib import Path
from typing import Any, get_args

from torchprotect.attacks import Level
from torchprotect.audit.report import words
from torchprotect.audit.report.finding import Example, Finding, Known
from torchprotect.audit.report.outcome import Outcome
from torchprotect.audit.report.statement import MEANING, STATEMENT
from torchprotect.audit.report.utility import mean_and_deviation
from torchprotect.audit.report.verdict import Verdict
from torchprotect.errors import ExportError

_NUMBERS = re.compile(r"(\d[\d,]* of (?:[\d,]*\d|them))")
_TEMPLATE = "report.html.j2"
_MARKS = {
    "severe": "severe",
    "partial": "partial",
    "key partly read": "partial",
    "none found": "none",
    "not measured": "unknown",
}  # names of styles


def require_page_tools() -> None:
    """Check, before the work begins, that a page can be drawn.

    Raises:
        ExportError: the extra is missing.
    """
    missing = [name for name in ("jinja2", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"a report needs {' and '.join(missing)}: run pip install {' '.join(missing)}, or, in a checkout of "
            'torchprotect, pip install ".[audit]"'
        )


def render(report: Outcome, verdict: Verdict) -> str:
    """Return the page as HTML. All text from outside is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": words.percent, "spaced": words.spaced, "numbers": _stress}
    return environment.get_template(_TEMPLATE).render(_context(report, verdict))


def _context(report: Outcome, verdict: Verdict) -> dict[str, Any]:
    attacks = sorted((each for each in report.findings if each.measures), key=lambda each: each.level)
    curves = [each for each in attacks if len([p for p in each.curve if p.measure.leakage is not None]) > 1]
    return {
        "words": words,
        "facts": report.facts,
        "knows": words.KNOWS,
        "verdict": verdict,
        "marks": _MARKS,
        "leakages": [(level.value, report.leakage(level)) for level in Level if report.measured(level)],
        "attacks": attacks,
        "pictures": [(each, _rows(each)) for each in attacks if each.examples],
        "curves": [(known, _draw(some, known)) for known, some in _by_known(curves) if some],
        "utility": report.utility,
        "trained": _trained(report),
        "kept": _kept(report),
        "counted": [each for each in report.findings if not each.measures],
        "not_run": report.not_run,
        "meaning": MEANING,
        "statement": STATEMENT,
    }


def _stress(sentence: str) -> Any:
    """Return a sentence as HTML, escaped, with its numbers of images in bold."""
    from markupsafe import Markup, escape

    return Markup(_NUMBERS.sub(r"<strong>\1</strong>", str(escape(sentence))))  # noqa: S704 - escaped


def _by_known(curves: list[Finding]) -> list[tuple[str, list[Finding]]]:
    """Group findings by what their curves count."""
    return [(f"known {known}s", [each for each in curves if each.known == known]) for known in get_args(Known)]


def _draw(curves: list[Finding], known: str) -> str:
    from torchprotect.audit.report.figures import draw_curves

    return draw_curves(curves, known)


def _trained(report: Outcome) -> list[tuple[str, dict[str, float]]]:
    """Return the lines of the utility table: what was trained and tested on, mean and standard deviation."""
    found = report.utility
    if found is None:
        return []
    clean, attacked = (f"{report.facts['split'][name]:,}" for name in ("clean", "attacked"))
    lines = [
        (f"trained on plain images, tested on {clean} plain ones", mean_and_deviation(found.plain)),
        (f"trained on disguised images, tested on {attacked} disguised ones", mean_and_deviation(found.disguised)),
        (f"trained on disguised images, tested on {attacked} plain ones", mean_and_deviation(found.crossed)),
    ]
    return [(name, values) for name, values in lines if values is not None]


def _kept(report: Outcome) -> float | None:
    """Return the position of the accuracy on disguised images between chance and plain images."""
    found = report.utility
    plain, disguised = (None, None) if found is None else map(mean_and_deviation, (found.plain, found.disguised))
    if found is None or found.chance is None or plain is None or disguised is None:
        return None
    if not plain["mean"] > found.chance:
        return None
    return min(1.0, max(0.0, (disguised["mean"] - found.chance) / (plain["mean"] - found.chance)))


def _rows(finding: Finding) -> list[tuple[str, list[dict[str, str]]]]:
    """Return the pictures of an attack by rank."""
    grouped = groupby(finding.examples, key=lambda each: each.rank)
    return [(rank, [_uris(each) for each in some]) for rank, some in grouped]


def _uris(example: Example) -> dict[str, str]:
    kinds = {"plain": example.plain, "disguised": example.disguised, "rebuilt": example.rebuilt}
    return {kind: "data:image/png;base64," + base64.b64encode(content).decode() for kind, content in kinds.items()}
