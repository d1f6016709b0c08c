"""Compare distances between released images with those between plain ones."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect.attacks._inputs import require_same_count, require_scrambled, require_vectors
from torchprotect.attacks.images import flat_pixels, shrink
from torchprotect.attacks.measures import Measure
from torchprotect.attacks.results import AttackResult, Level, ReleasedImages
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.attacks.scores.truth import Score, Truth
from torchprotect.errors import InputRangeError, InputShapeError

_SIDE = 16  # plain images are compared at this size


@dataclass(frozen=True, eq=False, repr=False)
class DistanceResult(AttackResult):
    """How well distances survive.

    Attributes:
        distance_correlation: of Székely, Rizzo and Bakirov, 0..1: 0 for independence, in the limit of many images.
        pearson: correlation of the distances themselves, -1..1.
        neighbours: share of images whose nearest neighbour is the same in both spaces; chance is 1 / (N - 1).
    """

    distance_correlation: float
    pearson: float
    neighbours: float


def distance_correlation(embeddings: Tensor, scrambled: Tensor) -> DistanceResult:
    """Compare distances between embeddings with those between scrambled images: how well an L0 attacker can cluster.

    This is a measure rather than an attack. It takes plain embeddings, which a cloud provider does not have, and shows
    how much the distances alone reveal to a provider that has only scrambled images (level L0). Random networks keep
    distances (Giryes et al.).

    Cost: ``comparisons``, N x N distances in both spaces.

    Args:
        embeddings: floating point ``[N, E]``, N at least 4.
        scrambled: uint8 ``[N, C, H, W]``, of the same images.

    References:
        Székely et al., Measuring and testing dependence by correlation of distances, 2007; Giryes et al., arXiv
        1504.08291.
    """
    require_vectors("embeddings", embeddings)
    require_scrambled("scrambled images", scrambled)
    require_same_count("embeddings", embeddings, "scrambled images", scrambled)
    if len(embeddings) < 4:
        raise InputRangeError(f"at least 4 images are needed to compare distances, not {len(embeddings)}")
    pixels = flat_pixels(scrambled).double()
    one, other = (torch.cdist(each, each) for each in (embeddings.double(), pixels))
    pair = torch.triu_indices(len(one), len(one), 1)
    pearson = torch.corrcoef(torch.stack([one[pair[0], pair[1]], other[pair[0], pair[1]]]))[0, 1]
    same = _nearest(one) == _nearest(other)
    return DistanceResult(
        Level.CIPHERTEXT_ONLY,
        {"comparisons": 2 * one.numel()},
        distance_correlation=_correlation(one, other),
        pearson=float(pearson),
        neighbours=float(same.double().mean()),
    )


def _correlation(one: Tensor, other: Tensor) -> float:
    a, b = _centred(one), _centred(other)
    covariance, spread = (a * b).mean(), ((a * a).mean() * (b * b).mean()).sqrt()
    return float((covariance / spread).clamp_min(0).sqrt()) if spread > 0 else 0.0


def _centred(distances: Tensor) -> Tensor:
    return distances - distances.mean(0) - distances.mean(1, keepdim=True) + distances.mean()


def _nearest(distances: Tensor) -> Tensor:
    return distances.clone().fill_diagonal_(float("inf")).argmin(1)


def _measures(result: ReleasedImages, truth: Truth, features: Callable[[Tensor], Tensor]) -> tuple[Measure, ...]:
    """Compare distances; chance is the result for randomly paired images, some of which correlate too."""
    if truth.images is None:
        raise InputShapeError("distances cannot be compared: there are no plain images")
    plain = features(truth.images[: len(result.released)])
    found = distance_correlation(plain, result.released)
    drawn = torch.randperm(len(plain), generator=truth.generator("distances")).to(plain.device)
    shuffled = distance_correlation(plain[drawn], result.released)
    correlations = (
        ("distance correlation", found.distance_correlation, shuffled.distance_correlation),
        ("correlation of the distances", found.pearson, shuffled.pearson),
    )
    measures = tuple(
        Measure(name, value, math.nan, math.nan, chance, unit="correlation", about="distances")
        for name, value, chance in correlations
    )
    near, count = found.neighbours, len(plain)
    neighbours = Measure(
        "same nearest neighbour", near, *wilson(near, count), 1 / (count - 1), count=count, about="distances"
    )
    return *measures, neighbours


def _of_pixels(result: ReleasedImages, truth: Truth) -> tuple[Measure, ...]:
    return _measures(result, truth, lambda images: shrink(images, _SIDE))


def _of_embeddings(result: ReleasedImages, truth: Truth) -> tuple[Measure, ...]:
    if truth.embed is None:
        raise InputShapeError("distances between embeddings need the encoder")
    return _measures(result, truth, truth.embed)


DISTANCES = Score(("images",), _of_pixels, ReleasedImages)
"""Scores :class:`~torchprotect.attacks.ReleasedImages`: how well their distances agree with those of plain images, by
pixels."""

EMBEDDED_DISTANCES = Score(("images", "embed"), _of_embeddings, ReleasedImages)
"""Scores :class:`~torchprotect.attacks.ReleasedImages`: how well their distances agree with those of plain images, by
embeddings."""
