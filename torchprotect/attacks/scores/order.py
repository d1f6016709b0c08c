"""Orders of blocks."""

from torch import Tensor

from torchprotect.attacks.measures import Measure
from torchprotect.attacks.results import PermutationResult
from torchprotect.attacks.scores.pictures import picture_measures
from torchprotect.attacks.scores.shares import ShareScore, right_guesses, share_score
from torchprotect.attacks.scores.truth import Score, Truth


def score_permutation(result: PermutationResult, order: Tensor) -> ShareScore:
    """Count the positions at which the right block was found; the chance level is that of a random order.

    The interval takes positions for independent, which they are not quite: each block lies at one position only.

    Args:
        result: of an attack that recovers an order of blocks.
        order: int64 ``[positions]``, the original block at each position, as a permutation key's ``order``.

    Raises:
        InputShapeError: the order has another length than the guesses.
    """
    return share_score(result, right_guesses(result.guesses, order, "positions of the order"), 1 / len(order))


def order_measures(result: PermutationResult, truth: Truth) -> tuple[Measure, ...]:
    """Return what opened images say, if there are any; then the share of blocks at their right positions."""
    pictures: tuple[Measure, ...] = ()
    if isinstance(getattr(result, "images", None), Tensor):
        pictures = picture_measures(result, truth)
    if truth.order is None:
        return pictures
    found = score_permutation(result, truth.order)
    share = Measure(
        "blocks at their right position",
        found.accuracy,
        found.low,
        found.high,
        found.chance,
        1.0,
        count=found.count,
        about="key",
    )
    return *pictures, share


ORDER = Score(("images", "order"), order_measures, PermutationResult)
"""For :class:`PermutationResult`, with images or without."""

LAYOUT = Score(("images", "identities"), order_measures, PermutationResult)
"""For a :class:`PermutationResult` with images, also where the true order is not known."""
