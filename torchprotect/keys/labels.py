"""The secret renaming of classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor

from torchprotect._inputs import require_int, require_tensor, type_name
from torchprotect.errors import InputTypeError, LabelError
from torchprotect.keys._base import Key, require_class_numbers, require_permutation, require_root
from torchprotect.keys._random import random_bytes, random_permutation
from torchprotect.keys._secret import secret_fields

Labels = TypeVar("Labels", int, Tensor)


@secret_fields("labels", "root")
@dataclass(frozen=True, eq=False, repr=False)
class LabelKey(Key):
    """A secret permutation of class numbers: class ``y`` is written as ``labels[y]``.

    It changes names only. Which images share a class, and how many images each class has, stays visible.

    Attributes:
        labels: int64 ``[classes]``.
        root: uint8 ``[32]``, from which sub-keys are derived. It enters the fingerprint, so that a small map cannot
            be guessed from the fingerprint by trying all maps.
    """

    kind: ClassVar[str] = "labels"
    labels: Tensor
    root: Tensor

    def __post_init__(self) -> None:
        require_root(self.root)
        require_permutation("labels", self.labels, max(2, self.classes))

    @classmethod
    def generate(cls, *, classes: int) -> "LabelKey":
        """Generate a uniformly random permutation of class numbers from the operating system's entropy.

        It may leave classes in place: one class on average, and with two classes both in half of all keys. Excluding
        such keys would tell an attacker something about every key.

        Args:
            classes: number of classes, at least 2.

        Raises:
            InputRangeError: there are fewer than two classes.
        """
        require_int("classes", classes, at_least=2)
        return cls(random_permutation(classes), random_bytes(32))

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @property
    def _plain(self) -> Tensor:
        return self._computed_once("plain", self.labels.argsort)

    def map(self, labels: Labels) -> Labels:
        """Replace plain class numbers by secret ones.

        Args:
            labels: an int, or an integer tensor of any shape.

        Raises:
            InputTypeError: the labels are something else, such as one-hot rows.
            LabelError: a number lies outside ``0..classes-1``.
        """
        checked = _checked(labels, self.classes)
        return _look_up(self.labels, checked)

    def unmap(self, labels: Labels) -> Labels:
        """Replace secret class numbers, such as the predictions of a model, by plain ones.

        Args:
            labels: an int, or an integer tensor of any shape.

        Raises:
            InputTypeError: the labels are something else, such as one-hot rows.
            LabelError: a number lies outside ``0..classes-1``.
        """
        checked = _checked(labels, self.classes)
        return _look_up(self._plain, checked)

    @property
    def params(self) -> dict[str, Any]:
        """The number of ``classes``."""
        return {"classes": self.classes}

    def tensors(self) -> dict[str, Tensor]:
        """``labels`` and ``root``."""
        return {"labels": self.labels, "root": self.root}

    @classmethod
    def from_parts(cls, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "LabelKey":
        """Rebuild the key."""
        require_permutation("labels", tensors["labels"], params["classes"])
        return cls(**tensors)


def _checked(labels: Any, classes: int) -> Any:
    """Return an int, or a tensor of class numbers.

    A function of its own, so that the frame that raises holds no secret table in a local variable.
    """
    if isinstance(labels, np.integer):
        labels = int(labels)
    if isinstance(labels, int) and not isinstance(labels, bool):
        if not 0 <= labels < classes:
            raise LabelError(f"a label lies outside the map, which covers 0..{classes - 1}")
        return labels
    if not isinstance(labels, Tensor | np.ndarray | list | tuple):
        raise InputTypeError(f"a label must be an integer or a tensor of integers, got {type_name(labels)}")
    require_tensor("labels", labels)
    require_class_numbers(labels, classes)  # type: ignore[arg-type]  # a tensor by now
    return labels


def _look_up(table: Tensor, labels: Any) -> Any:
    return int(table[labels]) if isinstance(labels, int) else table.to(labels.device)[labels.long()]
