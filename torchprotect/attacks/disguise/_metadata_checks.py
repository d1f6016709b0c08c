"""Findings of a metadata scan."""

import itertools
import math
from collections import Counter

from torchprotect.attacks.disguise._metadata_seen import Listing
from torchprotect.attacks.disguise.metadata_finding import MetadataFinding


def _names(seen: Listing) -> MetadataFinding:
    if not seen.plain_names:
        return MetadataFinding("names", "none", 0, "all images are named by hexadecimal numbers")
    text = "names that are not hexadecimal numbers: they may reveal source, number, date or person"
    return MetadataFinding("names", "medium", seen.plain_names, text)


def _folders(seen: Listing) -> MetadataFinding:
    if not seen.in_folders:
        return MetadataFinding("folders", "none", 0, "no image lies in a folder of its own")
    return MetadataFinding("folders", "high", seen.in_folders, "images in named folders, which may name their class")


def _order(seen: Listing) -> MetadataFinding:
    changes = sum(one != other for one, other in itertools.pairwise(seen.labels))
    total, counts = len(seen.labels), Counter(seen.labels).values()
    expected = (total - 1) * (1 - sum(n * (n - 1) for n in counts) / (total * (total - 1))) if total > 1 else 0.0
    if changes < expected - 4 * math.sqrt(expected):
        text = f"changes of class along the order, where a random order has about {expected:.0f}: classes come in runs"
        return MetadataFinding("order", "medium", changes, text)
    if seen.plain_names and seen.images > 1 and not seen.falling:
        return MetadataFinding("order", "low", seen.images, "images stand in the order of their names")
    return MetadataFinding("order", "none", 0, "the order of the images shows no runs of classes")


def _sizes(seen: Listing) -> MetadataFinding:
    if len(seen.sizes) <= len(seen.kinds):
        return MetadataFinding("sizes", "none", len(seen.sizes), "all image files of a format have one size")
    text = "distinct sizes of image files: the size of a compressed one reveals how simple the image is"
    return MetadataFinding("sizes", "medium", len(seen.sizes), text)


def _times(seen: Listing) -> MetadataFinding:
    if seen.times <= {0.0}:
        return MetadataFinding("times", "none", 0, "no times are recorded")
    if len(seen.times) == 1:
        return MetadataFinding("times", "low", 1, "the same time is recorded for all")
    return MetadataFinding("times", "medium", len(seen.times), "distinct times: they may reveal order and source")


def _owners(seen: Listing) -> MetadataFinding:
    if not seen.owned:
        return MetadataFinding("owners", "none", 0, "no member of an archive states an owner")
    return MetadataFinding("owners", "low", seen.owned, "members of archives state who packed them")


def _modes(seen: Listing) -> MetadataFinding:
    other = sum(seen.modes.values()) - max(seen.modes.values(), default=0) + seen.extended
    if not other:
        return MetadataFinding("headers", "none", 0, "all members of archives have plain headers with one mode")
    return MetadataFinding("headers", "low", other, "members of archives with another mode or additional header fields")


def _embedded(seen: Listing) -> MetadataFinding:
    if not seen.embedded:
        return MetadataFinding("embedded", "none", 0, "no image file carries EXIF, text, a time or a profile")
    text = "image files carry EXIF, text, a time, a profile or other data beside their pixels"
    return MetadataFinding("embedded", "high", seen.embedded, text)


def _labels(seen: Listing) -> MetadataFinding:
    if not seen.classes:
        return MetadataFinding("labels", "none", 0, "no classes are stated")
    text = "classes: everybody sees which images belong together, even if the classes are renamed"
    return MetadataFinding("labels", "low", len(seen.classes), text)


def _balance(seen: Listing) -> MetadataFinding:
    total, classes = sum(seen.classes.values()), len(seen.classes)
    if classes < 2:
        return MetadataFinding("balance", "none", 0, "there are no two classes to compare")
    even, free = total / classes, classes - 1
    distance = sum((n - even) ** 2 / even for n in seen.classes.values())
    shares = f"from {min(seen.classes.values()) / total:.1%} to {max(seen.classes.values()) / total:.1%} of the images"
    if distance <= free + 4 * math.sqrt(2 * free):
        return MetadataFinding("balance", "none", classes, f"classes are about even, {shares}")
    text = f"classes of uneven size, {shares}: their frequencies reveal renamed classes"
    return MetadataFinding("balance", "medium", classes, text)


def _documents(seen: Listing) -> MetadataFinding:
    if seen.strange_fields:
        text = "fields in plan or manifest that the export format does not have"
        return MetadataFinding("documents", "medium", seen.strange_fields, text)
    if seen.steps:
        text = "steps of the disguise are stated with their parameters; an attacker is assumed to know them"
        return MetadataFinding("documents", "low", seen.steps, text)
    return MetadataFinding("documents", "none", 0, "no manifest states a disguise")


def _unexpected(seen: Listing) -> MetadataFinding:
    if seen.keys:
        return MetadataFinding("unexpected", "high", seen.keys, "KEY FILES lie beside the images: remove them")
    if seen.unexpected:
        text = "files or members that are neither images, class numbers nor documents of an export"
        return MetadataFinding("unexpected", "medium", seen.unexpected, text)
    return MetadataFinding("unexpected", "none", 0, "nothing else lies in the folder")


def _unread(seen: Listing) -> MetadataFinding:
    if not seen.unread:
        return MetadataFinding("unread", "none", 0, "everything could be examined")
    text = "files that are damaged, compressed archives or beyond the limits were not examined completely"
    return MetadataFinding("unread", "low", seen.unread, text)


CHECKS = (
    _names,
    _folders,
    _order,
    _sizes,
    _times,
    _owners,
    _modes,
    _embedded,
    _labels,
    _balance,
    _documents,
    _unexpected,
    _unread,
)
