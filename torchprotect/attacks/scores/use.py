"""Score networks trained on released images: how close they come to one trained on plain images."""

from torchprotect.attacks.measures import Measure
from torchprotect.attacks.results import NetworkResult
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.attacks.scores.truth import Score, Truth


def use_measures(result: NetworkResult, truth: Truth) -> tuple[Measure, ...]:
    """Return the accuracy on plain images, after the best epoch and after the last one.

    Args:
        result: result of a training.
        truth: with ``on_plain`` for the upper bound, if there is one.
    """
    upper, by = (None, None) if truth.on_plain is None else truth.on_plain(result.count)[0]
    named = {"accuracy on plain images": result.accuracy, "the same after the last epoch": result.last}
    return tuple(
        Measure(
            name,
            value,
            *wilson(value, result.count),
            result.chance,
            upper,
            upper_by=by,
            count=result.count,
        )
        for name, value in named.items()
    )


USE = Score((), use_measures)
"""Scores a :class:`~torchprotect.attacks.NetworkResult`: accuracy on plain images of a network trained on released
ones, by the best epoch."""
