"""Orders of blocks."""

from typing import TypeGuard

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

    A :class:`StatisticsResult` leaves open whether all images are mirrored, which one look at them settles: the better
    of its two orders counts, and chance is that of the better of two random ones.

    The interval treats positions as independent, which is not quite true: each block lies at one position only.

    Args:
        result: result of an attack that recovers a block order.
        order: int64 ``[positions]``, the original block at each position, like the ``order`` of a permutation key.

    Raises:
        InputShapeError: the order has another length than the guesses.
    """
    orders = [result.guesses, result.mirrored] if _leaves_open(result) else [result.guesses]
    rights = [right_guesses(each, order, "positions of the order") for each in orders]
    chance = min(1.0, (_BETTER_OF_TWO if len(orders) > 1 else 1) / len(order))
    return share_score(result, max(rights, key=torch.sum), chance)


def _leaves_open(result: PermutationResult) -> TypeGuard[StatisticsResult]:
    """Return whether a result has two orders, of which one look at the images chooses."""
    return isinstance(result, StatisticsResult) and not torch.equal(result.mirrored, result.guesses)


def order_measures(result: PermutationResult, truth: Truth) -> tuple[Measure, ...]:
    """Return the measures of restored images, if there are any; then the share of blocks at their right positions."""
    pictures: tuple[Measure, ...] = ()
    if isinstance(getattr(result, "images", None), Tensor) and truth.images is not None:
        pictures = picture_measures(result, truth)
    if truth.order is None:
        return pictures
    found = score_permutation(result, truth.order)
    share = Measure(
        "blocks at their right position" + (", or at the mirrored one" if _leaves_open(result) else ""),
        found.accuracy,
        found.low,
        found.high,
        found.chance,
        1.0,
        count=found.count,
        about="key",
    )
    return *pictures, share


ORDER = Score(("order",), order_measures, PermutationResult)
"""Scores a :class:`~torchprotect.attacks.PermutationResult`: the share of blocks at their right position, and pictures
like :data:`PICTURES` if it has ``images``. A :class:`~torchprotect.attacks.StatisticsResult` may be right at the
mirrored positions instead; its chance is higher by half."""

LAYOUT = Score(("images", "identities"), order_measures, PermutationResult)
"""Scores a :class:`~torchprotect.attacks.PermutationResult` with ``images`` like :data:`PICTURES`, even where the true
order is not known."""
