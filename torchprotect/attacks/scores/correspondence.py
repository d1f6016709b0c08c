"""Correspondences of classes."""

import math
from dataclasses import dataclass

from torch import Tensor

from torchprotect.attacks.measures import Measure
from torchprotect.attacks.results import AttackResult, CorrespondenceResult, ReadingResult
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.attacks.scores.shares import mean
from torchprotect.attacks.scores.truth import Score, Truth
from torchprotect.errors import InputShapeError


@dataclass(frozen=True, eq=False, repr=False)
class CorrespondenceScore(AttackResult):
    """How much of a correspondence was recovered, with the level and cost of the attack.

    Attributes:
        hits: bool ``[classes, targets]``: the guess is one of the class's true targets.
        ordered: bool ``[classes]``: all targets of the class are right, in their order.
        unordered: bool ``[classes]``: all targets of the class are right, in any order.
        ordered_chance: expected share of classes that are right in order, for guesses drawn uniformly from the
            candidates that the attack considers.
        unordered_chance: the same in any order.
    """

    hits: Tensor
    ordered: Tensor
    unordered: Tensor
    ordered_chance: float
    unordered_chance: float


def score_correspondence(result: CorrespondenceResult, truth: Tensor) -> CorrespondenceScore:
    """Compare a recovered correspondence with the true one.

    Args:
        result: result of an attack.
        truth: int64 ``[classes, targets]``.

    Raises:
        InputShapeError: the truth has another shape than the guesses.
    """
    guesses, truth = result.guesses, truth.to(result.guesses.device)
    if truth.shape != guesses.shape:
        raise InputShapeError(f"the truth must be {list(guesses.shape)} like the guesses, not {list(truth.shape)}")
    in_order, in_any = zip(*(_chances(row, label, result) for label, row in enumerate(truth.tolist())), strict=True)
    return CorrespondenceScore(
        result.level,
        result.cost,
        hits=(guesses[:, :, None] == truth[:, None, :]).any(2),
        ordered=(guesses == truth).all(1),
        unordered=(guesses.sort(1).values == truth.sort(1).values).all(1),
        ordered_chance=sum(in_order) / len(truth),
        unordered_chance=sum(in_any) / len(truth),
    )


def correspondence_measures(result: CorrespondenceResult, truth: Truth) -> tuple[Measure, ...]:
    """Return the share of classes all of whose targets were found, in their order."""
    if truth.correspondence is None:
        raise InputShapeError("a correspondence is scored with the true one, which is not known")
    found = score_correspondence(result, truth.correspondence)
    share, count = mean(found.ordered), len(found.ordered)
    interval = wilson(share, count)
    name = "classes whose targets were found"
    return (Measure(name, share, *interval, found.ordered_chance, 1.0, count=count, about="key"),)


CORRESPONDENCE = Score(("correspondence",), correspondence_measures)
"""Scores a :class:`~torchprotect.attacks.CorrespondenceResult`: the share of classes whose targets were all found, in
order."""


def _chances(targets: list[int], label: int, result: CorrespondenceResult) -> tuple[float, float]:
    """Return the chance of a random guess to be right in order, and in any order."""
    classes, count = result.guesses.shape[0], len(targets)
    orders = math.factorial(count) // math.prod(math.factorial(targets.count(each)) for each in set(targets))
    if not isinstance(result, ReadingResult):
        return 1 / classes**count, orders / classes**count
    if label in targets or len(set(targets)) < count:
        return 0.0, 0.0  # a reading guesses classes other than the class itself, each once
    return 1 / math.perm(classes - 1, count), orders / math.perm(classes - 1, count)
