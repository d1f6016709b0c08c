"""What public images alone give away under random matrices: pictures, the order of blocks, the renaming of classes.

Usage: OMP_NUM_THREADS=1 python benchmarks/moments.py ROOT [--keys K] [--out FILE]. ROOT has MNIST/raw,
FashionMNIST/raw and the gzipped shards cifar10/train-*.tar.gz.

Each cell draws public and disguised images, makes fresh keys with a secret order of blocks and a secret renaming of
classes, and runs `attacks.match_moments` on them. Root mean squared errors are means over images, in grey levels; for
pictures that came out mirrored, after they were mirrored back. Cells that the output file holds are not run again.
"""

import argparse
import functools
import json
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from _common import machine
from torch import Tensor

from torchprotect import attacks, data, keys, transforms
from torchprotect.errors import PixelScaleWarning

SETS = {
    "MNIST": ("mnist:{}", (7, 7)),
    "Fashion-MNIST": ("fashion-mnist:{}", (7, 7)),
    "CIFAR-10": ("{}/cifar10/train-{{000000..000008}}.tar.gz", (8, 8)),
}
LOADED = 16_000
DISGUISED = 5_000
MATRICES: tuple[dict[str, Any], ...] = (
    {},
    {"channels": 3},
    {"shared": True},
    {"matrix": "uniform"},
    {"matrix": "gaussian"},
)
Cell = dict[str, Any]


def cells() -> list[Cell]:
    """Return what is measured: noise, kinds of matrices, numbers of public images, public images of another kind."""
    found: list[Cell] = []
    for name in SETS:
        found += [{"set": name, "noise": noise, "public": 5_000} for noise in (0, 25, 50, 100, 200)]
        found += [
            {"set": name, "noise": 100, "public": 5_000, **options}
            for options in MATRICES[1:]
            if name == "CIFAR-10" or "channels" not in options
        ]
        found += [{"set": name, "noise": 100, "public": count} for count in (100, 300, 1_000, 3_000, 10_000)]
        found += [{"set": name, "noise": 0, "public": count} for count in (100, 300, 1_000)]
    found.append({"set": "MNIST", "noise": 100, "public": 5_000, "public set": "Fashion-MNIST"})
    found.append({"set": "Fashion-MNIST", "noise": 100, "public": 5_000, "public set": "MNIST"})
    return found


@functools.cache
def load(root: Path, name: str) -> tuple[Tensor, Tensor]:
    source = data.open_source(SETS[name][0].format(root))
    samples = [source[index] for index in range(LOADED)]
    return torch.stack([sample.image for sample in samples]), torch.tensor([sample.label for sample in samples])


def run(root: Path, cell: Cell, seed: int) -> Cell:
    """Attack one disguised set with fresh keys."""
    draws = torch.Generator().manual_seed(seed)
    images, labels = load(root, cell["set"])
    drawn = torch.randperm(len(images), generator=draws)
    attacked, others = drawn[:DISGUISED], drawn[DISGUISED:]
    public, public_labels = images[others], labels[others]
    if "public set" in cell:
        public, public_labels = load(root, cell["public set"])
    public, public_labels = public[: cell["public"]], public_labels[: cell["public"]]
    plain, size = images[attacked], (images.shape[2], images.shape[3])
    options = {name: cell[name] for name in ("channels", "shared", "matrix") if name in cell}
    key = keys.RMTKey.generate(image_size=size, block_size=SETS[cell["set"]][1], **options)
    order = keys.PermutationKey.generate(image_size=size, block_size=SETS[cell["set"]][1])
    renamed = keys.LabelKey.generate(classes=10).labels
    disguise = transforms.RMTDisguise(key, permutation=order, noise=float(cell["noise"]))
    torch.manual_seed(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PixelScaleWarning)  # images stay on 0..255
        disguised = disguise(plain)
        owner = transforms.RMTDisguise(key, permutation=order, inverse=True)(disguised) - cell["noise"] / 2
    scheme = attacks.Scheme.of(disguise.describe())
    start = time.process_time()
    found = attacks.match_moments(
        public,
        disguised,
        scheme=scheme,
        public_labels=public_labels,
        labels=renamed[labels[attacked]],
    )
    seconds = time.process_time() - start
    looked_at = attacks.up_to_mirror_image(found, plain)
    score = attacks.score_reconstruction(looked_at, plain)
    rows = (
        None if cell["noise"] or scheme.matrix != "orthogonal" else attacks.read_matrix_rows(disguised, scheme=scheme)
    )
    back = attacks.Reconstruction(attacks.Level.KNOWN_PAIRS, {}, owner.round().clamp(0, 255).to(torch.uint8))
    return {
        "error": score.mean_rmse,
        "mean image": score.rmse_chance,
        "owner who inverts": attacks.score_reconstruction(back, plain).mean_rmse,
        "ssim": score.mean_ssim,
        "order": order_found(found.order, order),
        "mirrored": not torch.equal(looked_at.images, found.images),
        "classes": None if found.label_map is None else int((found.label_map == renamed).sum()),
        "rows read": None if rows is None else rows.found,
        "rows": None if rows is None else rows.total,
        "estimated error": float(found.error.square().mean().sqrt()),
        "cpu seconds": seconds,
    }


def order_found(guesses: Tensor, key: keys.PermutationKey) -> float:
    """Return the share of blocks at their right position, or at the mirrored one."""
    (height, width), (h, w) = key.image_size, key.block_size
    mirror = torch.arange(len(guesses)).view(height // h, width // w).flip(1).flatten()
    return max(float((each == key.order).double().mean()) for each in (guesses, mirror[guesses]))


def name_of(cell: Cell) -> str:
    return ", ".join(f"{name} {value}" if name != "set" else value for name, value in cell.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--keys", type=int, default=3, help="runs of each cell, each with fresh keys and other images")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    done = json.loads(arguments.out.read_text())["cells"] if arguments.out.exists() else {}
    for cell in cells():
        runs = done.setdefault(name_of(cell), [])
        while len(runs) < arguments.keys:
            runs.append({name: _short(value) for name, value in run(arguments.root, cell, len(runs)).items()})
            settings = {"disguised": DISGUISED, "keys": arguments.keys}
            document = {"machine": machine(), "settings": settings, "cells": done}
            arguments.out.write_text(json.dumps(document, indent=1) + "\n")
        show(name_of(cell), runs)


def show(title: str, runs: list[Cell]) -> None:
    """Print medians over the runs, and the range of the error."""
    medians = {
        name: statistics.median(each[name] for each in runs)
        for name, value in runs[0].items()
        if value is not None and name != "mirrored"
    }
    errors = [each["error"] for each in runs]
    mirrored = sum(each["mirrored"] for each in runs)
    told = ", ".join(f"{name} {value:.3g}" for name, value in medians.items() if name != "error")
    print(
        f"{title}: error {medians['error']:.1f} ({min(errors):.1f} to {max(errors):.1f}), {told}, mirrored {mirrored}",
        flush=True,
    )


def _short(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
