"""Small networks that several tests use."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Function(nn.Module):
    """A module of one function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


class Tiny(nn.Module):
    """A classifier with all that train mode would change; it remembers how many images it was handed."""

    def __init__(
        self, channels: int = 3, size: tuple[int, int] = (8, 8), classes: int = 5, width: int = 4, seed: int = 0
    ) -> None:
        super().__init__()
        features = width * (size[0] - 2) * (size[1] - 2)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layers = [nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Dropout()]
            self.body = nn.Sequential(*layers, nn.Linear(features, classes))
        self.handed: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.handed.append(len(images))
        return 3 * self.body(images)


class LinearEncoder(nn.Module):
    """An encoder from images of so many pixels to 12 numbers from 0 up."""

    def __init__(self, seed: int = 0, pixels: int = 3 * 8 * 8) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(pixels, 12, generator=torch.Generator().manual_seed(seed)) / 8)

    def forward(self, images: Tensor) -> Tensor:
        return (images.flatten(1) @ self.weight).relu()


def make_net(dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Sequential:
    """Return a classifier of images ``[N, 2, 6, 6]`` into 4 classes, with batch norm and dropout; in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(6, 6, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, 4),
        )
        net[1].running_mean.uniform_(-0.1, 0.1)
        net[1].running_var.uniform_(0.05, 0.2)
    return net.to(dtype).eval()
