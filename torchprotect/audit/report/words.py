"""Names of levels, attacks and numbers for the page and the terminal."""

import math
from typing import Any

from torchprotect import attacks
from torchprotect.attacks import Level
from torchprotect.attacks.measures import Measure, Unit
from torchprotect.audit.report.finding import Cause, Finding

KNOWS = {
    Level.CIPHERTEXT_ONLY: "the protected images, the algorithm and all public settings",
    Level.PUBLIC_DATA: "also public images of the same kind",
    Level.KNOWN_PAIRS: "also some originals with their protected images",
    Level.CHOSEN_PLAINTEXT: "also protected versions of images of their choice",
    Level.PARTIAL_KEY: "also a part of the key",
}

_NOTHING = "\u2013"

NO_SCALE = "no scale: models on plain images do no better than guessing; give more images"

LEAKS = {
    "class": "the class",
    "picture": "the picture",
    "identity": "which image it is",
    "key": "a part of the key",
    "distances": "which images are alike",
    "equality": "equal images and units",
    "metadata": "metadata",
    "use": "what a network learns",
}

COULD_NOT: dict[Cause, str] = {
    "not applicable": "not applicable",
    "missing input": "input missing",
    "refused": "refused the images",
    "failed": "failed",
    "not chosen": "not requested",
    "not included": "not part of the audit",
}
"""Why attacks were not run, by cause."""

_FACTS = {
    "image_groups": "groups of equal images",
    "image_share": "images that equal another one",
    "unit_share": "units that repeat at their position",
    "unit_share_by_position": "the same, by position",
    "background_share": "units that are the most frequent at their position",
    "hit_rate": "units in the codebook",
    "hit_rate_non_constant": "units in the codebook, without constant ones",
    "rank_least": "smallest rank",
    "rank_most": "largest rank",
    "error_median": "median pixel error due to too few images, in grey levels",
    "images_wanted": "images of each kind needed for an error of 5 grey levels",
    "classes_matched": "classes matched with the numbers written for them",
    "rows_found": "rows read",
    "rows": "total number of rows",
    "matrices_complete": "matrices read completely",
    "public": "public images",
    "disguised": "disguised images",
}

_LONG = 12


def percent(value: float | None) -> str:
    """Return a share as text."""
    return _NOTHING if value is None or math.isnan(value) else f"{value:.1%}".replace("%", " %")


def number(value: float | None, unit: Unit) -> str:
    """Return a number with its unit as text."""
    if value is None or math.isnan(value):
        return _NOTHING
    if unit == "share":
        return percent(value)
    return f"{value:.1f} dB" if unit == "dB" else f"{value:.2f}"


def interval(measure: Measure) -> str:
    """Return the 95 % interval of a measure as text."""
    if math.isnan(measure.low) and math.isnan(measure.high):
        return _NOTHING
    return f"{number(measure.low, measure.unit)} to {number(measure.high, measure.unit)}"


def bound(measure: Measure) -> str:
    """Return the result on plain images as text."""
    if measure.unit == "dB":
        return "\u221e dB"  # of an image compared with itself
    return number(measure.upper, measure.unit)


def leakage_interval(measure: Measure) -> str:
    """Return the position of the 95 % interval's ends between chance and plain images, as text."""
    if measure.leakage_low is None or measure.leakage_high is None:
        return ""
    return f"{percent(measure.leakage_low)} to {percent(measure.leakage_high)}"


def details(finding: Finding) -> list[tuple[str, Any]]:
    """Return names and values of a finding's cost, settings and facts, without missing values."""
    told = (*finding.cost.items(), *finding.settings.items(), *finding.facts.items())
    return [(name, value) for name, value in told if value is not None]


def function(attack: str) -> str:
    """Return an attack as Python code names it: an own attack has no function in :mod:`torchprotect.attacks`."""
    name = attack.split(" ")[0]
    return f"attacks.{name}" if name in attacks.__all__ else name


def spaced(name: str) -> str:
    """Return a field's name in words."""
    return _FACTS.get(name, name.replace("_", " "))


def shown(name: str, value: object) -> str:
    """Return a fact as text, according to its name and type."""
    if value is None:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return percent(value) if {"share", "rate"} & set(name.split("_")) else f"{value:,.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list) and len(value) > _LONG:
        return f"{shown(name, min(value))} to {shown(name, max(value))}"
    if isinstance(value, list):
        return (" x " if name.endswith("size") else ", ").join(shown(name, each) for each in value)
    return str(value)
