"""How networks of the reproductions are trained, by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from common.images import Images
from torchprotect import training
from torchprotect.training import Recipe


@dataclass(frozen=True)
class Training:
    """A recipe with what surrounds it.

    Attributes:
        recipe: optimizer, learning rate and loss.
        batch: images of a step.
    """

    recipe: Recipe
    batch: int


TRAININGS = {
    "adamw": Training(Recipe(), 64),
    # ResNet-9 on CIFAR-10 in about ten epochs, in the manner of the field's fast recipes
    "one-cycle": Training(Recipe("sgd", 0.2, 5e-4, "one-cycle", label_smoothing=0.1), 256),
    "paper": Training(Recipe("sgd", 0.1, 1e-4, "steps"), 128),
}


class Augmented:
    """Batches of a set, shuffled anew each epoch; colour images are shifted by up to an eighth and mirrored.

    Args:
        images: all of them.
        batch: images of a step.
        device: where the images are kept and treated; what is drawn is drawn on the CPU.
    """

    def __init__(self, images: Images, batch: int, device: torch.device) -> None:
        self.images, self.batch = Images(*(part.to(device) for part in images)), batch

    def __len__(self) -> int:
        return -(-len(self.images.labels) // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part in torch.randperm(len(self.images.labels)).split(self.batch):
            chosen = part.to(self.images.labels.device)
            batch = self.images.images[chosen].float() / 255
            yield (_moved(batch) if batch.shape[1] == 3 else batch), self.images.labels[chosen]


def fit(model: nn.Module, images: Images, name: str, epochs: int, checkpoint: Path | None = None) -> nn.Module:
    """Train by one of :data:`TRAININGS`, in the precision that the device is fast in."""
    how, device = TRAININGS[name], training.device_of(model)
    return training.fit(
        model,
        Augmented(images, how.batch, device),
        epochs=epochs,
        recipe=how.recipe,
        precision=training.fast_precision(device),
        channels_last=True,
        checkpoint=checkpoint,
    )


def _moved(batch: Tensor) -> Tensor:
    count, _, height, width = batch.shape
    margin = height // 8
    padded = nn.functional.pad(batch, (margin,) * 4)
    rows = torch.randint(0, 2 * margin + 1, (count, 1)) + torch.arange(height)
    columns = torch.randint(0, 2 * margin + 1, (count, 1)) + torch.arange(width)
    columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    rows, columns = rows.to(batch.device), columns.to(batch.device)
    each = torch.arange(count, device=batch.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
