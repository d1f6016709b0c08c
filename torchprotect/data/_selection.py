"""Select the samples of an export to restore."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from torchprotect.data._labels import numbers_in
from torchprotect.data.owner import Owner
from torchprotect.data.sources import Label
from torchprotect.errors import InputRangeError

_CLASS_DIGITS = 18  # fits into int64
_NAMES_SHOWN = 12  # class names in a message


class Selection(NamedTuple):
    """Selected samples.

    Attributes:
        ids: ids of samples.
        labels: plain class numbers whose samples are all selected.
    """

    ids: frozenset[str]
    labels: frozenset[int]

    @classmethod
    def of(cls, only: str, owner: Owner | None) -> "Selection":
        """Find samples by id or name, otherwise by class, otherwise by name without folders.

        Raises:
            InputRangeError: the owner's file has no such sample or class. Without that file, only reading the samples
                tells.
        """
        number = int(only) if only.isdecimal() and len(only) <= _CLASS_DIGITS else None
        if owner is None:
            return cls(frozenset({only}), frozenset() if number is None else frozenset({number}))
        names = owner.class_names
        found = {identity for identity, each in owner.originals.items() if only in (identity, each.name)}
        if found:
            return cls(frozenset(found), frozenset())
        if names is not None and only in names:
            return cls(frozenset(), frozenset(n for n, name in enumerate(names) if name == only))
        if number is not None and (names is None or number < len(names)):
            return cls(frozenset(), frozenset({number}))
        found = {identity for identity, each in owner.originals.items() if each.name.rpartition("/")[2] == only}
        if not found:
            raise InputRangeError(f"no sample has the id or name {only!r}, and no class is called so{_classes(names)}")
        return cls(frozenset(found), frozenset())

    @classmethod
    def join(cls, selections: Iterable["Selection"]) -> "Selection":
        """Select what any of these selects."""
        ids, labels = zip(*selections, strict=True)
        return cls(frozenset().union(*ids), frozenset().union(*labels))

    def reasons(self, identity: str, label: Label) -> frozenset[str | int]:
        """Return the id and the labels that select a sample; nothing if it is not selected."""
        return (self.ids & {identity}) | self.labels.intersection(numbers_in(label))

    def is_among(self, reasons: frozenset[str | int]) -> bool:
        """Return whether one of these reasons is of this selection."""
        return not reasons.isdisjoint(self.ids | self.labels)


def classes_told(selections: Mapping[str, Selection], owner: Owner) -> list[str]:
    """Name the classes that numbers stand for, because the written numbers are others."""
    names = owner.class_names or ()
    numbers = {number for given, each in selections.items() if given not in names for number in each.labels}
    return [f"{number} is the plain number of class {names[number]}" for number in sorted(numbers) if names]


def _classes(names: tuple[str, ...] | None) -> str:
    if not names:
        return ""
    return f"; the classes are {', '.join(names[:_NAMES_SHOWN])}{', ..' if len(names) > _NAMES_SHOWN else ''}"
