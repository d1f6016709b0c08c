"""A small DenseNet with bottlenecks and compression, in the manner of DenseNet-100bc."""

import torch
from torch import Tensor, nn


class Dense(nn.Module):
    """The input, and behind it what two convolutions make of it."""

    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.ReLU(),
            nn.Conv2d(before, 4 * growth, 1, bias=False),
            nn.BatchNorm2d(4 * growth),
            nn.ReLU(),
            nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Put both together."""
        return torch.cat([x, self.body(x)], 1)


def densenet(channels: int, classes: int, growth: int = 16, layers: int = 6) -> nn.Module:
    """Return a network for images in 0..1: three dense blocks of so many layers, from half the size on."""
    width = 2 * growth
    found: list[nn.Module] = [
        nn.BatchNorm2d(channels, affine=False),
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        nn.MaxPool2d(2),
    ]
    for block in range(3):
        if block:
            found += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
            width //= 2
        for _ in range(layers):
            found.append(Dense(width, growth))
            width += growth
    found += [nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)]
    return nn.Sequential(*found)
