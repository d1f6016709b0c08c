"""A U-Net that corrects rebuilt images."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchprotect.attacks._inputs import generator_on
from torchprotect.models import UNet

_IMAGES_AT_ONCE = 500  # bounds the memory


class Corrector:
    """A U-Net that adds a correction to images; the last tenth of the pairs determines how much of it is added.

    Args:
        images: float32 ``[N, C, H, W]``.
        truth: the correct images, of the same shape.
        generator: draws the initial weights.
    """

    def __init__(self, images: Tensor, truth: Tensor, generator: torch.Generator | None) -> None:
        self._mean, self._spread = truth.mean(0), float(truth.std()) or 1.0
        self._images, self._truth = self._scaled(images), self._scaled(truth)
        channels, *size = images.shape[1:]
        with torch.random.fork_rng(devices=[]):  # a new network draws weights, which are drawn again below
            self._network = UNet(channels, channels, width=12, halvings=min(2, min(size).bit_length() - 1))
        _draw_weights(self._network, generator)
        self._network.to(images.device)
        self._share = 0.0

    def train(
        self,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        generator: torch.Generator | None,
        progress: Callable[[int, int], None] | None,
    ) -> int:
        """Train, fit the share that is added, and return the number of training steps of one image."""
        count = len(self._images) - len(self._images) // 10
        optimizer = torch.optim.AdamW(self._network.parameters(), learning_rate)
        steps = epochs * -(-count // batch_size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=steps)
        self._network.train()
        for epoch in range(epochs):
            order = torch.randperm(count, generator=generator, device=device_of_draws(generator))
            for chosen in order.to(self._images.device).split(batch_size):
                optimizer.zero_grad(set_to_none=True)
                images = self._images[chosen]
                nn.functional.mse_loss(images + self._network(images), self._truth[chosen]).backward()
                optimizer.step()
                schedule.step()
            if progress is not None:
                progress(epoch + 1, epochs)
        self._network.eval()
        added = self._added(self._images[count:])
        lacking = self._truth[count:] - self._images[count:]
        # least squares; 0 if there is no correction at all
        self._share = float(((added * lacking).sum() / added.square().sum().clamp(min=1e-12)).clamp(0, 1))
        return epochs * count

    def __call__(self, images: Tensor) -> Tensor:
        """Return corrected images ``[N, C, H, W]``."""
        scaled = self._scaled(images)
        return (scaled + self._share * self._added(scaled)) * self._spread + self._mean

    def _scaled(self, images: Tensor) -> Tensor:
        return (images - self._mean) / self._spread

    @torch.no_grad()
    def _added(self, scaled: Tensor) -> Tensor:
        return torch.cat([self._network(part) for part in scaled.split(_IMAGES_AT_ONCE)])


def _draw_weights(network: UNet, generator: torch.Generator | None) -> None:
    draws = generator_on(torch.device("cpu"), generator)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, generator=draws)
    with torch.no_grad():
        for parameter in network.last.parameters():
            parameter.zero_()  # initially it adds nothing


def device_of_draws(generator: torch.Generator | None) -> torch.device:
    """Return the device that a generator draws on; torch's own draws on the CPU."""
    return torch.device("cpu") if generator is None else generator.device
