"""Score rebuilt images: similarity to the true ones, and what can be recognised in them."""

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from torchprotect.attacks._inputs import require_images
from torchprotect.attacks.images import shrink
from torchprotect.attacks.measures import Measure
from torchprotect.attacks.quality import psnr, rmse, ssim
from torchprotect.attacks.results import AttackResult, Reconstruction, images_of
from torchprotect.attacks.scores.classes import class_measures
from torchprotect.attacks.scores.identities import most_frequent
from torchprotect.attacks.scores.intervals import around_mean, wilson
from torchprotect.attacks.scores.shares import mean
from torchprotect.attacks.scores.truth import Score, Truth
from torchprotect.errors import InputShapeError

EXACT = 100.0
"""PSNR in dB assigned to an image that is rebuilt to the last bit, because infinity has no mean."""

Rebuilt = TypeVar("Rebuilt", bound=Reconstruction)

_ROUNDING = 1e-6  # of squared distances in grey levels: those of images of whole grey levels differ by 1 at least


@dataclass(frozen=True, eq=False, repr=False)
class ReconstructionScore(AttackResult):
    """How close rebuilt images are to the true ones, with the level and cost of the attack.

    The chance level is reached by guessing, for every image, the mean of all other true images (middle grey for a
    single image). Intervals are 95 % intervals of the means, by the normal approximation.

    Attributes:
        rmse: float32 ``[N]``, root mean squared difference in grey levels of 0..255; 0 for an exact image.
        psnr: float32 ``[N]``, in dB; infinite for an exact image.
        ssim: float32 ``[N]``, structural similarity, -1..1; 1 for an exact image.
        mean_rmse: mean over all images.
        mean_psnr: mean over all images; infinite as soon as one image is exact, and then without an interval (NaN).
        mean_ssim: mean over all images.
        rmse_interval: of ``mean_rmse``.
        psnr_interval: of ``mean_psnr``.
        ssim_interval: of ``mean_ssim``.
        rmse_chance: chance level of ``mean_rmse``; smaller is better.
        psnr_chance: chance level of ``mean_psnr``.
        ssim_chance: chance level of ``mean_ssim``.
        exact: share of images that are rebuilt to the last bit.
    """

    rmse: Tensor
    psnr: Tensor
    ssim: Tensor
    mean_rmse: float
    mean_psnr: float
    mean_ssim: float
    rmse_interval: tuple[float, float]
    psnr_interval: tuple[float, float]
    ssim_interval: tuple[float, float]
    rmse_chance: float
    psnr_chance: float
    ssim_chance: float
    exact: float


def score_reconstruction(result: AttackResult, truth: Tensor) -> ReconstructionScore:
    """Compare rebuilt images with the true ones.

    Args:
        result: result of an attack that rebuilds images, with a field ``images``.
        truth: ``[N, C, H, W]``, uint8 or floating point in 0..1.

    Raises:
        InputTypeError: the result has no images, or images or truth are neither uint8 nor floating point.
        InputShapeError: truth and images do not fit together.
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
        mean_rmse=mean(errors),
        mean_psnr=mean(signals),
        mean_ssim=mean(likeness),
        rmse_interval=around_mean(errors),
        psnr_interval=around_mean(signals),
        ssim_interval=around_mean(likeness),
        rmse_chance=mean(rmse(guess, truth)),
        psnr_chance=mean(psnr(guess, truth)),
        ssim_chance=mean(ssim(guess, truth)),
        exact=mean(errors == 0),
    )


def picture_measures(result: AttackResult, truth: Truth) -> tuple[Measure, ...]:
    """Return what rebuilt images reveal: their class, which image they are, PSNR and SSIM.

    Args:
        result: with ``images``, of the first ones that the truth is about.
        truth: with plain images and identities; with an examiner and labels, the class is scored too.
    """
    images = images_of(result)
    plain, identities = truth.images, truth.identities
    if plain is None or identities is None:
        missing = "images" if plain is None else "identities"
        raise InputShapeError(f"rebuilt images cannot be scored: the truth has no {missing}")
    require_images("rebuilt images", images)
    if images.shape != plain.shape:
        raise InputShapeError(f"rebuilt images must be {list(plain.shape)} like the targets, got {list(images.shape)}")
    classes: tuple[Measure, ...] = ()
    if truth.examiner is not None and truth.labels is not None:
        classes = class_measures(truth.examiner(images), truth, "examiner's")
    identity = _identity_measure(images, plain, identities[: len(images)])
    score = score_reconstruction(Reconstruction(result.level, result.cost, images), plain)
    signals, chance = score.psnr.clamp(max=EXACT), min(EXACT, score.psnr_chance)
    signal = Measure(
        "PSNR", float(signals.mean()), *around_mean(signals), chance, scaled=False, unit="dB", about="picture"
    )
    likeness = Measure(
        "SSIM",
        score.mean_ssim,
        *score.ssim_interval,
        score.ssim_chance,
        1.0,
        scaled=False,
        unit="index",
        about="picture",
    )
    return *classes, identity, signal, likeness


def _identity_measure(images: Tensor, plain: Tensor, identities: Tensor) -> Measure:
    """Return the share of rebuilt images to which no other plain image is nearer than their own.

    Equal plain images count as one. If several others are as near, they share the credit.

    Args:
        images: rebuilt, ``[N, C, H, W]``.
        plain: plain images, of the same shape.
        identities: equal numbers for equal plain images, int64 ``[N]``.
    """
    numbers, own = identities.unique(return_inverse=True)
    first = torch.full((len(numbers),), len(own)).scatter_reduce_(0, own, torch.arange(len(own)), "amin")
    squares = _squares(shrink(images), shrink(plain)[first.to(plain.device)]).cpu()
    tied = squares <= squares.min(1, keepdim=True).values + _ROUNDING
    credit = tied.gather(1, own[:, None])[:, 0] / tied.sum(1).clamp(min=1)
    share = float(credit.double().mean())
    return Measure(
        "re-identification@1",
        share,
        *wilson(share, len(own)),
        most_frequent(own),
        1.0,
        count=len(own),
        about="identity",
    )


def _squares(images: Tensor, others: Tensor) -> Tensor:
    """Return squared distances, float64 ``[N, M]``: exact for whole grey levels, so that ties are ties."""
    one, other = images.double(), others.double()
    return one.square().sum(1)[:, None] + other.square().sum(1) - 2 * one @ other.T


def _mean_of_the_others(images: Tensor) -> Tensor:
    """Return for each image the mean of all others, float32 in 0..1; for a single image, middle grey."""
    white = 255 if images.dtype == torch.uint8 else 1
    if len(images) == 1:
        return torch.full_like(images, 0.5, dtype=torch.float32)
    total = images.sum(0, dtype=torch.float64) / white
    return ((total.float() - images.float() / white) / (len(images) - 1)).clamp(0, 1)


def up_to_mirror_image(result: Rebuilt, truth: Tensor) -> Rebuilt:
    """Mirror all images of a result left to right, if that brings them closer to the true ones.

    For attacks that determine pictures only up to a mirror image of the whole set: one look at a picture settles it.

    Args:
        result: with ``images``.
        truth: ``[N, C, H, W]``, uint8 or floating point in 0..1.

    Raises:
        InputTypeError: images or truth are neither uint8 nor floating point.
        InputShapeError: truth and images do not fit together.
    """
    images = images_of(result)
    truth = truth.to(images.device)
    mirrored = images.flip(-1)
    if float(rmse(mirrored, truth).square().mean()) < float(rmse(images, truth).square().mean()):
        return replace(result, images=mirrored)
    return result


def _mirrored_if_nearer(result: Reconstruction, truth: Truth) -> Reconstruction:
    if truth.images is None or result.images.shape != truth.images.shape:
        return result
    return up_to_mirror_image(result, truth.images)


PICTURES = Score(("images", "identities"), picture_measures)
"""Scores a result with ``images``, one for each of ``seen.target``: the share of rebuilt images that are nearer to
their own original than to any other, PSNR and SSIM; with labels also the accuracy of an examiner on the rebuilt
images."""

PICTURES_UP_TO_MIRROR = Score(("images", "identities"), picture_measures, Reconstruction, _mirrored_if_nearer)
"""Scores a :class:`~torchprotect.attacks.Reconstruction` like :data:`PICTURES`, after mirroring all images left to
right if that brings them nearer to their originals. One look at a picture would settle it."""
