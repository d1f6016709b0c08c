"""Recipes to train networks with."""

from collections.abc import Iterator

import torch
from common.images import Images
from torch import Tensor, nn

from torchprotect import training


class Augmented:
    """Batches of a set, shuffled anew each epoch; colour images are shifted by up to an eighth and mirrored."""

    def __init__(self, images: Images, batch: int) -> None:
        self.images, self.batch = images, batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part in torch.randperm(len(self.images.labels)).split(self.batch):
            batch = self.images.images[part].float() / 255
            yield (self._moved(batch) if batch.shape[1] == 3 else batch), self.images.labels[part]

    def _moved(self, batch: Tensor) -> Tensor:
        count, _, height, width = batch.shape
        margin = height // 8
        padded = nn.functional.pad(batch, (margin,) * 4)
        rows = torch.randint(0, 2 * margin + 1, (count, 1)) + torch.arange(height)
        columns = torch.randint(0, 2 * margin + 1, (count, 1)) + torch.arange(width)
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
        each = torch.arange(count)[:, None, None]
        return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def fit(model: nn.Module, images: Images, recipe: str, epochs: int) -> None:
    """Train by a recipe: ``"adamw"`` is that of :func:`torchprotect.training.fit`, ``"sgd"`` the paper's."""
    if recipe == "adamw":
        training.fit(model, Augmented(images, 64), epochs=epochs)
        return
    device = next(model.parameters()).device
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [100, 150, 200], 0.1)
    for _ in range(epochs):
        model.train()
        for part, labels in Augmented(images, 128):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(part.to(device)), labels.to(device)).backward()
            optimizer.step()
        schedule.step()
    model.eval()
