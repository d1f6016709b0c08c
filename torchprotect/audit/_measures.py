"""From results and the truth to measures, each with its chance level and upper bound."""

import torch
from torch import Tensor, nn

from torchprotect import attacks
from torchprotect.attacks._interval import around_mean, wilson
from torchprotect.attacks._result import (
    AttackResult,
    ClassGuesses,
    LinkageResult,
    PermutationResult,
    Reconstruction,
)
from torchprotect.audit._bench import Bench
from torchprotect.audit._finding import Measure

_EXACT = 100.0  # dB, of an image rebuilt to the last bit: infinity has no mean
_SIDE = 32  # images are compared at this size at most


def of_classes(bench: Bench, result: ClassGuesses, indices: Tensor, metric: str = "class accuracy") -> Measure:
    """Return the share of images whose class was guessed; the upper bound is the examiner's on plain images."""
    score = bench.score_classes(result, indices)
    return Measure(metric, score.accuracy, score.low, score.high, score.chance, bench.clean_accuracy)


def of_linkage(result: LinkageResult, truth: Tensor, candidates: int) -> tuple[Measure, ...]:
    """Return the share of known images that are found among the disguised ones at the first guess, and at more."""
    score = attacks.score_linkage(result, truth, candidates=candidates)
    rows = zip(score.k, score.shares, score.low, score.high, score.chance, strict=True)
    return tuple(
        Measure(f"re-identification@{k}", share, low, high, chance, 1.0 if k == 1 else None)
        for k, share, low, high, chance in rows
    )


def of_permutation(result: PermutationResult, order: Tensor) -> Measure:
    """Return the share of places at which the right block was found."""
    score = attacks.score_permutation(result, order)
    return Measure("blocks at their right place", score.accuracy, score.low, score.high, score.chance, 1.0)


def of_images(bench: Bench, result: AttackResult, indices: Tensor) -> tuple[Measure, ...]:
    """Return what rebuilt images still say: their class, which image they are, PSNR and SSIM."""
    assert isinstance(getattr(result, "images", None), Tensor)  # noqa: S101 - the callers' results rebuild images
    images: Tensor = result.images  # type: ignore[attr-defined]
    truth = bench.truth(indices)
    found = [_of_identity(images, truth)]
    if bench.evidence.plain_labels is not None:
        found.insert(0, of_classes(bench, bench.look(images), indices, "examiner's class accuracy"))
    score = attacks.score_reconstruction(Reconstruction(result.level, result.cost, images), truth)
    signals = score.psnr.clamp(max=_EXACT)
    psnr = Measure("PSNR, dB", float(signals.mean()), *around_mean(signals), min(_EXACT, score.psnr_chance))
    return *found, psnr, Measure("SSIM", score.mean_ssim, *score.ssim_interval, score.ssim_chance)


def _of_identity(images: Tensor, truth: Tensor) -> Measure:
    """Return the share of rebuilt images to which no other plain image is nearer than their own."""
    distances = torch.cdist(_small(images), _small(truth))
    share = float((distances.diagonal() <= distances.min(1).values).double().mean())
    return Measure("re-identification@1", share, *wilson(share, len(images)), 1 / len(images), 1.0)


def _small(images: Tensor) -> Tensor:
    floats = images.float() / (255 if images.dtype == torch.uint8 else 1)
    size = min(_SIDE, images.shape[-2]), min(_SIDE, images.shape[-1])
    return nn.functional.adaptive_avg_pool2d(floats, size).flatten(1)
