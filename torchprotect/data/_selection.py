"""Which samples of an export are restored."""

from typing import NamedTuple

from torchprotect.data._labels import numbers_in
from torchprotect.data.owner import Original, Owner
from torchprotect.data.sources import Label
from torchprotect.errors import InputRangeError

_CLASS_DIGITS = 18  # int64
_TOLD = 12  # class names in a message


class Selection(NamedTuple):
    """Some samples.

    Attributes:
        ids: of samples.
        labels: plain numbers of classes, all of whose samples are meant.
    """

    ids: frozenset[str]
    labels: frozenset[int]

    @classmethod
    def of(cls, only: str, owner: Owner | None) -> "Selection":
        """Find the samples that are called so: by id, by name, with or without its folders, or by class.

        Raises:
            InputRangeError: the owner's file has no such sample or class. Without one, only reading the samples tells.
        """
        labels = {int(only)} if only.isdecimal() and len(only) <= _CLASS_DIGITS else set[int]()
        if owner is None:
            return cls(frozenset({only}), frozenset(labels))
        called = {identity for identity, each in owner.originals.items() if _is_called(only, identity, each)}
        names = owner.class_names or ()
        labels = {number for number, name in enumerate(names) if name == only} or labels
        if not called and not labels:
            raise InputRangeError(f"no sample has the id or name {only!r}, and no class is called so{_classes(names)}")
        return cls(frozenset(called), frozenset(labels))

    def includes(self, identity: str, label: Label) -> bool:
        """Return whether a sample is among them."""
        return identity in self.ids or not self.labels.isdisjoint(numbers_in(label))


def class_told(only: str | None, owner: Owner) -> list[str]:
    """Return which class a number stands for, if ``only`` is one: the numbers that are written are others."""
    names = owner.class_names or ()
    if only is None or only in names or not only.isdecimal() or not 0 <= int(only[:_CLASS_DIGITS]) < len(names):
        return []
    return [f"{only} is the plain number of class {names[int(only)]}"]


def _is_called(name: str, identity: str, original: Original) -> bool:
    return name in (identity, original.name, original.name.rpartition("/")[2])


def _classes(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    return f"; the classes are {', '.join(names[:_TOLD])}{', ..' if len(names) > _TOLD else ''}"
