"""Convert labels as people write them, text or numbers, to class numbers."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from torchprotect._inputs import type_name
from torchprotect.data.sources._base import Label
from torchprotect.errors import InputRangeError, InputTypeError, LabelError

RawLabel: TypeAlias = int | str | tuple[int | str, ...]
"""A label as written by people: a class number, the name of a class, or several of these."""

_CLASSES = 10**18  # as many digits as a .cls may have
_DIGITS = re.compile(r"[0-9]+")
_TOLD = 60  # characters of a label in a message


class Numbered(NamedTuple):
    """Class numbers of some labels, and the names of the classes from 0 up, if they have names."""

    labels: list[Label]
    class_names: tuple[str, ...] | None


def check_raw(value: Any) -> RawLabel | None:
    """Return a value from JSON as a label; null means no label.

    Raises:
        ValueError: it is neither a whole number from 0 up, nor text, nor a list of these.
    """
    if value is None:
        return None
    return tuple(map(_check_one, value)) if isinstance(value, list) else _check_one(value)


def _check_one(value: Any) -> int | str:
    if isinstance(value, str) and value.strip():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{_told(value)} has half of a surrogate pair, which is not a character") from None
        return value
    if type(value) is int and 0 <= value < _CLASSES:
        return value
    raise ValueError(f"{_told(value)} is neither a class number from 0 up, of at most 18 digits, nor a class name")


def require_class_names(names: Any) -> tuple[str, ...] | None:
    """Check a list of class names.

    Raises:
        InputTypeError: it is not a list of texts.
        InputRangeError: it is empty, or has a name twice.
    """
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise InputTypeError(f"class_names must be a list of texts, one for each class, got {type_name(names)}")
    if not names:
        raise InputRangeError(
            "class_names is empty; leave it out, and the classes are numbered in order of their names"
        )
    most, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputRangeError(f"class_names has {_told(most)} {count} times; give each class once")
    return tuple(names)


def number_labels(found: Sequence[RawLabel], class_names: tuple[str, ...] | None, *, text: bool) -> Numbered:
    """Number the distinct labels of a source: names in sorted order, numbers as they are.

    If one of them holds several labels, all are treated as holding several.

    Args:
        found: distinct labels.
        class_names: names that fix the numbers.
        text: whether all labels come from text, where class numbers are written in decimal digits.

    Raises:
        LabelError: numbers and names are mixed, or one is not among ``class_names``.
    """
    several = any(isinstance(label, tuple) and label for label in found)
    parts = {part for label in found for part in _parts(label)}
    numbers, names = _numbers_of(parts, class_names, text=text)
    return Numbered([_numbered(label, numbers, several=several) for label in found], names)


def _numbered(label: RawLabel, numbers: dict[int | str, int], *, several: bool) -> Label:
    if several:
        return tuple(sorted({numbers[part] for part in _parts(label)}))
    return None if isinstance(label, tuple) else numbers[label]  # an empty file means nothing where one label is usual


def _parts(label: RawLabel) -> Iterable[int | str]:
    return label if isinstance(label, tuple) else (label,)


def _numbers_of(
    parts: set[int | str], class_names: tuple[str, ...] | None, *, text: bool
) -> tuple[dict[int | str, int], tuple[str, ...] | None]:
    """Return the number of each class, and the names of all classes."""
    names = {part for part in parts if isinstance(part, str)}
    if len(names) < len(parts) and names:
        number = min(part for part in parts if isinstance(part, int))
        raise LabelError(
            f"labels mix class numbers, such as {number}, and names, such as {_told(min(names))}; write all of them as "
            "numbers, or all as text"
        )
    known = {name: number for number, name in enumerate(class_names or ())}
    if not names or (text and not names & known.keys() and all(map(_DIGITS.fullmatch, names))):
        return _as_they_are(parts, class_names), class_names
    if class_names is None:
        class_names = tuple(sorted(names))
        known = {name: number for number, name in enumerate(class_names)}
    if unknown := sorted(names - known.keys()):
        more = f" and {len(unknown) - 1:,} more are" if len(unknown) > 1 else " is"
        raise LabelError(
            f"class {_told(unknown[0])}{more} not among the {len(class_names):,} class names; add new ones to their end"
        )
    return {name: known[name] for name in names}, class_names


def _as_they_are(parts: set[int | str], class_names: tuple[str, ...] | None) -> dict[int | str, int]:
    if long := [part for part in parts if isinstance(part, str) and len(part) > len(str(_CLASSES - 1))]:
        raise LabelError(f"class number {_told(min(long))} has more than 18 digits")
    numbers = {part: int(part) for part in parts}
    largest = max(numbers.values(), default=0)
    if class_names is not None and largest >= len(class_names):
        raise LabelError(f"class {largest} lies outside the class names, which are those of 0..{len(class_names) - 1}")
    return numbers


def _told(value: Any) -> str:
    return repr(value if not isinstance(value, str) else value[:_TOLD])[: 2 * _TOLD]
