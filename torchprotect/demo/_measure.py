"""How much a small network learns from a set of images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect.attacks.scores.intervals import wilson
from torchprotect.models import SmallAlexNet
from torchprotect.training import evaluate, fit

EPOCHS = 12


@dataclass(frozen=True)
class Row:
    """One line of the utility table.

    Attributes:
        name: what the images are.
        settings: how they were disguised.
        folder: folder of their shards, below ``shards/``; empty for plain images.
        accuracy: share of right answers on the test images.
        low: lower end of its 95 % interval.
        high: upper end of its 95 % interval.
    """

    name: str
    settings: str
    folder: str
    accuracy: float
    low: float
    high: float


def measure(name: str, settings: str, folder: str, images: Tensor, labels: Tensor, test: Tensor) -> Row:
    """Train on the images outside the boolean mask ``test`` and measure the accuracy inside it."""
    pixels = images.float()
    mean, deviation = pixels[~test].mean(), pixels[~test].std().clamp_min(1e-6)
    pixels = ((pixels - mean) / deviation).contiguous(memory_format=torch.channels_last)  # a third faster on a CPU
    classes = int(labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # initial weights, batches and dropout: the same for each row
        model = SmallAlexNet(images.shape[1], classes, (images.shape[2], images.shape[3]))
        model = model.to(memory_format=torch.channels_last)
        fit(model, (pixels[~test], labels[~test]), epochs=EPOCHS)
    accuracy = evaluate(model, (pixels[test], labels[test]))
    return Row(name, settings, folder, accuracy, *wilson(accuracy, int(test.sum())))
