"""Splits of the confidential images, and inference networks trained on one part and counted on the other."""

import hashlib
import statistics
from typing import NamedTuple

import scipy.stats
import torch
from owsd_world import World
from torch import Tensor

from torchprotect import owsd

DEFAULT = owsd.InferenceSettings()
COLUMNS = ["top-1", "±", "top-5", "embedding only: top-1", "top-5", "p", "cloud only: top-1", "top-5"]
"""Of a table; the ablations always come along. ``p``: of a paired t-test over runs, that answers add to embeddings."""


class Split(NamedTuple):
    """Indices of training and of test images."""

    train: Tensor
    test: Tensor


class Runs:
    """Right labels in percent, a number for each run, by what the network was given and by guesses."""

    def __init__(self, numbers: list[dict[str, float]]) -> None:
        self.numbers = numbers

    def mean(self, inputs: str = "both", top: int = 1) -> float:
        """Return the mean over runs; inputs are those of :data:`torchprotect.owsd.inference.INPUTS`."""
        return statistics.fmean(each[f"{inputs} {top}"] for each in self.numbers)

    def spread(self, inputs: str = "both") -> float | None:
        """Return the standard deviation over runs, of the first guess."""
        each = [run[f"{inputs} 1"] for run in self.numbers]
        return statistics.stdev(each) if len(each) > 1 else None

    def above(self, other: "Runs", inputs: str = "both", others: str = "both") -> float:
        """Return p of a paired t-test over runs for no gain over other runs; the splits overlap, so p is too low."""
        gains = [a[f"{inputs} 1"] - b[f"{others} 1"] for a, b in zip(self.numbers, other.numbers, strict=True)]
        if len(set(gains)) < 2:
            return 0.0 if gains[0] > 0 else 1.0
        return float(scipy.stats.ttest_1samp(gains, 0, alternative="greater").pvalue)

    @property
    def adds(self) -> float:
        """p for the cloud's answer adding nothing to the embedding."""
        return self.above(self, others="embedding")

    def cells(self, classes: int) -> list[str | float | None]:
        """Return what stands in a row, for :data:`COLUMNS`; five guesses of five labels are always right."""
        fives = [self.mean(inputs, 5) if classes > 5 else None for inputs in ("both", "embedding", "cloud")]
        both, embedding, cloud = (self.mean(inputs) for inputs in ("both", "embedding", "cloud"))
        return [both, self.spread(), fives[0], embedding, fives[1], shown(self.adds), cloud, fives[2]]


def shown(p: float) -> str:
    """Write a p with the digits it has."""
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"


def split_by_share(labels: Tensor, share: float, run: int) -> Split:
    """Draw a share of the images of each label for training; the others are for testing."""
    train, test = [], []
    for label in labels.unique().tolist():
        mixed = _mixed(labels, label, run)
        cut = round(len(mixed) * share)
        train.append(mixed[:cut])
        test.append(mixed[cut:])
    return Split(torch.cat(train), torch.cat(test))


def split_by_count(labels: Tensor, train: int, test: int, run: int) -> Split:
    """Draw as many images of each label for training; the test images do not depend on how many."""
    parts = [_mixed(labels, label, run) for label in labels.unique().tolist()]
    return Split(torch.cat([part[test : test + train] for part in parts]), torch.cat([part[:test] for part in parts]))


def infer(
    world: World,
    observed: owsd.Observations,
    labels: Tensor,
    classes: int,
    splits: list[Split],
    settings: owsd.InferenceSettings = DEFAULT,
) -> Runs:
    """Train inference networks on each split, by default with the package's settings, and count; kept on disk."""

    def once(run: int, split: Split) -> dict[str, float]:
        generator = torch.Generator().manual_seed(run)
        seen, known = observed[split.train], labels[split.train]
        fitted = owsd.Inference.fit(seen, known, classes=classes, settings=settings, generator=generator)
        found = fitted.evaluate(observed[split.test], labels[split.test])
        tops = ((1, found.top1), (5, found.top5))
        return {f"{inputs} {top}": 100 * share for top, shares in tops for inputs, share in shares.items()}

    runs = []
    for run, split in enumerate(splits):
        told = _digest(observed.embeddings, observed.vectors, labels, *split)
        name = ("fit", told, classes, run, *(() if settings == DEFAULT else (repr(settings),)))
        runs.append(world.kept.numbers(name, lambda run=run, split=split: once(run, split)))
    return Runs(runs)


def right(vectors: Tensor, labels: Tensor, top: int = 1) -> float:
    """Return how often the label is among the first guesses of a cloud, in percent."""
    return 100 * float((vectors.topk(top, 1).indices == labels[:, None]).any(1).double().mean())


def _mixed(labels: Tensor, label: int, run: int) -> Tensor:
    found = (labels == label).nonzero()[:, 0]
    return found[torch.randperm(len(found), generator=torch.Generator().manual_seed(1000 * run + label))]


def _digest(*tensors: Tensor) -> str:
    told = hashlib.sha256()
    for tensor in tensors:
        told.update(f"{tensor.dtype} {list(tensor.shape)}".encode() + tensor.contiguous().numpy().tobytes())
    return told.hexdigest()
