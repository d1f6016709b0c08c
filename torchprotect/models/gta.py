"""The four networks of Generate To Adapt, in a small version for digits and images of that size."""

import torch
from torch import Tensor, nn

from torchprotect.models._halving import halvings


class GTANetworks(nn.Module):
    """The networks of Generate To Adapt: an extractor with a classifier, and a generator with a discriminator.

    The latter two train the extractor on a new domain. The generator makes an image from an embedding, noise and a
    label, with one extra label for "no known class". The discriminator distinguishes real from generated images, and
    classifies them.

    Args:
        channels: channels of the images.
        classes: number of classes.
        image_size: ``(H, W)`` in pixels, both even.
        features: length of an embedding.
        width: channels of the first layers; each halving doubles it.
        noise: length of the noise.
        extractor: your own network instead of the small one: float ``[N, channels, H, W]`` in 0..1 to ``[N,
            features]``.

    Shape: float ``[N, channels, H, W]`` in 0..1 to scores ``[N, classes]``.

    References:
        Sankaranarayanan et al., Generate To Adapt: Aligning Domains using Generative Adversarial Networks, CVPR 2018.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        image_size: tuple[int, int],
        *,
        features: int = 128,
        width: int = 64,
        noise: int = 512,
        extractor: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.noise = classes, noise
        widths, base = halvings(image_size, width)
        self.extractor = extractor if extractor is not None else _extractor(channels, features, widths, base)
        self.classifier = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, classes))
        self.generator = _generator(features + noise + classes + 1, channels, widths, base)
        self.discriminator = GTADiscriminator(channels, classes, widths, base)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of all classes."""
        scores: Tensor = self.classifier(self.extractor(images))
        return scores

    def generate(self, embeddings: Tensor, labels: Tensor, noise: Tensor) -> Tensor:
        """Generate images, with pixels in -1..1.

        Args:
            embeddings: ``[N, features]``.
            labels: int64 ``[N]``; the number ``classes`` stands for an image of no known class.
            noise: ``[N, noise]``.
        """
        known = nn.functional.one_hot(labels, self.classes + 1).to(embeddings.dtype)
        code = torch.cat([embeddings, noise, known], 1)
        images: Tensor = self.generator(code[:, :, None, None])
        return images


class GTADiscriminator(nn.Module):
    """Distinguish real from generated images, and classify them.

    Args:
        channels: channels of the images.
        classes: number of classes.
        widths: channels of each layer; each halves the image.
        base: remaining ``(H, W)`` after all layers.

    Shape: float ``[N, channels, H, W]`` in -1..1 to scores ``[N]``, higher for real, and ``[N, classes]``.
    """

    def __init__(self, channels: int, classes: int, widths: list[int], base: tuple[int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for entering, leaving in zip([channels, *widths[:-1]], widths, strict=True):
            layers += [nn.Conv2d(entering, leaving, 4, 2, 1), nn.BatchNorm2d(leaving), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        size = widths[-1] * base[0] * base[1]
        self.real, self.kind = nn.Linear(size, 1), nn.Linear(size, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return how real the images look, and the scores of each class."""
        read = self.layers(images)
        return self.real(read)[:, 0], self.kind(read)


def _extractor(channels: int, features: int, widths: list[int], base: tuple[int, int]) -> nn.Module:
    layers: list[nn.Module] = []
    for entering, leaving in zip([channels, *widths[:-1]], widths, strict=True):
        layers += [nn.Conv2d(entering, leaving, 3, padding=1), nn.BatchNorm2d(leaving), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * base[0] * base[1], features), nn.ReLU())


def _generator(code: int, channels: int, widths: list[int], base: tuple[int, int]) -> nn.Module:
    layers: list[nn.Module] = [nn.ConvTranspose2d(code, widths[-1], base), nn.BatchNorm2d(widths[-1]), nn.ReLU()]
    for entering, leaving in zip(widths[:0:-1], widths[-2::-1], strict=True):
        layers += [nn.ConvTranspose2d(entering, leaving, 4, 2, 1), nn.BatchNorm2d(leaving), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[0], channels, 4, 2, 1), nn.Tanh())
