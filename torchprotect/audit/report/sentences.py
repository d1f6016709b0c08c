"""Describe findings in sentences for readers outside the field, with whole numbers."""

from collections.abc import Callable, Sequence
from math import floor

from torchprotect.attacks import Level
from torchprotect.attacks.measures import About, Measure
from torchprotect.attacks.scores.pictures import EXACT
from torchprotect.audit.report.finding import Finding
from torchprotect.audit.report.severity import SEVERITIES, key_measure, key_read, severity, severity_of, weak_yardstick
from torchprotect.audit.report.words import number, percent

_HOLDERS = {
    Level.CIPHERTEXT_ONLY: "Someone who has nothing but the protected images",
    Level.PUBLIC_DATA: "Someone who holds public images of the same kind, but no key,",
    Level.KNOWN_PAIRS: "Someone who knows {pairs} of an original and its protected image, but no key,",
    Level.CHOSEN_PLAINTEXT: "Someone who gets images of their choice protected, but holds no key,",
    Level.PARTIAL_KEY: "Someone who holds a part of the key",
}
_YARDSTICKS = {"examiner": "a network", "nearest neighbours": "a comparison with public images"}
_FOUND: dict[About | None, str] = {
    "identity": "picked the right original for {right} protected images",
    "known": "found the protected version of {right} originals",
}
_KNOWN_KINDS = ("pair", "image")
_BELOW_ONE = "fewer than 1"
_TOLERANCE = 1e-6  # of numbers of images, for shares that are no exact binary fractions


def sentence(finding: Finding) -> str:
    """Return who found what: ``Someone who has nothing but the protected images rebuilt ...``."""
    return f"{_holder(finding)} {deed(finding)}."


def deed(finding: Finding) -> str:
    """Return what the attack achieved, as a clause that begins with its verb."""
    done = _DEEDS.get(finding.leaks, _by_metric)(finding) or _by_metric(finding)
    return f"did no better than chance: {done}" if severity_of(finding) == "none found" else done


def remark(finding: Finding, images: int) -> str | None:
    """Return a remark on a finding that is not about images, if there is anything to say.

    Args:
        finding: a part of a key, distances, equality or metadata.
        images: number of protected images.
    """
    return _REMARKS[finding.leaks](finding, images) if finding.leaks in _REMARKS else None


def hundred(share: float) -> str:
    """Return a share as a whole number of 100."""
    return f"{whole(share, 100)} of 100"


def counted(count: int, noun: str) -> str:
    """Return a number of things: ``1 attack``, ``2 attacks``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def attacks_and_scans(findings: Sequence[Finding]) -> str:
    """Return how many attacks were measured, and how many scans ran, which have no scale: ``7 attacks and 2 scans``."""
    scans = sum(not each.measures for each in findings)
    numbers = ((len(findings) - scans, "attack"), (scans, "scan"))
    return " and ".join(counted(count, noun) for count, noun in numbers if count) or "no attack"


def whole(share: float, of: int) -> str:
    """Return a share as a whole number out of ``of``; never none or all unless that is exact."""
    exact = share * of
    if _TOLERANCE < exact < 0.5:
        return _BELOW_ONE
    return f"{of - 1 if of - 0.5 <= exact < of - _TOLERANCE else floor(exact + 0.5):,}"


def _holder(finding: Finding) -> str:
    holder = finding.holder or _HOLDERS[finding.level]
    given = {kind: f"some {kind}s" if finding.pairs is None else counted(finding.pairs, kind) for kind in _KNOWN_KINDS}
    return holder.format(**{f"{kind}s": number for kind, number in given.items()})


def _identity(finding: Finding) -> str | None:
    measure = _worst(finding, "identity", "known")
    if measure is None:
        return None
    return f"{_FOUND[measure.about].format(right=_count_right(measure))} ({_chance(measure)})"


def _picture(finding: Finding) -> str | None:
    """Describe rebuilt pictures, the more severe leak first: which image each one is, or its class."""
    measure, classes = _worst(finding, "identity"), _worst(finding, "class")
    if measure is None:
        return None
    rebuilt = f"rebuilt {_images(finding, measure)}"
    nearer = (
        f"{_right_of_all(measure)} came out nearer to {_own_original(measure)} than to any other ({_chance(measure)})"
    )
    likeness = next((each for each in finding.measures if each.unit == "dB"), None)
    if likeness is not None and likeness.value >= EXACT:
        nearer += ", every one to the last bit"
    if classes is None or (classes.leakage or 0.0) <= (measure.leakage or 0.0):
        return f"{rebuilt}; {nearer}"
    recognised = f"a network recognised {_classes_right(classes)}"
    worse = SEVERITIES.index(severity(classes)) > SEVERITIES.index(severity(measure))
    return "; ".join((rebuilt, recognised, nearer) if worse else (rebuilt, nearer, recognised))


def _images(finding: Finding, measure: Measure) -> str:
    noun = "other image" if finding.known == "image" else "image"
    of_the_set = " of the set" if finding.known == "image" else ""
    return (f"{noun}s" if measure.count is None else counted(measure.count, noun)) + of_the_set


def _right_of_all(measure: Measure) -> str:
    return _count_right(measure) if measure.count is None else f"{whole(measure.value, measure.count)} of them"


def _own_original(measure: Measure) -> str:
    return "its own original" if whole(measure.value, _total(measure)) in ("1", _BELOW_ONE) else "their own original"


def _class(finding: Finding) -> str | None:
    measure = _worst(finding, "class")
    return None if measure is None else f"named {_classes_right(measure, 'protected image')}"


def _use(finding: Finding) -> str | None:
    top = finding.headline
    if top is None or top.count is None:
        return None
    on_plain = "" if top.upper is None else f"; if trained on plain images: {whole(top.upper, top.count)}"
    return f"trained a network that classifies {_count_right(top, 'plain image')} correctly ({_chance(top)}{on_plain})"


def _classes_right(measure: Measure, noun: str = "") -> str:
    """Describe how many classes were right, compared with chance and plain images."""
    alike = "" if measure.count is not None else ", each class counting alike,"
    told = f"the right class{alike} for {_count_right(measure, noun)}"
    if measure.upper is None or not weak_yardstick(measure):
        on_plain = "" if measure.upper is None else f"; on plain images: {whole(measure.upper, _total(measure))}"
        return f"{told} ({_chance(measure)}{on_plain})"
    who = _YARDSTICKS.get(measure.upper_by or "", "an attacker")
    as_many = "as many as on plain images, of which" if measure.high >= measure.upper else "where even on plain images"
    gets = f"{who} gets only {hundred(measure.upper)} right"
    return f"{told} ({_chance(measure)}), {as_many} {gets}"


def _by_metric(finding: Finding) -> str:
    """Describe a measure that has no sentence of its own, by its metric."""
    top = finding.headline
    if top is None:
        return f"ran {finding.called}"
    bounds = (("by chance", top.chance), ("on plain images", top.upper))
    told = "; ".join(f"{name}: {number(value, top.unit)}" for name, value in bounds if value is not None)
    return f"reached {number(top.value, top.unit)} by the measure \u201c{top.metric}\u201d" + (
        f" ({told})" if told else ""
    )


def _part_of_key(finding: Finding) -> str | None:
    measure = key_measure(finding)
    return (
        None
        if measure is None
        else f"read a part of the key: {measure.metric}, {_count_right(measure)} ({_chance(measure)})"
    )


def _key(finding: Finding, images: int) -> str | None:
    if not key_read(finding):
        return None
    return f"{finding.called} {deed(finding)}." + (f" {finding.note}" if finding.note else "")


def _distances(finding: Finding, images: int) -> str | None:
    top = finding.headline
    if top is None:
        return None
    told = f"{number(top.value, top.unit)} (by chance: {number(top.chance, top.unit)})"
    return f"{finding.called}: they correlate with those between the originals by {told}."


def _equality(finding: Finding, images: int) -> str | None:
    share, units = finding.facts.get("image_share"), finding.facts.get("unit_share")
    equal = f"{whole(share, images)} of {counted(images, 'protected image')} equal another one" if share else None
    repeated = f"{percent(units)} of the cipher units repeat at their position" if units else None
    told = "; ".join(filter(None, (equal, repeated)))
    return f"Without any attack: {told}." if told else None


def _metadata(finding: Finding, images: int) -> str | None:
    topics = [each["topic"] for each in finding.facts.get("findings", ()) if each["severity"] in ("medium", "high")]
    return f"Metadata that reveal something: {', '.join(topics)}." if topics else None


_DEEDS: dict[str, Callable[[Finding], str | None]] = {
    "identity": _identity,
    "picture": _picture,
    "class": _class,
    "use": _use,
    "key": _part_of_key,
}
_REMARKS: dict[str, Callable[[Finding, int], str | None]] = {
    "key": _key,
    "distances": _distances,
    "equality": _equality,
    "metadata": _metadata,
}


def _worst(finding: Finding, *about: About) -> Measure | None:
    some = [each for each in finding.measures if each.about in about and each.leakage is not None]
    return max(some, key=_severity_key, default=None)


def _severity_key(measure: Measure) -> tuple[int, bool, float]:
    """Return a sorting key by severity; of equals, a measure that counts images comes last."""
    return SEVERITIES.index(severity(measure)), measure.count is not None, measure.leakage or 0.0


def _total(measure: Measure) -> int:
    return measure.count or 100


def _count_right(measure: Measure, noun: str = "") -> str:
    of = _total(measure)
    return f"{whole(measure.value, of)} of " + (counted(of, noun) if noun else f"{of:,}")


def _chance(measure: Measure) -> str:
    return f"by chance: {whole(measure.chance or 0.0, _total(measure))}"
