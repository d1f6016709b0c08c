"""Draw what attacks rebuild: clothes and photographs, from the best to the worst of 2,000 attacked images.

Usage: python docs/draw/attacks.py ROOT [NAME ...]. ROOT has FashionMNIST/raw and cifar10/*.tar.gz; NAME is a picture
below docs/images/attacks. Keys are fresh in each run, so pixels will differ.
"""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from torchprotect import attacks, data, keys, transforms
from torchprotect.attacks import Scheme
from torchprotect.errors import PixelScaleWarning

OUT = Path(__file__).parents[1] / "images" / "attacks"
KNOWN, ATTACKED = 5_000, 2_000
PAIRS = 20  # of plain and disguised images, for attackers who know pairs
INK = "#808080"  # readable on light pages and on dark ones
TITLES = ("best", "quarter", "median", "three quarters", "worst")


class View(NamedTuple):
    """Images of the attacker's and of the owner's; attacks take from it what their level allows."""

    known: Tensor
    plain: Tensor
    disguise: transforms.Disguise
    disguised: Tensor
    scheme: Scheme

    def pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Return known plain images and what they became."""
        return self.known[:count], disguise(self.disguise, self.known[:count])


def disguise(transform: transforms.Disguise, images: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PixelScaleWarning)  # images stay on 0..255
        return transform(images)


def rmt(size: dict[str, tuple[int, int]]) -> transforms.Disguise:
    bundle = keys.KeyBundle(keys.RMTKey.generate(**size), permutation=keys.PermutationKey.generate(**size))
    return transforms.from_key(bundle, noise=100.0)


def aes(size: dict[str, tuple[int, int]], unit_pixels: int = 16) -> transforms.Disguise:
    key = keys.AESKey.generate(image_size=size["image_size"], block_size=(4, 4))
    return transforms.AESECBDisguise(key, unit_pixels=unit_pixels)


def aes_in_pairs(size: dict[str, tuple[int, int]]) -> transforms.Disguise:
    """Disguise units of two pixels: few repeat in units of 16."""
    return aes(size, unit_pixels=2)


def permuted(size: dict[str, tuple[int, int]]) -> transforms.Disguise:
    return transforms.from_key(keys.PermutationKey.generate(**size))


def from_moments(view: View) -> Tensor:
    found = attacks.match_moments(view.known, view.disguised, scheme=view.scheme)
    return attacks.up_to_mirror_image(found, view.plain).images


def from_chain(view: View) -> Tensor:
    """The attacker knows 1,000 of the disguised images as plain ones, but not which is which."""
    known = view.known[:1_000]
    seen = disguise(view.disguise, known)[torch.randperm(len(known))]
    return attacks.chain_from_known_images(known, seen, view.disguised, scheme=view.scheme).images


def from_regression(view: View) -> Tensor:
    return attacks.regression_attack(*view.pairs(PAIRS), view.disguised, scheme=view.scheme).images


def from_codebook(view: View) -> Tensor:
    pairs = view.pairs(KNOWN)
    return attacks.codebook_attack(*pairs, view.disguised, scheme=view.scheme, fallback="most-likely").images


def from_rarity(view: View) -> Tensor:
    return attacks.rarity_regression(view.known, view.disguised, scheme=view.scheme).images


def from_permutation(view: View) -> Tensor:
    found = attacks.recover_permutation(*view.pairs(PAIRS), scheme=view.scheme)
    return torch.ops.torchprotect.block_permute(view.disguised, found.guesses.argsort(), view.scheme.block_size)


def from_jigsaw(view: View) -> Tensor:
    return attacks.jigsaw_attack(view.disguised, scheme=view.scheme).images


def from_network(view: View) -> Tensor:
    return attacks.reconstruction_attack(*view.pairs(2_000), view.disguised).images


PICTURES: dict[str, tuple[Callable[..., transforms.Disguise], Callable[[View], Tensor]]] = {
    "moments": (rmt, from_moments),
    "chains": (rmt, from_chain),
    "regression": (rmt, from_regression),
    "inversion": (rmt, from_network),
    "codebook": (aes_in_pairs, from_codebook),
    "rarity": (aes, from_rarity),
    "permutation": (permuted, from_permutation),
    "jigsaw": (permuted, from_jigsaw),
}


def read(root: str) -> dict[str, tuple[Tensor, dict[str, tuple[int, int]]]]:
    """Return images and the sizes of keys for clothes and photographs."""
    sources = {
        "clothes": (f"fashion-mnist:{root}", {"image_size": (28, 28), "block_size": (7, 7)}),
        "photographs": (f"{root}/cifar10/train-000000.tar.gz", {"image_size": (32, 32), "block_size": (8, 8)}),
    }
    more = f"{root}/cifar10/train-{{000000..000002}}.tar.gz"
    opened = {"clothes": data.open_source(sources["clothes"][0]), "photographs": data.open_source(more)}
    return {
        name: (torch.stack([opened[name][n].image for n in range(KNOWN + ATTACKED)]), sources[name][1])
        for name in opened
    }


def draw(name: str, sets: dict[str, tuple[Tensor, dict[str, tuple[int, int]]]]) -> None:
    """Draw one picture: three rows for each set, five attacked images from the best to the worst."""
    make, attack = PICTURES[name]
    figure, axes = plt.subplots(3 * len(sets), len(TITLES), figsize=(6, 7.6))
    for first, (images, size) in zip(range(0, len(axes), 3), sets.values(), strict=True):
        transform = make(size)
        plain = images[KNOWN:]
        seen = disguise(transform, plain)
        rebuilt = attack(View(images[:KNOWN], plain, transform, seen, Scheme.of(transform.describe())))
        rebuilt = rebuilt.float().clamp(0, 255)
        order = (rebuilt - plain).square().mean((1, 2, 3)).argsort()
        chosen = order[torch.linspace(0, len(order) - 1, len(TITLES)).long()].tolist()
        for row, pictures in zip(axes[first : first + 3], (plain, shown(seen), rebuilt), strict=True):
            for axis, index in zip(row, chosen, strict=True):
                axis.imshow(
                    pictures[index].squeeze(0).byte().numpy()
                    if pictures.shape[1] == 1
                    else pictures[index].permute(1, 2, 0).byte().numpy(),
                    cmap="gray",
                    vmin=0,
                    vmax=255,
                )
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
        for row, text in zip(axes[first : first + 3], ("plain", "disguised", "rebuilt"), strict=True):
            row[0].set_ylabel(text, color=INK)
    for axis, title in zip(axes[0], TITLES, strict=True):
        axis.set_title(title, fontsize=10, color=INK)
    figure.tight_layout(pad=0.4)
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / f"{name}.png", dpi=100, transparent=True)
    plt.close(figure)


def shown(images: Tensor) -> Tensor:
    """Return images on 0..255: real numbers beyond it are stretched, image by image."""
    low, high = (getattr(images.float().flatten(1), end)(1).values for end in ("min", "max"))
    low, high = low.clamp(max=0)[:, None, None, None], high.clamp(min=255)[:, None, None, None]
    return (images - low) * (255 / (high - low))


def main() -> None:
    torch.manual_seed(0)
    root, *names = sys.argv[1:]
    sets = read(root)
    for name in names or PICTURES:
        print(name, flush=True)
        draw(name, sets)


if __name__ == "__main__":
    main()
