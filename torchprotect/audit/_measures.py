"""From results and the truth to measures, each with its chance level and upper bound."""

import torch
from torch import Tensor

from torchprotect import attacks
from torchprotect.attacks.intervals import around_mean, wilson
from torchprotect.attacks.results import (
    AttackResult,
    ClassGuesses,
    LinkageResult,
    PermutationResult,
    Reconstruction,
)
from torchprotect.attacks.measures import Measure
from torchprotect.audit._bench import Bench
from torchprotect.audit._classes import best_on_plain, score_guesses
from torchprotect.audit._identity import most_frequent
from torchprotect.audit._small import small

_EXACT = 100.0  # dB, of an image rebuilt to the last bit: infinity has no mean
_ROUNDING = 1e-6  # of squared distances in grey levels: those of images of whole grey levels differ by 1 at least


def of_guesses(bench: Bench, result: ClassGuesses, indices: Tensor, whose: str = "") -> tuple[Measure, Measure]:
    """Return the share of images whose class was guessed, and the mean of the classes' shares.

    The upper bounds are the best of the examiner and a vote of nearest neighbours on plain images.

    Args:
        bench: with classes.
        result: guesses of these images.
        indices: of attacked images.
        whose: guesses they are, as a possessive, if not the attacker's.
    """
    scores, bounds = score_guesses(bench, result, indices), best_on_plain(bench, indices)
    names = (" ".join(filter(None, (whose, name))) for name in ("class accuracy", "balanced class accuracy"))
    one, other = (
        Measure(name, score.accuracy, score.low, score.high, score.chance, upper, upper_by=by, count=count)
        for name, score, (upper, by), count in zip(names, scores, bounds, (len(indices), None), strict=True)
    )
    return one, other


def of_linkage(
    result: LinkageResult, truth: Tensor, candidates: int, identities: Tensor | None = None
) -> tuple[Measure, ...]:
    """Return the share of known images that are found among the disguised ones at the first guess, and at more.

    Args:
        result: links.
        truth: the right candidate for each known image.
        candidates: how many there are.
        identities: which candidates are the same image, int64 ``[candidates]``; each is another one when ``None``.
    """
    score = attacks.score_linkage(result, truth, candidates=candidates, identities=identities)
    rows = zip(score.k, score.shares, score.low, score.high, score.chance, strict=True)
    return tuple(
        Measure(f"re-identification@{k}", share, low, high, chance, 1.0, scaled=k == 1, count=len(truth))
        for k, share, low, high, chance in rows
    )


def of_permutation(result: PermutationResult, order: Tensor) -> Measure:
    """Return the share of places at which the right block was found."""
    score = attacks.score_permutation(result, order)
    return Measure(
        "blocks at their right place", score.accuracy, score.low, score.high, score.chance, 1.0, count=len(order)
    )


def of_images(bench: Bench, result: AttackResult, indices: Tensor) -> tuple[Measure, ...]:
    """Return what rebuilt images still say: their class, which image they are, PSNR and SSIM."""
    assert isinstance(getattr(result, "images", None), Tensor)  # noqa: S101 - the callers' results rebuild images
    images: Tensor = result.images  # type: ignore[attr-defined]
    truth = bench.truth(indices)
    seen: tuple[Measure, ...] = ()
    if bench.evidence.plain_labels is not None:
        seen = of_guesses(bench, bench.look(images), indices, "examiner's")
    identity = of_identity(images, truth, bench.identities(indices))
    score = attacks.score_reconstruction(Reconstruction(result.level, result.cost, images), truth)
    signals, chance = score.psnr.clamp(max=_EXACT), min(_EXACT, score.psnr_chance)
    psnr = Measure("PSNR", float(signals.mean()), *around_mean(signals), chance, scaled=False, unit="dB")
    ssim = Measure("SSIM", score.mean_ssim, *score.ssim_interval, score.ssim_chance, 1.0, scaled=False, unit="index")
    return *seen, identity, psnr, ssim


def of_identity(images: Tensor, truth: Tensor, identities: Tensor) -> Measure:
    """Return the share of rebuilt images to which no other plain image is nearer than their own.

    Equal plain images are one; where several others are as near, their number shares the credit.

    Args:
        images: rebuilt, ``[N, C, H, W]``.
        truth: the plain images, likewise.
        identities: which of these are equal, int64 ``[N]``.
    """
    numbers, own = identities.unique(return_inverse=True)
    first = torch.full((len(numbers),), len(own)).scatter_reduce_(0, own, torch.arange(len(own)), "amin")
    squares = _squares(small(images), small(truth)[first.to(truth.device)]).cpu()
    tied = squares <= squares.min(1, keepdim=True).values + _ROUNDING
    credit = tied.gather(1, own[:, None])[:, 0] / tied.sum(1).clamp(min=1)
    share = float(credit.double().mean())
    return Measure(
        "re-identification@1", share, *wilson(share, len(images)), most_frequent(own), 1.0, count=len(images)
    )


def _squares(images: Tensor, others: Tensor) -> Tensor:
    """Return squared distances, float64 ``[N, M]``: exact for whole grey levels, so that ties are ties."""
    one, other = images.double(), others.double()
    return one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T
