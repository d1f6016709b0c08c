"""Table 6 and Figure 5 of "One Way Scrambling by Deconvolution": an autoencoder rebuilds plain images.

Once it reads the plain images themselves, once the scrambled ones, both brought to the same size; nine tenths are known
pairs. Mean squared error of pixels in 0..1, over the rest. "Mean image" is what always answering with the mean of the
known images gives. ``figure5.png`` has, from the top: plain images, rebuilt from plain, scrambled, rebuilt.

Usage: python owsd/table6.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import statistics

import torch
from fits import Split, split_by_share
from owsd_world import Table, World, read_world
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_pil_image
from torchvision.utils import make_grid

from torchprotect import attacks

PAPER = {"plain": (0.021, 0.004), "scrambled": (0.061, 0.001), "mean image": (None, None)}
RUNS, SHOWN, SCALE = 2, 12, 1000


def resized(images: Tensor, side: int) -> Tensor:
    """Bring uint8 images to a size."""
    floats = nn.functional.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    return floats.round().clamp(0, 255).byte()


def rebuild(world: World, seen: Tensor, split: Split, run: int) -> Tensor:
    """Run the attack; returns rebuilt test images."""
    return attacks.autoencoder_attack(
        world.confidential.images[split.train],
        seen[split.train],
        seen[split.test],
        epochs=world.scale.autoencoder_epochs,
        width=world.scale.autoencoder_width,
        generator=torch.Generator().manual_seed(run),
        device=world.device,
    ).images


def error(rebuilt: Tensor, truth: Tensor) -> float:
    """Return the mean squared error of pixels in 0..1, in thousandths."""
    return SCALE * float((rebuilt.double() - truth.double()).div(255).square().mean())


def main() -> None:
    """Make the table and the picture."""
    world = read_world(__doc__)
    plain, labels = world.confidential
    scrambled = world.scramble(world.embeddings(world.encoder), world.key)
    seen = {name: resized(each, world.scale.pixels) for name, each in (("plain", plain), ("scrambled", scrambled))}
    errors: dict[str, list[float]] = {name: [] for name in PAPER}
    pictures = {}
    for run in range(RUNS):
        split = split_by_share(labels, 0.9, run)
        for name, images in seen.items():
            pictures[name] = rebuild(world, images, split, run)
            errors[name].append(error(pictures[name], plain[split.test]))
        mean = plain[split.train].double().mean(0)
        errors["mean image"].append(error(mean.expand(len(split.test), -1, -1, -1), plain[split.test]))
    title = "Table 6: mean squared error of the autoencoder (L2), thousandths"
    table = Table(f"{title}, {len(split.train)} pairs", ["read", "ours", "±", "paper, 13500 pairs", "±"])
    for name, each in errors.items():
        paper = (None if number is None else SCALE * number for number in PAPER[name])
        table.row(name, statistics.fmean(each), statistics.stdev(each), *paper)
    known, hidden, mean = (statistics.fmean(each) for each in errors.values())
    table.direction("scrambled images are harder to rebuild (twice the error)", hidden > 2 * known)
    table.direction("rebuilt from scrambled ones, images are no better than the mean image", hidden >= mean)
    table.finish(world, "table6")
    side = plain.shape[-1]
    rows = [plain[split.test], pictures["plain"], resized(scrambled[split.test], side), pictures["scrambled"]]
    chosen = torch.linspace(0, len(split.test) - 1, SHOWN).long()  # test images are sorted by label
    shown = torch.cat([each[chosen] for each in rows]).repeat_interleave(2, -1).repeat_interleave(2, -2)
    to_pil_image(make_grid(shown, nrow=SHOWN, pad_value=255)).save(world.out / "figure5.png")


if __name__ == "__main__":
    main()
