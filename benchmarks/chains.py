"""What a few known images open: linked without pairs, taken for pairs, and used on everybody else's image.

Usage: OMP_NUM_THREADS=1 python benchmarks/chains.py ROOT [--keys N]. ROOT has MNIST/raw, FashionMNIST/raw and
cifar10/*.tar.gz.

The first 3,000 training images are disguised under a new key, with blocks in a secret order; the next 5,000 are public.
Some of the 3,000 are known without their disguised versions; all others are opened, and compared with the plain ones:
RMSE in grey levels of all pixels. Keys and known images are new in each run, drawn by the operating system and by the
number of the run. Finished cells are kept in the JSON file, so that a run can be interrupted. Seconds are of the CPU.
"""

import argparse
import json
import statistics
import time
import warnings
from pathlib import Path

import torch
from _common import machine
from torch import Tensor

from torchprotect import attacks, data, keys, transforms
from torchprotect.errors import PixelScaleWarning

DISGUISED, PUBLIC = 3_000, 5_000
KNOWN = (1, 2, 5, 20, 100)
SOURCES = {
    "MNIST": "mnist:{}",
    "Fashion-MNIST": "fashion-mnist:{}",
    "CIFAR-10": "{}/cifar10/train-{{000000..000020}}.tar.gz",
}
RMT_BLOCKS = {"MNIST": (7, 7), "Fashion-MNIST": (7, 7), "CIFAR-10": (8, 8)}
DISGUISES = ("BlockPermute", "RMT, u = 0", "RMT, u = 100", "AES")
Cell = dict[str, float]


def load(spec: str) -> Tensor:
    source = data.open_source(spec)
    return torch.stack([source[index].image for index in range(DISGUISED + PUBLIC)])


def make(name: str, images: Tensor, block: tuple[int, int]) -> torch.nn.Module:
    """Return a disguise under a new key; units of AES are blocks of 4 x 4."""
    block = block if name.startswith("RMT") else (4, 4)
    sizes = {"image_size": tuple(images.shape[-2:]), "block_size": block}
    order = keys.PermutationKey.generate(**sizes)
    if name == "BlockPermute":
        return transforms.BlockPermute(order)
    if name == "AES":
        return transforms.AESECBDisguise(keys.AESKey.generate(**sizes), permutation=order)
    return transforms.RMTDisguise(keys.RMTKey.generate(**sizes), permutation=order, noise=float(name.split(" = ")[1]))


def run(images: Tensor, disguise: torch.nn.Module, disguised: Tensor, number: int, seed: int) -> Cell:
    """Chain attacks from some known images, and compare what comes out with the truth."""
    drawn = torch.randperm(DISGUISED, generator=torch.Generator().manual_seed(seed))
    mine, others = drawn[:number], drawn[number:]
    scheme, start = attacks.Scheme.of(disguise.describe()), time.process_time()
    found = attacks.chain_from_known_images(
        images[mine], disguised, disguised[others], scheme=scheme, public=images[DISGUISED:]
    )
    seconds = time.process_time() - start
    right = found.links == mine
    order = (disguise.key if scheme.name == "BlockPermute" else disguise.permutation).order
    squares = (found.images.float() - images[others].float()).square()
    return {
        "linked": round(float(right.float().mean()), 4),
        "kept": int(found.kept.sum()),
        "wrong among kept": int((found.kept & ~right).sum()),
        "order": 0.0 if found.order is None else round(float((found.order == order).float().mean()), 4),
        "RMSE": round(float(squares.mean().sqrt()), 2),
        **({} if found.hit_rate is None else {"hit rate": round(found.hit_rate, 4)}),
        "seconds": round(seconds, 2),
    }


def strangers(images: Tensor, disguise: torch.nn.Module, disguised: Tensor) -> Cell:
    """Look for 100 images that are not in the set."""
    scheme = attacks.Scheme.of(disguise.describe())
    outside, public = images[-100:], images[DISGUISED:-100]
    found = attacks.chain_from_known_images(outside, disguised, disguised[:1], scheme=scheme, public=public)
    return {"kept of 100 that are not in the set": int(found.kept.sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--keys", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", PixelScaleWarning)  # images stay on 0..255
    cells = json.loads(arguments.out.read_text())["cells"] if arguments.out.exists() else {}
    for name, spec in SOURCES.items():
        images = load(spec.format(arguments.root))
        mean = images[DISGUISED:].float().mean(0)
        cells.setdefault(name, {})["mean image, RMSE"] = round(
            float((images[:DISGUISED].float() - mean).square().mean().sqrt()), 2
        )
        for kind in DISGUISES:
            found = cells[name].setdefault(kind, {})
            for seed in range(arguments.keys):
                if len(found.get("not in the set", [])) > seed:
                    continue
                disguise = make(kind, images, RMT_BLOCKS[name])
                disguised = disguise(images[:DISGUISED])
                for number in KNOWN:
                    found.setdefault(f"{number} known", []).append(run(images, disguise, disguised, number, seed))
                found.setdefault("not in the set", []).append(strangers(images, disguise, disguised))
                settings = {"disguised": DISGUISED, "public": PUBLIC, "keys": arguments.keys}
                document = {"machine": machine(), "settings": settings, "cells": cells}
                arguments.out.write_text(json.dumps(document, indent=1) + "\n")
            show(f"{name}, {kind}", found)


def show(title: str, found: dict[str, list[Cell]]) -> None:
    """Print means over the keys, and the least and the most."""
    print(title)
    for row, some in found.items():
        columns = {
            name: [each[name] for each in some if name in each] for name in (key for each in some for key in each)
        }
        told = (
            f"{name} {statistics.mean(each):.2f} ({min(each):g} to {max(each):g})" for name, each in columns.items()
        )
        print(f"  {row:<15}", "; ".join(told), flush=True)


if __name__ == "__main__":
    main()
