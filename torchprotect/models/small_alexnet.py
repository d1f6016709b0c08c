"""A small network in the manner of AlexNet."""

import torch
from torch import Tensor, nn


class SmallAlexNet(nn.Module):
    """A small AlexNet with four convolutions and two dense layers, for images from 16 x 16 pixels.

    The first layer has a larger stride for larger images. The paper on image disguising trains "AlexNet" on 28 x 28
    images without naming its layers; absolute accuracies of this network differ from the paper's.

    Args:
        channels: channels of the images.
        classes: number of classes.
        image_size: ``(H, W)`` in pixels; sets the stride of the first layer.

    Shape: float ``[N, channels, H, W]`` to scores ``[N, classes]``.
    """

    def __init__(self, channels: int, classes: int, image_size: tuple[int, int]) -> None:
        super().__init__()
        stride = max(1, min(image_size) // 32)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, stride + 2, stride, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 96, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(96, 64, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(6),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(64 * 36, 256), nn.ReLU(), nn.Dropout(), nn.Linear(256, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of all classes."""
        scores: Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return scores
