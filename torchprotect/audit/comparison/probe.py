"""A linear classifier on the features of a network pretrained on photographs, if one is installed."""

from functools import cached_property

import torch
from torch import Tensor, nn

from torchprotect.attacks.seeding import seeded
from torchprotect.audit.bench.pretrained import load_network
from torchprotect.training import Recipe, evaluate, fit

SIDE = 64  # pixels a side that the network is shown: few, for the time that it takes
_EPOCHS, _RECIPE, _AT_ONCE = 40, Recipe(learning_rate=5e-3), 128


class Probe:
    """Trains linear classifiers on the features of EfficientNet-Lite0, whose weights are frozen.

    Images are standardised channel by channel with the means and standard deviations of the training images, so that
    any range of values works; grey images are repeated in all three channels.

    Args:
        device: where it runs.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    @cached_property
    def _network(self) -> nn.Module:
        """The network without its last layer."""
        return load_network().to(self._device)

    def accuracy(
        self, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], classes: int, generator: torch.Generator
    ) -> float:
        """Train on images and labels, and return the share of right answers on others.

        Args:
            train: ``[N, C, H, W]`` of one or three channels, int64 ``[N]``.
            test: the same, of other images.
            classes: number of classes.
            generator: on the CPU; seeds weights and order.
        """
        pixels = train[0].float()
        mean, spread = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True).clamp_min(1e-3)
        features, tested = (self._features(images, mean, spread) for images, _ in (train, test))
        centre, scale = features.mean(0), features.std(0).clamp_min(1e-3)
        with seeded(torch.device("cpu"), generator):
            head = nn.Linear(features.shape[1], classes)
            fit(head, ((features - centre) / scale, train[1].cpu()), epochs=_EPOCHS, recipe=_RECIPE)
        return evaluate(head, ((tested - centre) / scale, test[1].cpu()))

    @torch.no_grad()
    def _features(self, images: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
        made = []
        for part in images.split(_AT_ONCE):
            shown = ((part.float() - mean) / spread).expand(-1, 3, -1, -1).to(self._device)
            shown = nn.functional.interpolate(shown, (SIDE, SIDE), mode="bilinear", antialias=True)
            made.append(self._network(shown.contiguous(memory_format=torch.channels_last)).cpu())
        return torch.cat(made)
