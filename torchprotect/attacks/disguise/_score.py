"""Scores of the attacks on disguised images: the only functions that receive the truth."""

from collections.abc import Sequence

import torch
from torch import Tensor

from torchprotect.attacks._inputs import require_count
from torchprotect.attacks.disguise._score_results import (
    ExaminerScore,
    LinkageScore,
    ReconstructionScore,
    ShareScore,
)
from torchprotect.attacks.disguise.examiner import DNNExaminer
from torchprotect.attacks.disguise.quality import psnr, rmse, ssim
from torchprotect.attacks.intervals import around_mean, wilson
from torchprotect.attacks.results import AttackResult, ClassGuesses, LinkageResult, PermutationResult
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError

_SHOWN = (1, 5, 10)


def score_reconstruction(result: AttackResult, truth: Tensor) -> ReconstructionScore:
    """Compare rebuilt images with the true ones.

    Args:
        result: of an attack that rebuilds images, with a field ``images``.
        truth: ``[N, C, H, W]``, uint8 or floating point in 0..1.

    Raises:
        InputTypeError: the result has no images, or images or truth are neither uint8 nor floating point.
        InputShapeError: truth and images do not go together.
        InputRangeError: floating-point images leave 0..1.
    """
    images = images_of(result)
    truth = truth.to(images.device)
    guess = _mean_of_the_others(truth)
    errors, signals, likeness = (measure(images, truth) for measure in (rmse, psnr, ssim))
    return ReconstructionScore(
        result.level,
        result.cost,
        rmse=errors.cpu(),
        psnr=signals.cpu(),
        ssim=likeness.cpu(),
        mean_rmse=_mean(errors),
        mean_psnr=_mean(signals),
        mean_ssim=_mean(likeness),
        rmse_interval=around_mean(errors),
        psnr_interval=around_mean(signals),
        ssim_interval=around_mean(likeness),
        rmse_chance=_mean(rmse(guess, truth)),
        psnr_chance=_mean(psnr(guess, truth)),
        ssim_chance=_mean(ssim(guess, truth)),
        exact=_mean(errors == 0),
    )


def score_classes(result: ClassGuesses, labels: Tensor) -> ShareScore:
    """Count the right classes; the chance level is the share of the most frequent class: what always guessing it gives.

    Args:
        result: of an attack that guesses the class of each image.
        labels: int64 ``[N]``.

    Raises:
        InputShapeError: there are not as many labels as guesses.
    """
    right = _require_same(result.guesses, labels, "labels")
    return _share(result, right, float(labels.unique(return_counts=True)[1].max()) / len(labels))


def score_balanced_classes(result: ClassGuesses, labels: Tensor) -> ShareScore:
    """Return the mean over the classes of how many of each were told; the chance level is one by the classes present.

    The interval is that of a share counted over as many images as would vary as much, at the same share in each class.

    Args:
        result: of an attack that guesses the class of each image.
        labels: int64 ``[N]``.

    Raises:
        InputShapeError: there are not as many labels as guesses.
    """
    right = _require_same(result.guesses, labels, "labels")
    _, present, counts = labels.to(right.device).unique(return_inverse=True, return_counts=True)
    share = _mean(present.bincount(weights=right.double()) / counts)
    effective = len(counts) ** 2 / float((1 / counts.double()).sum())
    interval = wilson(share, max(1, round(effective)))
    return ShareScore(result.level, result.cost, share, *interval, 1 / len(counts), len(right))


def examiner_score(
    examiner: DNNExaminer,
    images: Tensor | AttackResult,
    labels: Tensor,
    baseline: float | None = None,
    *,
    scale: int | None = None,
) -> ExaminerScore:
    """Show disguised or rebuilt images to an examiner and count what it recognises.

    Args:
        examiner: trained on original images.
        images: ``[N, C, H, W]``; or the result of an attack that rebuilds images, whose level and cost the score then
            carries: the examiner stands for an eye and is not counted.
        labels: int64 ``[N]``, the true classes.
        baseline: accuracy of the examiner on original images of the same kind, that it was not trained on.
        scale: of floating-point images, see :meth:`DNNExaminer.predict`.

    Raises:
        InputRangeError: the baseline is no share above 0.
        InputShapeError: images or labels do not fit.
        ModelError: the examiner has not been trained.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section V-B.
    """
    if baseline is not None and not 0 < baseline <= 1:
        raise InputRangeError(f"baseline is a share above 0 and up to 1, not {baseline!r}")
    seen = examiner.predict(images if isinstance(images, Tensor) else images_of(images), scale=scale)
    score = score_classes(seen, labels)
    known = seen if isinstance(images, Tensor) else images
    return ExaminerScore(
        known.level,
        known.cost,
        score.accuracy,
        score.low,
        score.high,
        score.chance,
        score.count,
        baseline,
        None if baseline is None else score.accuracy / baseline,
    )


def score_permutation(result: PermutationResult, order: Tensor) -> ShareScore:
    """Count the places at which the right block was found; the chance level is that of a random order.

    The interval takes places for independent, which they are not quite: each block lies at one place only.

    Args:
        result: of an attack that recovers an order of blocks.
        order: int64 ``[positions]``, the original block at each place, as a permutation key's ``order``.

    Raises:
        InputShapeError: the order has another length than the guesses.
    """
    return _share(result, _require_same(result.guesses, order, "places of the order"), 1 / len(order))


def score_linkage(
    result: LinkageResult,
    truth: Tensor,
    k: int | Sequence[int] | None = None,
    *,
    candidates: int | None = None,
    identities: Tensor | None = None,
) -> LinkageScore:
    """Count the known images whose own disguised image is among the first guesses.

    The chance level is the best that naming the same ``k`` candidates for every known image gives.

    Args:
        result: of an attack that links known images to disguised ones.
        truth: int64 ``[N]``: for each known image, the index of its disguised one.
        k: how many guesses to look at, one number or several; 1, 5 and 10 as far as there are guesses when ``None``.
        candidates: how many disguised images the attack chose from, for the chance level; when ``None``, as many as
            there are known ones, or more if an index says so.
        identities: int64 ``[candidates]``: equal numbers for disguised images whose plain ones are equal, so that any
            of them is right; each is an image of its own when ``None``.

    Raises:
        InputShapeError: the truth does not fit the guesses, or the identities the candidates.
        InputRangeError: there are fewer than ``k`` guesses, or fewer candidates than an index says.
    """
    guesses = result.guesses
    if truth.shape != guesses.shape[:1] or not len(truth):
        raise InputShapeError(
            f"a true index for each of {len(guesses)} known images is needed, not {list(truth.shape)}"
        )
    least = 1 + int(max(guesses.max(), truth.max()))
    candidates = max(least, len(truth)) if candidates is None else candidates
    if candidates < least:
        raise InputRangeError(f"there is an index {least - 1}, so there are at least {least} candidates")
    wanted = _numbers(k, guesses.shape[1])
    same = torch.arange(candidates) if identities is None else identities.cpu()
    if same.shape != (candidates,):
        raise InputShapeError(f"an identity for each of {candidates} candidates is needed, not {list(same.shape)}")
    hits = same[guesses.cpu()] == same[truth.cpu()][:, None]
    shares = tuple(_mean(hits[:, :each].any(1)) for each in wanted)
    low, high = zip(*(wilson(share, len(truth)) for share in shares), strict=True)
    frequent = same.unique(return_counts=True)[1].sort(descending=True).values
    chance = tuple(int(frequent[:each].sum()) / candidates for each in wanted)
    return LinkageScore(result.level, result.cost, wanted, shares, low, high, chance, len(truth), candidates)


def images_of(result: AttackResult) -> Tensor:
    """Return the images that an attack has rebuilt."""
    images = getattr(result, "images", None)
    if not isinstance(images, Tensor):
        raise InputTypeError(f"a result with rebuilt images is needed; {type(result).__name__} has none")
    return images


def _numbers(k: int | Sequence[int] | None, guesses: int) -> tuple[int, ...]:
    """Return the numbers of guesses to look at."""
    if k is None:
        return tuple(each for each in _SHOWN if each <= guesses)
    wanted = (k,) if isinstance(k, int) else tuple(k)
    for each in wanted:
        require_count("k", each)
    if not wanted or max(wanted) > guesses:
        raise InputRangeError(f"k is one or more numbers of at most {guesses}, the guesses of each image, not {k}")
    return wanted


def _require_same(guesses: Tensor, truth: Tensor, name: str) -> Tensor:
    """Return which guesses are right."""
    if truth.shape != guesses.shape or not len(truth):
        raise InputShapeError(f"{len(guesses)} {name} are needed, one for each guess, not {list(truth.shape)}")
    return guesses == truth.to(guesses.device)


def _share(result: AttackResult, right: Tensor, chance: float) -> ShareScore:
    accuracy = _mean(right)
    return ShareScore(result.level, result.cost, accuracy, *wilson(accuracy, len(right)), chance, len(right))


def _mean(values: Tensor) -> float:
    return float(values.double().mean())


def _mean_of_the_others(images: Tensor) -> Tensor:
    """Return for each image the mean of all others, float32 in 0..1; of a single one, the image in middle grey."""
    white = 255 if images.dtype == torch.uint8 else 1
    if len(images) == 1:
        return torch.full_like(images, 0.5, dtype=torch.float32)
    total = images.sum(0, dtype=torch.float64) / white
    return ((total.float() - images.float() / white) / (len(images) - 1)).clamp(0, 1)
