"""Labelled images, read or drawn."""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Images(NamedTuple):
    """Images uint8 ``[N, C, H, W]`` and their labels int64 ``[N]``."""

    images: Tensor
    labels: Tensor

    def first(self, count: int) -> "Images":
        """Return the first of them."""
        return Images(self.images[:count], self.labels[:count])

    def of_labels(self, labels: range) -> "Images":
        """Return the images of some labels, which are counted from 0 again."""
        chosen = (self.labels >= labels.start) & (self.labels < labels.stop)
        return Images(self.images[chosen], self.labels[chosen] - labels.start)


def draw_images(labels: Tensor, classes: int, generator: torch.Generator) -> Images:
    """Draw images of 32 x 32 pixels whose classes differ in a coarse pattern."""
    patterns = torch.rand(classes, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(len(labels), 3, 32, 32, generator=generator)
    images = nn.functional.interpolate(patterns, scale_factor=8)[labels] * 0.6 + noise * 0.4
    return Images(images.mul(255).byte(), labels)


def test_split(source: str) -> str:
    """Name the test set that goes with a training set."""
    folder, slash, name = source.rpartition("/")
    return folder + slash + name.replace("train", "test") if ".tar" in name else f"{source}:test"


def without_folder(source: str) -> str:
    """Name a source without the folder it lies in."""
    kind, colon, _ = source.partition(":")
    return f"{kind}:ROOT" if colon else f"ROOT/{source.rstrip('/').rpartition('/')[2]}"
