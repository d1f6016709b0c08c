"""A ResNet of nine layers for small images, of any width."""

from torch import Tensor, nn


class Sum(nn.Module):
    """The input plus what layers make of it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Add both."""
        total: Tensor = x + self.layers(x)
        return total


class Scaled(nn.Module):
    """Scores times a constant, so that the first steps are not too large."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, scores: Tensor) -> Tensor:
        """Scale them."""
        return scores * self.factor


def resnet9(channels: int, classes: int, width: int = 32) -> nn.Module:
    """Return a network for images in 0..1; 1.6 million parameters at width 32, 6.6 at 64."""
    return nn.Sequential(
        nn.BatchNorm2d(channels, affine=False),  # standardises images inside the network, so that eps counts in pixels
        *_convolution(channels, width),
        *_convolution(width, 2 * width),
        nn.MaxPool2d(2),
        Sum(*_convolution(2 * width, 2 * width), *_convolution(2 * width, 2 * width)),
        *_convolution(2 * width, 4 * width),
        nn.MaxPool2d(2),
        *_convolution(4 * width, 8 * width),
        nn.MaxPool2d(2),
        Sum(*_convolution(8 * width, 8 * width), *_convolution(8 * width, 8 * width)),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(8 * width, classes, bias=False),
        Scaled(0.125),
    )


def _convolution(before: int, after: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
