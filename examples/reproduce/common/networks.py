"""Networks by name: small ones for two cores, and those of the paper."""

import functools
from collections.abc import Callable

import torch
import torchvision
from torch import nn

from common.densenet import densenet
from common.resnet9 import resnet9
from torchprotect.models import SmallAlexNet


def vgg(channels: int, classes: int, width: int = 32) -> nn.Module:
    """Seven convolutions in four stages, in the manner of VGG."""
    layers: list[nn.Module] = [nn.BatchNorm2d(channels, affine=False)]
    before = channels
    for stage, count in enumerate((2, 2, 2, 1)):
        after = width * 2**stage
        for _ in range(count):
            layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
            before = after
        layers.append(nn.MaxPool2d(2) if stage < 3 else nn.AdaptiveMaxPool2d(1))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(before, classes))


def small_vgg(channels: int, classes: int) -> nn.Module:
    """Six convolutions in three stages, in the manner of VGG."""

    def stage(before: int, after: int) -> list[nn.Module]:
        layers: list[nn.Module] = []
        for width in (before, after):
            layers += [nn.Conv2d(width, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
        return [*layers, nn.MaxPool2d(2)]

    layers = [*stage(channels, 24), *stage(24, 48), *stage(48, 96)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, classes))


class Residual(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(before),
            nn.ReLU(),
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
        )
        self.short_cut = nn.Conv2d(before, after, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add both ways."""
        total: torch.Tensor = self.body(x) + self.short_cut(x)
        return total


def small_resnet(channels: int, classes: int) -> nn.Module:
    """Four residual blocks, in the manner of a ResNet with pre-activation."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1, bias=False),
        Residual(16, 32, 2),
        Residual(32, 32, 1),
        Residual(32, 64, 2),
        Residual(64, 64, 1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def _torchvision_resnet(name: str, channels: int, classes: int) -> nn.Module:
    network = torchvision.models.get_model(name, num_classes=classes)
    network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)  # the usual stem for 32 x 32
    network.maxpool = nn.Identity()
    return network


def _torchvision_vgg(name: str, channels: int, classes: int) -> nn.Module:
    features = torchvision.models.get_model(name).features
    features[0] = nn.Conv2d(channels, 64, 3, padding=1)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def _pytorchcv(name: str, channels: int, classes: int) -> nn.Module:
    from pytorchcv.model_provider import get_model  # the extra `reproduce`

    network: nn.Module = get_model(name, in_channels=channels)
    network.features.final_pool = nn.AdaptiveAvgPool2d(1)  # the same at 32 x 32, and takes larger images
    network.output = nn.Linear(network.output.in_features, classes)  # the provider insists on 10 or 100
    return network


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    "resnet9": resnet9,  # these three reach about 90 percent on CIFAR-10 in ten epochs
    "vgg": vgg,
    "densenet": densenet,
    "small-vgg": small_vgg,
    "small-resnet": small_resnet,
    "resnet18": functools.partial(_torchvision_resnet, "resnet18"),
    "resnet50": functools.partial(_torchvision_resnet, "resnet50"),
    "vgg11": functools.partial(_torchvision_vgg, "vgg11_bn"),
    "vgg19": functools.partial(_torchvision_vgg, "vgg19_bn"),
    "preresnet20": functools.partial(_pytorchcv, "preresnet20_cifar10"),
    "preresnet110": functools.partial(_pytorchcv, "preresnet110_cifar10"),
    "densenet100bc": functools.partial(_pytorchcv, "densenet100_k12_bc_cifar10"),
}


def make_network(name: str, channels: int, classes: int, image_size: tuple[int, int]) -> nn.Module:
    """Make a network with fresh weights for images ``[N, channels, *image_size]`` in 0..1."""
    if name == "small-alexnet":
        return SmallAlexNet(channels, classes, image_size)
    return NETWORKS[name](channels, classes)
