"""Reasons why an attack is not run on an evidence."""

from collections.abc import Callable

from torchprotect.attacks import Attack, Need
from torchprotect.attacks.protocol import Reason
from torchprotect.attacks.scheme import SCRAMBLING
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.bench.pretrained import how_to_install
from torchprotect.audit.report.finding import NotRun

_NO_PLAIN = "no plain images were given (--plain)"
_NO_PAIRING = "no key was given (--key): which plain image belongs to which disguised one is not known"
_NO_NETWORKS = (
    "made for networks matched to the key, of which none was handed out; if one was, give it and its original "
    "(--matched and --original; in Python, networks=)"
)
_OF_PLAIN = {Need.PUBLIC, Need.LABELS, Need.KNOWN, Need.MEMBERS, Need.PAIRS}


def why_not(bench: Bench, attack: Attack) -> NotRun | None:
    """Return why an attack does not apply, or cannot be scored; ``None`` where it runs."""
    if (found := attack.reason(bench.evidence.scheme)) is not None:
        return NotRun.of(attack, found, "not applicable")
    if _wants_size(bench, attack) and bench.evidence.scheme.name == SCRAMBLING:
        reason = "the disguise changes the size of images: no plain image has that of a disguised one"
        return NotRun.of(attack, reason, "not applicable")
    if Need.FOLDER in attack.needs and bench.evidence.folder is None:
        return NotRun.of(attack, "these are tensors: there is no folder to inspect", "not applicable")
    if Need.NETWORKS in attack.needs and bench.networks is None:
        return NotRun.of(attack, _NO_NETWORKS, "not applicable")
    lacking = (_NEEDS[need](bench) for need in Need if need in attack.needs)
    unknown = (_TRUTHS[name](bench) for name in attack.score.needs)
    reasons = [_lacks_plain(bench, attack), *lacking, *unknown, _lacks_pairs(bench, attack)]
    found = next((reason for reason in reasons if reason is not None), None)
    return None if found is None else NotRun.of(attack, found, "missing input")


def _lacks_plain(bench: Bench, attack: Attack) -> Reason:
    """Return a reason if plain images are missing or, unless the attack takes any size, have another size."""
    evidence = bench.evidence
    if not _uses_plain(attack):
        return None
    if evidence.plain is None:
        return _NO_PLAIN
    if _wants_size(bench, attack):
        received, expected = (" x ".join(map(str, each.shape[1:])) for each in (evidence.plain, evidence.disguised))
        return (
            f"plain images are {received}, disguised ones {expected}: give the images as they were before the disguise"
        )
    return None


def _wants_size(bench: Bench, attack: Attack) -> bool:
    """Return whether an attack lacks plain images of the size of the disguised ones."""
    evidence = bench.evidence
    sizes_differ = evidence.plain is not None and evidence.plain.shape[1:] != evidence.disguised.shape[1:]
    return _uses_plain(attack) and sizes_differ and not attack.any_size


def _uses_plain(attack: Attack) -> bool:
    return bool(_OF_PLAIN & attack.needs or {"labels", "images", "known"} & set(attack.score.needs))


def _lacks_pairs(bench: Bench, attack: Attack) -> Reason:
    count = len(bench.split.known)
    if Need.PAIRS not in attack.needs or count >= attack.least_pairs:
        return None
    return f"at least {attack.least_pairs} known pairs are needed, but only {count} images are left for them"


def _pairing(bench: Bench) -> Reason:
    return _NO_PAIRING if bench.evidence.pairing is None else None


def _members(bench: Bench) -> Reason:
    if (reason := _pairing(bench)) is not None:
        return reason
    return None if len(bench.split.known) else "no image is left that could be known beside those under attack"


def _plain_labels(bench: Bench) -> Reason:
    return "the plain images have no labels" if bench.evidence.plain_labels is None else None


def _scored_labels(bench: Bench) -> Reason:
    evidence = bench.evidence
    if evidence.pairing is None and evidence.labels is None:
        return "no key was given (--key) and the export has no labels: nothing to score guesses with"
    if evidence.pairing is not None and evidence.plain_labels is None:
        return "the plain images have no labels"
    return "the images have one class" if evidence.classes_present < 2 else None


def _order(bench: Bench) -> Reason:
    return None if bench.evidence.order is not None else "no key was given (--key): the true order is not known"


def _correspondence(bench: Bench) -> Reason:
    if bench.evidence.correspondence is not None:
        return None
    return "no key was given (--key), or labels are renamed: the true correspondence is not known"


def _released_labels(bench: Bench) -> Reason:
    return "the export has no labels" if bench.evidence.labels is None else None


def _encoder(bench: Bench) -> Reason:
    if bench.encoder is not None:
        return None
    return (
        "embeddings need the encoder, which an attacker may well have: give it (--model package.module:factory and "
        "--weights file.safetensors; in Python, encoder=)"
    )


def _pretrained(bench: Bench) -> Reason:
    if bench.pretrained is not None:
        return None
    return (
        f"needs a pretrained network, which anybody can load: {how_to_install()}, or give another (--pretrained "
        "package.module:factory; in Python, pretrained=)"
    )


def _none(bench: Bench) -> Reason:
    return None


_NEEDS: dict[Need, Callable[[Bench], Reason]] = {
    Need.RELEASED_LABELS: _released_labels,
    Need.FOLDER: _none,  # asked for before
    Need.PUBLIC: _none,  # asked for by _lacks_plain
    Need.LABELS: _plain_labels,
    Need.KNOWN: _pairing,
    Need.MEMBERS: _members,
    Need.PAIRS: _pairing,
    Need.ENCODER: _encoder,
    Need.PRETRAINED: _pretrained,
    Need.NETWORKS: _none,  # asked for before
}
_TRUTHS: dict[str, Callable[[Bench], Reason]] = {
    "labels": _scored_labels,
    "images": _pairing,
    "identities": _pairing,
    "known": _pairing,
    "order": _order,
    "correspondence": _correspondence,
    "embed": _encoder,
}
