"""The generator of DCGAN, and an encoder of mirrored structure."""

import torch
from torch import Tensor, nn

from torchprotect.models._halving import halvings


class DCGANGenerator(nn.Module):
    """Generate an image from an embedding by transposed convolutions, each of which doubles the size.

    Args:
        embedding_size: length of an embedding.
        image_size: ``(H, W)`` in pixels, both even.
        channels: channels of the images.
        width: channels before the last layer; each halving of the size doubles it.
        affine: whether batch normalisation has a learnable scale and shift.

    Shape: float ``[N, embedding_size]`` to float ``[N, channels, H, W]`` in 0..1.

    References:
        Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks.
    """

    def __init__(
        self,
        embedding_size: int,
        image_size: tuple[int, int],
        *,
        channels: int = 3,
        width: int = 32,
        affine: bool = True,
    ) -> None:
        super().__init__()
        widths, base = halvings(image_size, width)
        layers: list[nn.Module] = [nn.ConvTranspose2d(embedding_size, widths[-1], base, bias=False)]
        for entering, leaving in zip(widths[::-1], [*widths[-2::-1], channels], strict=True):
            layers += [nn.BatchNorm2d(entering, affine=affine), nn.ReLU()]
            layers += [nn.ConvTranspose2d(entering, leaving, 4, 2, 1, bias=False)]
        self.layers = nn.Sequential(*layers)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return images in 0..1."""
        made: Tensor = self.layers(embeddings[:, :, None, None])
        return (torch.tanh(made) + 1) / 2


class ResidualEncoder(nn.Module):
    """Encode an image: the discriminator of DCGAN with a residual block after each halving.

    Args:
        embedding_size: length of an embedding.
        image_size: ``(H, W)`` in pixels, both even.
        channels: channels of the images.
        width: channels after the first layer; each halving doubles it.

    Shape: float ``[N, channels, H, W]`` to float ``[N, embedding_size]``.

    References:
        Savransky et al., One Way Scrambling by Deconvolution, section 5.3.
    """

    def __init__(self, embedding_size: int, image_size: tuple[int, int], *, channels: int = 3, width: int = 32) -> None:
        super().__init__()
        widths, base = halvings(image_size, width)
        layers: list[nn.Module] = []
        for entering, leaving in zip([channels, *widths[:-1]], widths, strict=True):
            layers += [nn.Conv2d(entering, leaving, 4, 2, 1), nn.BatchNorm2d(leaving), nn.LeakyReLU(0.2)]
            layers += [_Residual(leaving)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * base[0] * base[1], embedding_size))

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings."""
        embeddings: Tensor = self.layers(images)
        return embeddings


class _Residual(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return the sum."""
        total: Tensor = features + self.path(features)
        return total
