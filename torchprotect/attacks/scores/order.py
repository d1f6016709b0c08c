"""Orders of blocks."""

from dataclasses import replace

import torch
from torch import Tensor

from torchprotect.attacks.measures import Measure
from torchprotect.attacks.results import PermutationResult, StatisticsResult
from torchprotect.attacks.scores.pictures import picture_measures
from torchprotect.attacks.scores.shares import ShareScore, right_guesses, share_score
from torchprotect.attacks.scores.truth import Score, Truth

_BETTER_OF_TWO = 1.52  # expected right positions of the better of two random orders; a single one has 1 on average


def score_permutation(result: PermutationResult, order: Tensor) -> ShareScore:
    """Compute the share of positions at which the right block was found; chance is that of a random order.

    The interval treats positions as independent, which is not quite true: each block lies at one position only.

    Args:
        result: result of an attack that recovers a block order.
        order: int64 ``[positions]``, the original block at each position, like the ``order`` of a permutation key.

    Raises:
        InputShapeError: the order has another length than the guesses.
    """
    return share_score(result, right_guesses(result.guesses, order, "positions of the order"), 1 / len(order))


def order_measures(result: PermutationResult, truth: Truth) -> tuple[Measure, ...]:
    """Return the measures of restored images, if there are any; then the share of blocks at their right positions."""
    pictures: tuple[Measure, ...] = ()
    if isinstance(getattr(result, "images", None), Tensor):
        pictures = picture_measures(result, truth)
    if truth.order is None:
        return pictures
    metric, found = _best(result, truth.order)
    share = Measure(
        metric,
        found.accuracy,
        found.low,
        found.high,
        found.chance,
        1.0,
        count=found.count,
        about="key",
    )
    return *pictures, share


def _best(result: PermutationResult, order: Tensor) -> tuple[str, ShareScore]:
    """Score an order; one from statistics, up to a mirror image."""
    found, metric = score_permutation(result, order), "blocks at their right position"
    if not isinstance(result, StatisticsResult) or torch.equal(result.mirrored, result.guesses):
        return metric, found
    mirrored = score_permutation(replace(result, guesses=result.mirrored), order)
    best = max(found, mirrored, key=lambda each: each.accuracy)
    chance = min(1.0, _BETTER_OF_TWO * found.chance)
    return f"{metric}, or at the mirrored one", replace(best, chance=chance)


ORDER = Score(("images", "order"), order_measures, PermutationResult)
"""Scores a :class:`PermutationResult`, with images or without."""

LAYOUT = Score(("images", "identities"), order_measures, PermutationResult)
"""Scores a :class:`PermutationResult` with images, even if the true order is not known."""
