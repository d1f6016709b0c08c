"""Score guessed classes, with chance and the result on plain images."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from torchprotect.attacks.measures import Measure
from torchprotect.attacks.results import AttackResult, ClassGuesses, images_of
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.attacks.scores.shares import ShareScore, mean, require_guesses, right_guesses, share_score
from torchprotect.attacks.scores.truth import Score, Truth
from torchprotect.errors import InputRangeError, InputShapeError

_SHUFFLES = 10


@dataclass(frozen=True, eq=False, repr=False)
class ExaminerScore(ShareScore):
    """Accuracy of an examiner on disguised or rebuilt images.

    Attributes:
        baseline: accuracy of the same examiner on plain images; ``None`` if it was not given.
        success_rate: ``accuracy / baseline``, the paper's attack success rate, as a share. 1 means as good as on plain
            images; chance is not 0 but ``chance / baseline``. ``None`` without a baseline.
    """

    baseline: float | None
    success_rate: float | None


class Examiner(Protocol):
    """A judge of images, such as :class:`torchprotect.attacks.DNNExaminer`."""

    def predict(self, images: Tensor, *, scale: int | None = None) -> ClassGuesses:
        """Guess the class of each image."""


class ClassScores(NamedTuple):
    """Guesses scored per image, where rare classes count little, and per class, where all classes count alike."""

    accuracy: ShareScore
    balanced: ShareScore


def score_classes(result: ClassGuesses, labels: Tensor) -> ShareScore:
    """Compute the share of correctly guessed classes; chance is the share of the most frequent class.

    Args:
        result: result of an attack that guesses the class of each image.
        labels: int64 ``[N]``, the true classes.

    Raises:
        InputShapeError: there are not as many labels as guesses.
    """
    right = right_guesses(result.guesses, labels, "labels")
    return share_score(result, right, float(labels.unique(return_counts=True)[1].max()) / len(labels))


def score_balanced_classes(result: ClassGuesses, labels: Tensor) -> ShareScore:
    """Compute the balanced accuracy: the mean over the classes of the share guessed correctly.

    Chance is one divided by the number of classes present. The interval is that of a share counted over so many images
    that it would vary as much, with the same share in each class.

    Args:
        result: result of an attack that guesses the class of each image.
        labels: int64 ``[N]``, the true classes.

    Raises:
        InputShapeError: there are not as many labels as guesses.
    """
    right = right_guesses(result.guesses, labels, "labels")
    _, present, counts = labels.to(right.device).unique(return_inverse=True, return_counts=True)
    share = mean(present.bincount(weights=right.double()) / counts)
    effective = len(counts) ** 2 / float((1 / counts.double()).sum())
    interval = wilson(share, max(1, round(effective)))
    return ShareScore(result.level, result.cost, share, *interval, 1 / len(counts), len(right))


def examiner_score(
    examiner: Examiner,
    images: Tensor | AttackResult,
    labels: Tensor,
    baseline: float | None = None,
    *,
    scale: int | None = None,
) -> ExaminerScore:
    """Compute the accuracy of an examiner on disguised or rebuilt images.

    Args:
        examiner: trained on plain images.
        images: ``[N, C, H, W]``; or the result of an attack that rebuilds images. The score then carries that attack's
            level and cost: the examiner stands for a human eye and is not counted.
        labels: int64 ``[N]``, the true classes.
        baseline: accuracy of the examiner on plain images of the same kind that it was not trained on.
        scale: scale of floating-point images, see :meth:`DNNExaminer.predict`.

    Raises:
        InputRangeError: the baseline is not a share above 0.
        InputShapeError: images or labels do not fit.
        ModelError: the examiner has not been trained.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section V-B.
    """
    if baseline is not None and not 0 < baseline <= 1:
        raise InputRangeError(f"baseline must be a share above 0 and up to 1, got {baseline!r}")
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


def class_measures(result: ClassGuesses, truth: Truth, whose: str = "") -> tuple[Measure, ...]:
    """Return the accuracy and the balanced accuracy of guessed classes.

    Args:
        result: guesses for the first images that the truth is about.
        truth: with labels.
        whose: a possessive that says whose guesses they are, if not the attacker's.
    """
    count = len(result.guesses)
    scores = _scores(result, truth)
    bounds = ((None, None),) * 2 if truth.on_plain is None else truth.on_plain(count)
    names = (" ".join(filter(None, (whose, name))) for name in ("class accuracy", "balanced class accuracy"))
    return tuple(
        Measure(
            name, score.accuracy, score.low, score.high, score.chance, upper, upper_by=by, count=trials, about="class"
        )
        for name, score, (upper, by), trials in zip(names, scores, bounds, (count, None), strict=True)
    )


def score_both_ways(result: ClassGuesses, labels: Tensor) -> ClassScores:
    """Score guesses per image and per class."""
    return ClassScores(score_classes(result, labels), score_balanced_classes(result, labels))


def best_renaming(guesses: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Rename guessed classes one to one so that as many as possible agree with the labels.

    Args:
        guesses: int64 ``[N]``, 0..classes - 1.
        labels: int64 ``[N]``, 0..classes - 1.
        classes: number of classes.
    """
    from scipy.optimize import linear_sum_assignment

    together = torch.bincount(guesses * classes + labels, minlength=classes * classes).reshape(classes, classes)
    _, renamed = linear_sum_assignment(together.cpu().numpy(), maximize=True)
    return torch.as_tensor(renamed, device=guesses.device)[guesses]


def _scores(result: ClassGuesses, truth: Truth) -> ClassScores:
    """Score guessed classes; if their plain names are unknown, under the best renaming."""
    if truth.labels is None:
        raise InputShapeError("guessed classes cannot be scored: there are no labels")
    labels = truth.labels[: len(result.guesses)].to(result.guesses.device)
    if not truth.renamed:
        return score_both_ways(result, labels)
    found, chances = _score_renamed(result, labels, truth.classes), _chances(result, labels, truth)
    return ClassScores(*(replace(score, chance=chance) for score, chance in zip(found, chances, strict=True)))


def _score_renamed(result: ClassGuesses, labels: Tensor, classes: int) -> ClassScores:
    return score_both_ways(replace(result, guesses=best_renaming(result.guesses, labels, classes)), labels)


def _chances(result: ClassGuesses, labels: Tensor, truth: Truth) -> list[float]:
    """Return the score of the guesses in random order, because the best renaming finds some agreement in anything."""
    generator = truth.generator("shuffled guesses")
    drawn = [torch.randperm(len(labels), generator=generator).to(labels.device) for _ in range(_SHUFFLES)]
    shuffled = [replace(result, guesses=result.guesses[order]) for order in drawn]
    scores = [_score_renamed(each, labels, truth.classes) for each in shuffled]
    return [sum(each[index].accuracy for each in scores) / _SHUFFLES for index in range(2)]


def _guessed(result: ClassGuesses, truth: Truth) -> tuple[Measure, ...]:
    """Score a guess for every image."""
    if truth.labels is not None:
        require_guesses(result.guesses, (len(truth.labels),), truth.classes, "classes, one for each disguised image,")
    return class_measures(result, truth)


CLASSES = Score(("labels",), _guessed, ClassGuesses)
"""Scores :class:`~torchprotect.attacks.ClassGuesses`, one guess for each of ``seen.disguised``: accuracy and
balanced accuracy. Chance is always answering with the most frequent class; the upper bound is the best accuracy on
plain images."""
