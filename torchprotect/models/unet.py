"""A small U-Net."""

import itertools

import torch
from torch import Tensor, nn


class UNet(nn.Module):
    """A U-Net: convolutions at full size, half, quarter and so on, each with a skip connection on the way up.

    It has one convolution per level, where the original has two, and its output is as large as its input.

    Args:
        in_channels: channels of the images.
        out_channels: channels of the result.
        width: channels after the first layer; each halving doubles it.
        halvings: number of halvings; the image must be large enough for them, and odd sizes are rounded down.

    Shape: float ``[N, in_channels, H, W]`` to ``[N, out_channels, H, W]``.

    References:
        Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation (arXiv 1505.04597).
    """

    def __init__(self, in_channels: int, out_channels: int, *, width: int = 16, halvings: int = 2) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(halvings + 1)]
        self.down = nn.ModuleList(map(_layer, [in_channels, *widths[:-1]], widths))
        self.up = nn.ModuleList(_layer(low + high, high) for high, low in itertools.pairwise(widths))
        self.last = nn.Conv2d(width, out_channels, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the result, of the same height and width as the images."""
        passed = [self.down[0](images)]
        for layer in self.down[1:]:
            passed.append(layer(nn.functional.max_pool2d(passed[-1], 2)))
        read = passed.pop()
        for layer in reversed(self.up):
            beside = passed.pop()
            read = layer(torch.cat([nn.functional.interpolate(read, beside.shape[-2:]), beside], 1))
        result: Tensor = self.last(read)
        return result


def _layer(entering: int, leaving: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(entering, leaving, 3, padding=1, bias=False), nn.BatchNorm2d(leaving), nn.ReLU())
