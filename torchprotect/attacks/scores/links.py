"""Links between plain and disguised images."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.attacks.measures import About, Measure
from torchprotect.attacks.results import AttackResult, LinkageResult
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.attacks.scores.shares import mean, require_guesses
from torchprotect.attacks.scores.truth import Score, Truth
from torchprotect.errors import InputRangeError, InputShapeError

_SHOWN = (1, 5, 10)


@dataclass(frozen=True, eq=False, repr=False)
class LinkageScore(AttackResult):
    """Re-identification at k: share of known images whose disguised version is among the first k guesses.

    Attributes:
        k: numbers of guesses evaluated.
        shares: shares of known images, for each ``k``.
        low: lower ends of the Wilson intervals at 95 %.
        high: upper ends.
        chance: shares of the candidates that are one of the ``k`` most frequent images: the best that guesses can reach
            without looking at the disguised images.
        count: number of known images.
        candidates: number of disguised images assumed to be candidates.
    """

    k: tuple[int, ...]
    shares: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    chance: tuple[float, ...]
    count: int
    candidates: int


def score_linkage(
    result: LinkageResult,
    truth: Tensor,
    k: int | Sequence[int] | None = None,
    *,
    candidates: int | None = None,
    identities: Tensor | None = None,
) -> LinkageScore:
    """Compute the share of known images whose own disguised image is among the first guesses.

    The chance level is the best that naming the same ``k`` candidates for every known image reaches.

    Args:
        result: result of an attack that links known images to disguised ones.
        truth: int64 ``[N]``: for each known image, the index of its disguised one.
        k: number of guesses to evaluate, one number or several. ``None`` takes 1, 5 and 10, as far as there are
            guesses.
        candidates: number of disguised images that the attack chose from, for the chance level. ``None`` takes as many
            as there are known ones, or more if an index requires it.
        identities: int64 ``[candidates]``: equal numbers for disguised images whose plain ones are equal, so that each
            of them counts as right. ``None`` takes every image as different.

    Raises:
        InputShapeError: the truth does not fit the guesses, or the identities do not fit the candidates.
        InputRangeError: there are fewer than ``k`` guesses, or fewer candidates than an index requires.
    """
    guesses = result.guesses
    if truth.shape != guesses.shape[:1] or not len(truth):
        raise InputShapeError(
            f"a true index for each of {len(guesses)} known images is needed, not {list(truth.shape)}"
        )
    least = 1 + int(max(guesses.max(), truth.max()))
    candidates = max(least, len(truth)) if candidates is None else candidates
    if candidates < least:
        raise InputRangeError(f"candidates={candidates} is too small: the largest index is {least - 1}")
    wanted = _numbers(k, guesses.shape[1])
    same = torch.arange(candidates) if identities is None else identities.cpu()
    if same.shape != (candidates,):
        raise InputShapeError(f"an identity for each of {candidates} candidates is needed, not {list(same.shape)}")
    hits = same[guesses.cpu()] == same[truth.cpu()][:, None]
    shares = tuple(mean(hits[:, :each].any(1)) for each in wanted)
    low, high = zip(*(wilson(share, len(truth)) for share in shares), strict=True)
    frequent = same.unique(return_counts=True)[1].sort(descending=True).values
    chance = tuple(int(frequent[:each].sum()) / candidates for each in wanted)
    return LinkageScore(result.level, result.cost, wanted, shares, low, high, chance, len(truth), candidates)


def _known_found(result: LinkageResult, truth: Truth) -> tuple[Measure, ...]:
    """Score the disguised image that was found for each known plain one."""
    known, identities = _require_links(truth)
    require_guesses(result.guesses, (len(known), -1), len(identities), "disguised images, for each known one,")
    return _measures(result, known, identities, "known")


def _originals_found(result: LinkageResult, truth: Truth) -> tuple[Measure, ...]:
    """Score the known plain image that was found for each of the first disguised ones."""
    known, identities = _require_links(truth)
    require_guesses(result.guesses, (len(known), -1), len(known), "known images, for each disguised one,")
    return _measures(result, known.argsort(), identities[known], "identity")


def _require_links(truth: Truth) -> tuple[Tensor, Tensor]:
    if truth.known is None or truth.identities is None:
        raise InputShapeError("links cannot be scored: the true ones are not known")
    return truth.known, truth.identities


def _measures(result: LinkageResult, right: Tensor, identities: Tensor, about: About) -> tuple[Measure, ...]:
    """Return the shares of right links at the first guess, and at more."""
    score = score_linkage(result, right, candidates=len(identities), identities=identities)
    rows = zip(score.k, score.shares, score.low, score.high, score.chance, strict=True)
    return tuple(
        Measure(f"re-identification@{k}", share, low, high, chance, 1.0, scaled=k == 1, count=len(right), about=about)
        for k, share, low, high, chance in rows
    )


def _numbers(k: int | Sequence[int] | None, guesses: int) -> tuple[int, ...]:
    """Return the numbers of guesses to evaluate."""
    if k is None:
        return tuple(each for each in _SHOWN if each <= guesses)
    wanted = (k,) if isinstance(k, int) else tuple(k)
    for each in wanted:
        require_int("k", each, at_least=1)
    if not wanted or max(wanted) > guesses:
        raise InputRangeError(f"k must be one or more numbers of at most {guesses}, the guesses of each image, got {k}")
    return wanted


KNOWN_FOUND = Score(("known", "identities"), _known_found, LinkageResult)
"""Scores a :class:`~torchprotect.attacks.LinkageResult` that names disguised images, best first, for each of
``seen.known``: the share of known images whose disguised version is the first guess, or among the first five or ten."""

ORIGINALS_FOUND = Score(("known", "identities"), _originals_found, LinkageResult)
"""Scores a :class:`~torchprotect.attacks.LinkageResult` that names images of ``seen.known``, best first, for each of
``seen.target``: the share of disguised images whose original is the first guess, or among the first five or ten."""
