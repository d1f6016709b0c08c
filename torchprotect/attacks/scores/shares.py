"""Shares of right guesses."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect._inputs import require_tensor
from torchprotect.attacks.results import AttackResult
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError


@dataclass(frozen=True, eq=False, repr=False)
class ShareScore(AttackResult):
    """Share of right guesses, with the level and cost of the attack.

    Attributes:
        accuracy: share of guesses that are right.
        low: lower end of its Wilson interval at 95 %.
        high: upper end.
        chance: share that guessing without looking would reach.
        count: number of guesses.
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


def require_guesses(guesses: Tensor, shape: tuple[int, ...], values: int, name: str) -> None:
    """Check the guesses of an attack before they are scored.

    Args:
        guesses: guesses of an attack.
        shape: required shape; -1 for any length.
        values: they must be int64, from 0 up to (not including) this number.
        name: what is guessed, for the error message.

    Raises:
        InputTypeError: they are not int64.
        InputShapeError: there are more or fewer.
        InputRangeError: one is out of range.
    """
    require_tensor("guesses", guesses)
    if guesses.dtype != torch.int64:
        raise InputTypeError(f"guesses of {name} must be int64, got {guesses.dtype}")
    fits = len(guesses.shape) == len(shape) and all(
        each in (-1, length) for length, each in zip(guesses.shape, shape, strict=True)
    )
    if not fits or not guesses.numel():
        raise InputShapeError(f"guesses of {name} must be {list(shape)}, got {list(guesses.shape)}")
    low, high = (int(edge) for edge in guesses.aminmax())
    if low < 0 or high >= values:
        raise InputRangeError(f"guesses of {name} must lie in 0..{values - 1}, but lie in {low}..{high}")


def share_score(result: AttackResult, right: Tensor, chance: float) -> ShareScore:
    """Return the share of right guesses, with its Wilson interval at 95 %."""
    accuracy = mean(right)
    return ShareScore(result.level, result.cost, accuracy, *wilson(accuracy, len(right)), chance, len(right))


def mean(values: Tensor) -> float:
    """Return the mean of numbers or booleans, in float64."""
    return float(values.double().mean())
