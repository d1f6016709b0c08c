"""Encoders and clouds by name: EfficientNet-Lite, networks of torchvision and timm, and a small random one."""

import importlib
from typing import NamedTuple

import torch
import torchvision
from efficientnet_lite import MEAN, NAMES, STD, open_efficientnet_lite
from torch import Tensor, nn

Channels = tuple[float, float, float]


class Pretrained(NamedTuple):
    """A classifier, and how its images are normalised: mean and spread of pixels in 0..1."""

    network: nn.Module
    mean: Channels
    std: Channels


def open_network(name: str) -> Pretrained:
    """Return a classifier by name, in eval mode.

    Args:
        name: ``efficientnet-lite0`` to ``2``; a classifier of torchvision, such as ``resnet50``; ``timm:NAME``; or
            ``random:SEED``, a small network with random weights.
    """
    kind, _, rest = name.partition(":")
    if kind == "random":
        return _random(int(rest))
    if name in NAMES:
        return Pretrained(open_efficientnet_lite(name), (MEAN,) * 3, (STD,) * 3)
    opened = _timm(rest) if kind == "timm" else _torchvision(name)
    opened.network.eval()
    return opened


def _torchvision(name: str) -> Pretrained:
    try:
        weights = torchvision.models.get_model_weights(name).DEFAULT
    except (ValueError, AttributeError):
        raise SystemExit(
            f"torchvision has no classifier '{name}' with weights; see torchvision.models.list_models()"
        ) from None
    try:
        network = torchvision.models.get_model(name, weights=weights)
    except OSError as error:
        raise SystemExit(f"the weights of {name} are not on this machine and cannot be fetched: {error}") from None
    preset = weights.transforms()
    return Pretrained(network, tuple(preset.mean), tuple(preset.std))


def _timm(name: str) -> Pretrained:
    try:
        timm = importlib.import_module("timm")
    except ModuleNotFoundError:
        raise SystemExit("timm is not installed: pip install timm") from None
    try:
        network = timm.create_model(name, pretrained=True)
    except (RuntimeError, OSError) as error:
        raise SystemExit(f"timm cannot open {name} with weights: {error}") from None
    config = network.pretrained_cfg
    return Pretrained(network, tuple(config["mean"]), tuple(config["std"]))


def _random(seed: int) -> Pretrained:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 16, 5, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2), nn.ReLU()]
        network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 20))
    return Pretrained(network.eval(), (0.5,) * 3, (0.25,) * 3)


def last_layer(network: nn.Module) -> nn.Linear:
    """Return the layer of a classifier that makes scores of features."""
    return [module for module in network.modules() if isinstance(module, nn.Linear)][-1]


class Encoder(nn.Module):
    """What a classifier's last layer reads, of images in 0..1 that are resized and normalised first."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__()
        opened = open_network(name)
        self.network, self.size = opened.network, size
        self.register_buffer("mean", torch.tensor(opened.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(opened.std)[:, None, None])
        self._seen: list[Tensor] = []
        last_layer(self.network).register_forward_pre_hook(lambda module, inputs: self._seen.append(inputs[0]))

    def forward(self, images: Tensor) -> Tensor:
        """Return embeddings ``[N, E]``."""
        resized = nn.functional.interpolate(images, (self.size, self.size), mode="bilinear", antialias=True)
        self.network((resized - self.mean) / self.std)
        return self._seen.pop()
