"""Check several exports of one key, such as the splits of a data set."""

import itertools
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

from torchprotect.data.finished import FinishedExport, owner_of
from torchprotect.data.store import is_url, normalise_url
from torchprotect.errors import ExportError, InputRangeError
from torchprotect.keys import Key

Exports: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
"""Folder or URL of an export, or of several."""

_SHARED = ("key", "transform", "plain", "prepare", "store", "classes")


def as_list(exports: Exports) -> list[str | os.PathLike[str]]:
    """Return a list of exports.

    Raises:
        InputRangeError: it is empty, or names one twice.
    """
    found: list[Any] = [exports] if isinstance(exports, str | os.PathLike) else list(exports)
    if not found:
        raise InputRangeError("at least one export is needed")
    places = [normalise_url(str(each)) if is_url(each) else os.path.realpath(each) for each in found]
    if twice := next((each for each, place in zip(found, places, strict=True) if places.count(place) > 1), None):
        raise InputRangeError(f"{os.fspath(twice)} is given twice")
    return found


def require_one_key(opened: Sequence[FinishedExport]) -> None:
    """Check that exports go together: one key, one disguise, one preparation.

    Raises:
        ExportError: they do not; the message says what differs.
    """
    first, *others = opened
    for other in others:
        differing = [name for name in _SHARED if first.manifest.get(name) != other.manifest.get(name)]
        if differing:
            raise ExportError(
                f"{first.store.location} and {other.store.location} do not go together: they differ in "
                f"{', '.join(differing)}"
            )


def require_same_classes(opened: Sequence[FinishedExport], key: Key) -> None:
    """Check that class numbers mean the same in all exports whose owner's files have names; later ones may have more.

    Raises:
        ExportError: they do not.
    """
    known = [(each.store.location, owner.class_names) for each in opened if (owner := owner_of(each, key)) is not None]
    named = [(location, names) for location, names in known if names is not None]
    for (first, names), (second, others) in itertools.combinations(named, 2):
        differing = next((n for n, pair in enumerate(zip(names, others, strict=False)) if pair[0] != pair[1]), None)
        if differing is not None:
            raise ExportError(
                f"class {differing} is {names[differing]} in {first}, but {others[differing]} in {second}: export one "
                "of them again with --classes-of the other"
            )


def require_different_splits(opened: Sequence[FinishedExport]) -> None:
    """Check that exports of one key have different split names.

    Raises:
        ExportError: two of them have the same, or none.
    """
    found = dict[str | None, str]()
    for export in opened:
        split, location = export.manifest.get("split"), export.store.location
        if split in found:
            name = "have no split name" if split is None else f"are both split {split!r}"
            raise ExportError(
                f"{found[split]} and {location} {name}: order, ids and noise of both come from the same sub-keys; "
                "export each with its own --split NAME"
            )
        found[split] = location
