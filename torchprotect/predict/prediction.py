"""The answers of a predictor."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from torchprotect._inputs import require_int, require_number


class ClassScore(NamedTuple):
    """A class with its score.

    Attributes:
        label: plain class number.
        name: name of the class; ``None`` if it is not known.
        score: 0..1.
    """

    label: int
    name: str | None
    score: float


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """The scores of one picture, in plain classes.

    Attributes:
        scores: float32 ``[classes]``, in the order of the plain class numbers. They sum to 1 or, if pictures may have
            several labels, are independent of each other.
        class_names: names of the plain class numbers from 0 up; ``None`` if they are not known.
    """

    scores: Tensor
    class_names: tuple[str, ...] | None = None

    @property
    def label(self) -> int:
        """Plain class number with the highest score."""
        return int(self.scores.argmax())

    @property
    def name(self) -> str | None:
        """Name of that class; ``None`` if it is not known."""
        return self._name(self.label)

    @property
    def score(self) -> float:
        """The highest score, 0..1."""
        return float(self.scores.max())

    def top(self, count: int) -> tuple[ClassScore, ...]:
        """Return the classes with the highest scores, best first.

        Args:
            count: how many classes; at most all of them.
        """
        require_int("count", count, at_least=1)
        return self._told(self.scores.topk(min(count, len(self.scores))).indices.tolist())

    def above(self, threshold: float) -> tuple[ClassScore, ...]:
        """Return the classes whose score is at least ``threshold``, best first; for pictures with several labels."""
        require_number("threshold", threshold, at_least=0, at_most=1)
        ranked = self.scores.sort(descending=True, stable=True).indices.tolist()
        return self._told([label for label in ranked if float(self.scores[label]) >= threshold])

    def _told(self, labels: list[int]) -> tuple[ClassScore, ...]:
        return tuple(ClassScore(label, self._name(label), float(self.scores[label])) for label in labels)

    def _name(self, label: int) -> str | None:
        return self.class_names[label] if self.class_names is not None and label < len(self.class_names) else None

    def __repr__(self) -> str:
        return f"Prediction(label={self.label}, name={self.name!r}, score={self.score:.3f})"
