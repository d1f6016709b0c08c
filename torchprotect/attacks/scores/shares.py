"""Shares of right guesses."""

from dataclasses import dataclass

from torch import Tensor

from torchprotect.attacks.results import AttackResult
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.errors import InputShapeError


@dataclass(frozen=True, eq=False, repr=False)
class ShareScore(AttackResult):
    """A share of right guesses, with the level and cost of the attack.

    Attributes:
        accuracy: share of guesses that are right.
        low: lower end of its Wilson interval at 95 %.
        high: upper end.
        chance: share that guessing without looking would give.
        count: guesses it was counted over.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    count: int


def right_guesses(guesses: Tensor, truth: Tensor, name: str) -> Tensor:
    """Return which guesses are right, bool ``[N]``.

    Raises:
        InputShapeError: the truth has another shape; ``name`` says what it is.
    """
    if truth.shape != guesses.shape or not len(truth):
        raise InputShapeError(f"{len(guesses)} {name} are needed, one for each guess, not {list(truth.shape)}")
    return guesses == truth.to(guesses.device)


def share_score(result: AttackResult, right: Tensor, chance: float) -> ShareScore:
    """Return the share of right guesses, with its Wilson interval at 95 %."""
    accuracy = mean(right)
    return ShareScore(result.level, result.cost, accuracy, *wilson(accuracy, len(right)), chance, len(right))


def mean(values: Tensor) -> float:
    """Return the mean of numbers or truth values, in float64."""
    return float(values.double().mean())
