"""Convert labels to and from their form in an export: one class number, several, or none."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from torchprotect._json import canonical, parse
from torchprotect.data.manifest import MOST_CLASSES
from torchprotect.data.sources import Label, class_names_of
from torchprotect.errors import LabelError
from torchprotect.keys import LabelKey


def numbers_in(label: Label) -> tuple[int, ...]:
    """Return the class numbers in a label."""
    if label is None:
        return ()
    return label if isinstance(label, tuple) else (label,)


def rename(label: Label, labels: LabelKey | None) -> Label:
    """Return a label as it is written. Several class numbers are sorted again: their order would reveal the map."""
    if labels is None or label is None:
        return label
    if isinstance(label, tuple):
        return tuple(sorted(labels.map(number) for number in label))
    return labels.map(label)


def to_member(label: Label) -> tuple[str, bytes] | None:
    """Return extension and content of the member that holds a label."""
    if label is None:
        return None
    return ("json", canonical(label)) if isinstance(label, tuple) else ("cls", str(label).encode())


def most_bytes(classes: int) -> int:
    """Return the size that a member with several labels may have."""
    return 2 + classes * (len(str(classes)) + 1)


def from_member(content: bytes, classes: int) -> tuple[int, ...] | None:
    """Return the numbers of ``classes`` in a member; ``None`` unless it is as :func:`to_member` writes it."""
    try:
        found = parse(content)
    except ValueError:
        return None
    if not isinstance(found, list) or not are_ascending(found, classes) or canonical(found) != content:
        return None
    return tuple(found)


def are_ascending(numbers: Iterable[Any], classes: int) -> bool:
    """Return whether these are distinct class numbers below ``classes``, in order."""
    last = -1
    for number in numbers:
        if type(number) is not int or not last < number < classes:
            return False
        last = number
    return True


def single_labels(labels: Sequence[Label]) -> Tensor | None:
    """Return class numbers as int64 ``[N]``; ``None`` unless every sample has one, and one alone."""
    numbers = [label for label in labels if isinstance(label, int)]
    return torch.tensor(numbers) if len(numbers) == len(labels) else None


def multi_hot(numbers: tuple[int, ...], classes: int) -> Tensor:
    """Return int64 ``[classes]``, 1 for each class of an image and 0 for the others."""
    row = torch.zeros(classes, dtype=torch.int64)
    row[list(numbers)] = 1
    return row


def count_classes(source: Any, first: Label, labels: LabelKey | None) -> int | None:
    """Return the number of classes of an export with several labels per image; ``None`` for any other export.

    Args:
        source: source of the images.
        first: label of its first sample, which determines the kind if labels are not known in advance.
        labels: renaming of classes, if there is one.

    Raises:
        LabelError: there are too many classes, or their number is unknown.
    """
    known: list[Label] = source.known_labels() if hasattr(source, "known_labels") else [first]
    if not any(isinstance(label, tuple) for label in known):
        return None
    names = class_names_of(source)
    if labels is not None:
        classes = labels.classes
    elif names is not None:
        classes = len(names)
    elif hasattr(source, "known_labels"):
        largest = max((number for label in known for number in numbers_in(label)), default=0)
        classes = max(1 + largest, getattr(source, "most_classes", 0))
    else:
        raise LabelError(
            "the images have several labels each, but how many classes there are is not known: give the source "
            "class_names or known_labels(), or take a key with a label map"
        )
    if classes > MOST_CLASSES:
        raise LabelError(
            f"images with several labels have at most {MOST_CLASSES:,} classes, but there are {classes:,}; number the "
            "classes from 0 up without gaps, or give their names"
        )
    return classes


def class_counts(source: Any, skipped: Iterable[int] = ()) -> Mapping[str, int]:
    """Return how many images of each class a source has, in order of the classes, if it knows its labels in advance.

    Images at the indices ``skipped`` do not count. Classes are called by their names; without names, or where two have
    the same, by their numbers.
    """
    if not hasattr(source, "known_labels"):
        return {}
    known = source.known_labels()
    counts = Counter(number for label in known for number in numbers_in(label))
    counts.subtract(number for index in skipped for number in numbers_in(known[index]))
    names = class_names_of(source)
    if not counts:
        return {}
    if names is None or len(set(names)) < len(names) or max(counts) >= len(names):
        return {str(number): count for number, count in sorted(counts.items())}
    return {name: counts[number] for number, name in enumerate(names)}
