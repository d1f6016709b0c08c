"""The verdict: the conclusion of a report, in sentences for decision makers."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from torchprotect.attacks import Level
from torchprotect.attacks.protocol import Finds
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.audit.report.finding import Finding, Known, NotRun
from torchprotect.audit.report.outcome import Outcome
from torchprotect.audit.report.sentences import attacks_and_scans, counted, deed, hundred, remark, sentence, whole
from torchprotect.audit.report.severity import SEVERITIES, Severity, key_measure, key_read, rank, severity_of
from torchprotect.audit.report.utility import DISGUISED_TRAINING, Utility, mean_and_deviation
from torchprotect.audit.report.words import NO_SCALE

_KEEP_OUT = "To keep images from others in storage or on the way, use an encryption tool such as age or GnuPG."
_READABLE = "These images are readable as they are: people see the same pictures as in the plain ones."
_ADVICE = {
    "readable": "Treat these images like the plain ones. The disguise is meant to disturb training; it hides nothing.",
    "severe": "Give these images only to people who may see the originals: much can be found out without the key.",
    "pairs": "Give these images only to people who may see the originals, unless nobody can ever get hold of an "
    "original and its protected image together.",
    "partial": "Give these images only to people who may see the originals, or disguise them more strongly and audit "
    "them again: some of them leak.",
    "key partly read": "Give these images only to people who may see the originals, or change the settings of the "
    "disguise and audit again: a part of the key was read, and attacks with public images or pairs can use it.",
    "none found": "These attacks found nothing beyond chance; others, or these with more data, may. Give the images "
    "only to people in whose hands a later success would do no harm.",
    "not measured": "Nothing is known about these images yet: no attack that ran measures what they reveal.",
}
_KEY_OR_SEVERE: tuple[Severity, ...] = ("key partly read", "severe")
_WITHOUT_PAIRS = (Level.CIPHERTEXT_ONLY, Level.PUBLIC_DATA)
_KINDS: tuple[tuple[Finds, Known], ...] = (
    ("picture", "image"),
    *((finds, "pair") for finds in ("identity", "picture", "class", "use")),
)
_LACKING = (
    "Some attacks lacked an input, such as the plain images (--plain) or the key (--key): see beside each "
    "level what is missing, and audit again with it."
)


@dataclass(frozen=True)
class LevelVerdict:
    """Conclusion for one attacker level.

    Attributes:
        level: attacker level.
        severity: severity of the worst finding at this level and below; ``not measured`` if no attack of this very
            level was measured; ``key partly read`` if that is the worst.
        severity_from: the lower level whose finding is more severe than any of this level; ``None`` if there is none.
        sentence: the worst finding of this very level, and whether a lower level has a worse one.
        brief: the same in one line for a terminal.
        attack: the attack behind that finding, if any.
        remarks: further findings of this level: of other kinds, parts of a key, distances, equality, metadata.
        not_run: attacks of this level that were not run, grouped by reason.
    """

    level: Level
    severity: Severity
    severity_from: Level | None
    sentence: str
    brief: str
    attack: str | None
    remarks: tuple[str, ...]
    not_run: tuple[str, ...]

    def __str__(self) -> str:
        """Return the level, the severity and the finding in one line."""
        origin = f", from {self.severity_from.value}" if self.severity_from else ""
        return f"{self.level.value}  {self.severity + origin:<16}  {self.brief}"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, with levels by name."""
        origin = self.severity_from and self.severity_from.value
        return {**asdict(self), "level": self.level.value, "severity_from": origin}


@dataclass(frozen=True)
class Verdict:
    """Conclusion of a report.

    Attributes:
        levels: one entry for each level, ascending.
        kept: what a network still learns from the images.
        advice: what to do, most urgent first.
        warning: a warning that precedes everything else, if there is one.
    """

    levels: tuple[LevelVerdict, ...]
    kept: str
    advice: tuple[str, ...]
    warning: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict for JSON, with levels by name."""
        return {**asdict(self), "levels": {each.level.value: each.to_dict() for each in self.levels}}


def judge(report: Outcome) -> Verdict:
    """Return the verdict on a report."""
    readable = bool(report.facts.get("disguise", {}).get("readable"))
    levels = tuple(_judge_level(report, level) for level in Level)
    if readable:
        levels = (_readable_level(levels[0]), *map(_readable_higher_level, levels[1:]))
    advice = _advice(levels, report.not_run, readable)
    warnings = filter(None, (_warn_of_sizes(report), _READABLE if readable else "", _warn_of_choice(report)))
    return Verdict(levels, _utility_sentence(report.utility, report.not_run), advice, " ".join(warnings) or None)


def _warn_of_sizes(report: Outcome) -> str:
    """Warn if the plain images have another shape than the disguised ones."""
    data = report.facts.get("data", {})
    if data.get("comparable", True):
        return ""
    received, disguised = (" x ".join(map(str, size)) for size in (data["plain_size"], _shape(data)))
    return (
        f"The plain images could not be compared with the protected ones: they are {received}, the protected ones "
        f"{disguised}. What attackers who have plain images learn was not measured. A step before the disguise changed "
        "their size: export with --resize and the like (prepare=), which an audit repeats, or give the images as they "
        "were before the disguise."
    )


def _shape(data: dict[str, Any]) -> list[int]:
    return [data["channels"], *data["image_size"]]


def _warn_of_choice(report: Outcome) -> str:
    """Warn if attacks were left out because only others were requested."""
    others = sum(each.cause == "not chosen" for each in report.not_run)
    if not others:
        return ""
    return (
        f"Only the requested attacks ran ({attacks_and_scans(report.findings)}): it is unknown what "
        f"{counted(others, 'other')} that may apply would find."
    )


def _judge_level(report: Outcome, level: Level) -> LevelVerdict:
    here = [each for each in report.findings if each.level is level]
    own, worst = max((each for each in here if each.counted), key=rank, default=None), report.worst(level)
    worse = worst if own is not None and _exceeds(worst, own) else None
    key = _key_read(report, level) if severity_of(worst) in ("not measured", "none found") else None
    key = key if own is not None or key in here else None
    rest = [each for each in here if each is not key]
    told, brief = _sentences(own, worse) if own is not None else _sentences_without_count(rest, worst)
    if key is not None:
        told, brief = _prepend_key(key, level, told if own or rest else "", brief if own or rest else "")
        worse = key if key.level is not level else None
    unscaled = [NotRun(each.attack, level, NO_SCALE, "refused", each.title) for each in here if each.without_scale]
    return LevelVerdict(
        level=level,
        severity="key partly read" if key is not None else severity_of(None if own is None else worst),
        severity_from=worse.level if worse is not None and severity_of(worse) != severity_of(own) else None,
        sentence=told,
        brief=brief,
        attack=None if own is None else own.attack,
        remarks=_remarks(
            [each for each in here if each is not key], own, int(report.facts.get("data", {}).get("images", 0))
        ),
        not_run=_group_by_reason([each for each in report.not_run if each.level is level and _is_gap(each)] + unscaled),
    )


def _key_read(report: Outcome, level: Level) -> Finding | None:
    """Return the finding that read most of a key at a level and below, if there is one."""
    found = (
        (measure.value, each)
        for each in report.findings
        if each.level <= level and key_read(each)
        for measure in [key_measure(each)]
        if measure is not None
    )
    return max(found, key=lambda each: each[0], default=(0.0, None))[1]


def _prepend_key(key: Finding, level: Level, told: str, brief: str) -> tuple[str, str]:
    """Put the part of the key that was read before everything else about a level."""
    if key.level is not level:
        name = key.level.value
        return (
            f"{told} What was found at {name}, a part of the key, is worse, and holds here too.",
            f"as at {name}; {brief}",
        )
    sentences, briefs = (sentence(key), key.note, told), (deed(key), brief)
    return " ".join(filter(None, sentences)), "; ".join(filter(None, briefs))


def _exceeds(worst: Finding | None, own: Finding) -> bool:
    """Return whether the worst finding of a level and below is worth mentioning beside the level's own worst one."""
    return worst is not None and severity_of(worst) != "none found" and rank(worst)[:2] > rank(own)[:2]


def _sentences(own: Finding, worse: Finding | None) -> tuple[str, str]:
    """Return the sentence and its brief form.

    Args:
        own: the worst finding of this very level.
        worse: the worst finding of a lower level, if it is worse.
    """
    if worse is None:
        return sentence(own), deed(own)
    name = worse.level.value
    return f"{sentence(own)} What was found at {name} is worse, and holds here too.", f"as at {name}; here: {deed(own)}"


def _sentences_without_count(here: list[Finding], worst: Finding | None) -> tuple[str, str]:
    """Return the sentence and its brief form for a level where no finding counts: what ran nevertheless.

    Args:
        here: findings of this very level.
        worst: the worst finding of lower levels.
    """
    scans = [each.called for each in here if not each.measures]
    parts = [each.called for each in here if each.measures and not each.without_scale]
    told = []
    if scans:
        have = "it has" if len(scans) == 1 else "they have"
        told.append(f"{counted(len(scans), 'scan')} ran ({', '.join(scans)}); {have} no leakage percentage")
    if parts:
        measured = f"{counted(len(parts), 'attack')} measured parts of the key or distances ({', '.join(parts)})"
        told.append(f"{measured}; the attacks that use these results count")
    brief = ". ".join(told) or "no attack of this level was measured"
    below = "" if worst is None else f" What was found at {worst.level.value} holds here too."
    return f"{brief[0].upper()}{brief[1:]}.{below}", brief


def _remarks(here: list[Finding], own: Finding | None, images: int) -> tuple[str, ...]:
    """Return the worst finding of each other kind that exceeds chance, then remarks that are not about images.

    Rebuilding images from a few known ones is a kind of its own, because it shows how little an attacker needs.
    """
    found = [each for each in here if severity_of(each) in ("partial", "severe")]
    best = (
        max((each for each in found if (each.leaks, each.known) == kind), key=rank, default=None) for kind in _KINDS
    )
    others = [each for each in best if each is not None and each is not own]
    others.sort(key=lambda each: -SEVERITIES.index(severity_of(each)))
    told = [f"{severity_of(each).capitalize()}: {sentence(each)}" for each in others]
    beside = (remark(each, images) for each in here)
    return (*told, *(each for each in beside if each is not None))


def _is_gap(not_run: NotRun) -> bool:
    """Return whether an attack might have found something; those for other disguises could not."""
    return not_run.cause != "not applicable"


def _group_by_reason(not_run: list[NotRun]) -> tuple[str, ...]:
    """Group attacks by reason."""
    grouped: dict[str, list[str]] = {}
    for each in not_run:
        grouped.setdefault(each.reason, []).append(each.called)
    return tuple(f"{'; '.join(attacks)}: {reason}" for reason, attacks in grouped.items())


def _readable_level(lowest: LevelVerdict) -> LevelVerdict:
    """Return the verdict for the lowest level of images that need no attack."""
    found = "Someone who has nothing but the protected images sees what they show."
    return replace(lowest, severity="severe", sentence=found, brief="the images are readable as they are")


def _readable_higher_level(level: LevelVerdict) -> LevelVerdict:
    """Return the verdict for a higher level of such images, to which the lowest level's finding applies too."""
    if level.severity == "severe":
        return level
    told = f"{level.sentence} What was found at {Level.CIPHERTEXT_ONLY.value} holds here too."
    return replace(level, severity="severe", severity_from=Level.CIPHERTEXT_ONLY, sentence=told)


def _utility_sentence(utility: Utility | None, not_run: tuple[NotRun, ...]) -> str:
    kinds = ((), (), ()) if utility is None else (utility.plain, utility.disguised, utility.crossed)
    plain, disguised, crossed = map(mean_and_deviation, kinds)
    if utility is None or disguised is None:
        trainings = (each.reason for each in not_run if each.attack.startswith(DISGUISED_TRAINING))
        reason = next(trainings, "it needs labels of several classes")
        return f"What a network learns from the protected images was not measured: {reason}."
    told = (
        f"A network trained on {utility.trained:,} of the protected images "
        f"classifies {hundred(disguised['mean'])} correctly"
    )
    if plain is not None:
        told += f", one trained on as many plain images {hundred(plain['mean'])}"
    if utility.chance is not None:
        told += f" (by guessing: {whole(utility.chance, 100)})"
    if utility.chance is not None and wilson(disguised["mean"], utility.tested)[0] <= utility.chance:
        told += ". The first does no better than guessing: more images or epochs may still teach it"
    shown = (
        "" if crossed is None else f" Shown plain images, the first classifies {hundred(crossed['mean'])} correctly."
    )
    return f"{told}.{shown}"


def _advice(levels: tuple[LevelVerdict, ...], not_run: tuple[NotRun, ...], readable: bool) -> tuple[str, ...]:
    lacking = any(each.cause == "missing input" for each in not_run)
    worst = max((each.severity for each in levels), key=SEVERITIES.index)
    if worst == "severe" and all(
        each.severity not in _KEY_OR_SEVERE for each in levels if each.level in _WITHOUT_PAIRS
    ):
        told = _ADVICE["pairs"]
    else:
        told = _ADVICE["readable" if readable else worst]
    return (told, *([_LACKING] if lacking else []), _KEEP_OUT)
