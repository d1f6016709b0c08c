"""Inference on answers that are asked for under other settings than those of the tables."""

from dataclasses import dataclass, replace

import torch
from owsd_bench import CLASSES, IMAGENET, Bench
from owsd_measures import Task, fit, split
from torch import Tensor

from torchprotect import owsd

TINY = 1e-10


@dataclass(frozen=True)
class Setting:
    """One way to scramble and to ask, as factors of what the scale has."""

    name: str
    side: float = 1
    cloud_size: float = 1
    calibrated: bool = True


@dataclass(frozen=True)
class Reading:
    """How the inference network reads answers: as probabilities or their logarithms, and its learning rate."""

    name: str
    logarithms: bool = False
    learning_rate: float = 1e-4


def under(bench: Bench, *, fold: int, setting: Setting, reading: Reading, keys: int, count: int) -> dict[str, float]:
    """Train the inference network on answers under the keys of some folds, the first of which is ``fold``."""
    encoder = bench.sizes.encoders[0]
    vectors = torch.cat([_ask(bench, number, setting, count) for number in range(fold, fold + keys)], 1)
    observed = owsd.Observations(
        bench.embeddings(encoder)[:count], vectors.clamp_min(TINY).log() if reading.logarithms else vectors
    )
    labels, settings = bench.confidential.labels[:count], owsd.InferenceSettings(learning_rate=reading.learning_rate)
    return fit(observed, labels, CLASSES, split(labels, Task(train=0.7), fold), fold, settings)


def _ask(bench: Bench, fold: int, setting: Setting, count: int) -> Tensor:
    """Return the cloud's answers under one key."""
    key = bench.key(fold, round(bench.sizes.key_size * setting.side), calibrated=setting.calibrated)
    side = round(bench.sizes.cloud_size * setting.cloud_size)
    cloud, embeddings = replace(bench.cloud(IMAGENET), size=(side, side)), bench.embeddings(bench.sizes.encoders[0])
    name = ("setting", side, key.fingerprint, count)
    return bench.kept.tensor(name, lambda: cloud(bench.scramble(embeddings[:count], key)))
