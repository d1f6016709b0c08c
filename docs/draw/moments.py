"""Draw plain images of Fashion-MNIST, disguised, and rebuilt without any pair, for docs/explain/attacks/moments.md.

Usage: python docs/draw/moments.py ROOT. ROOT has FashionMNIST/raw. Keys are fresh in each run, so pixels will differ.
"""

import sys
import warnings
from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import make_grid, save_image

from torchprotect import attacks, data, keys, transforms
from torchprotect.errors import PixelScaleWarning

SIZES = {"image_size": (28, 28), "block_size": (7, 7)}
SHOWN, SCALE = 12, 2
OUT = Path(__file__).parents[1] / "images" / "moments.png"


def main() -> None:
    source = data.open_source(f"fashion-mnist:{sys.argv[1]}")
    images = torch.stack([source[index].image for index in range(10_000)])
    public, plain = images[:5_000], images[5_000:]
    key, order = keys.RMTKey.generate(**SIZES), keys.PermutationKey.generate(**SIZES)
    disguise = transforms.RMTDisguise(key, permutation=order, noise=100.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PixelScaleWarning)  # images stay on 0..255
        disguised = disguise(plain)
    found = attacks.match_moments(public, disguised, scheme=attacks.Scheme.of(disguise.describe()))
    rows = torch.cat([shown(each) for each in (plain, disguised.abs(), found.images)])
    save_image(
        make_grid(rows, nrow=SHOWN, padding=2, pad_value=0.5), Path(__file__).parents[1] / "images" / "moments.png"
    )


def shown(images: Tensor) -> Tensor:
    """Return the first images in 0..1, enlarged."""
    return (images[:SHOWN].float().clamp(0, 255) / 255).repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)


if __name__ == "__main__":
    main()
