"""What a small network still learns from disguised images, by kind of data and by disguise.

Usage: OMP_NUM_THREADS=1 python benchmarks/utility.py ROOT. ROOT has MNIST/raw, FashionMNIST/raw and cifar10/*.tar.gz.

Every cell is one run: the first 6,000 training images, 5 epochs, tested on the whole test set of 10,000. Keys are new
in each run; weights and batches start from one seed. Finished cells are kept in the JSON file and not run again.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from _common import machine
from torch import Tensor, nn
from torchvision.transforms import v2

from torchprotect import data, keys, transforms
from torchprotect.models import SmallAlexNet
from torchprotect.training import evaluate, fit

TRAINED_ON, TESTED_ON, EPOCHS = 6_000, 10_000, 5
Labelled = tuple[Tensor, Tensor]
TO_FLOAT = v2.ToDtype(torch.float32, scale=True)


class Kind(NamedTuple):
    """A data set: where its images come from, and block sizes that fit them."""

    train: str
    test: str
    size: tuple[int, int]
    channels: int
    block: tuple[int, int]
    aes_blocks: tuple[tuple[int, int], ...]


class SmallCNN(nn.Sequential):
    """Two convolutions and two dense layers; without batch normalisation, so the scale of the images matters."""

    def __init__(self, channels: int, classes: int, image_size: tuple[int, int]) -> None:
        super().__init__(
            *(nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
            *(nn.Linear(64 * (image_size[0] // 4) * (image_size[1] // 4), 128), nn.ReLU(), nn.Linear(128, classes)),
        )


NETWORKS: dict[str, tuple[Callable[[int, int, tuple[int, int]], nn.Module], set[str]]] = {
    "SmallCNN": (SmallCNN, {"MNIST", "Fashion-MNIST", "CIFAR-10"}),
    "SmallAlexNet": (SmallAlexNet, {"CIFAR-10"}),  # with batch normalisation
}


def kinds(root: Path) -> dict[str, Kind]:
    grey = ((28, 28), 1, (7, 7), ((4, 4),))
    return {
        "MNIST": Kind(f"mnist:{root}", f"mnist:{root}:test", *grey),
        "Fashion-MNIST": Kind(f"fashion-mnist:{root}", f"fashion-mnist:{root}:test", *grey),
        "CIFAR-10": Kind(
            str(root / "cifar10" / "train-{000000..000002}.tar.gz"),
            str(root / "cifar10" / "test-{000000..000004}.tar.gz"),
            *((32, 32), 3, (8, 8), ((8, 8), (4, 4))),
        ),
    }


def pipelines(kind: Kind) -> Iterator[tuple[str, list[nn.Module]]]:
    """Yield the name of each disguise, and the steps between an 8-bit image and ``Normalize``."""

    def generate(scheme: type[keys.BlockKey], block: tuple[int, int], **options: bool) -> keys.KeyBundle:
        sizes = {"image_size": kind.size, "block_size": block}
        return keys.KeyBundle(scheme.generate(**sizes, **options), keys.PermutationKey.generate(**sizes))

    def by(block: tuple[int, int]) -> str:
        return f"{block[0]} x {block[1]}"

    yield "plain", [TO_FLOAT]
    order = keys.PermutationKey.generate(image_size=kind.size, block_size=kind.block)
    yield f"BlockPermute, {by(kind.block)}", [transforms.BlockPermute(order), TO_FLOAT]
    rmt = transforms.from_key(generate(keys.RMTKey, kind.block))
    yield f"RMTDisguise, {by(kind.block)}, permuted", [TO_FLOAT, rmt]
    yield f"RMTDisguise, {by(kind.block)}, permuted, before ToDtype", [rmt, TO_FLOAT]
    for block in kind.aes_blocks:
        yield f"AESECBDisguise, {by(block)}, permuted", [transforms.from_key(generate(keys.AESKey, block)), TO_FLOAT]
        shared = transforms.from_key(generate(keys.AESKey, block, shared=True))
        yield f"AESECBDisguise, {by(block)}, permuted, one key", [shared, TO_FLOAT]


def load(source: str, count: int) -> Labelled:
    opened = data.open_source(source)
    samples = [opened[index] for index in range(count)]
    return torch.stack([sample.image for sample in samples]), torch.tensor([sample.label for sample in samples])


def accuracy(kind: Kind, network: str, steps: list[nn.Module], train: Labelled, test: Labelled) -> float:
    pipeline = v2.Compose([*steps, v2.Normalize([0.5] * kind.channels, [0.5] * kind.channels)])

    def prepare(images: Tensor) -> Tensor:
        return pipeline(images).contiguous(memory_format=torch.channels_last)  # faster on a CPU

    torch.manual_seed(0)
    model = NETWORKS[network][0](kind.channels, 10, kind.size).to(memory_format=torch.channels_last)
    fit(model, (prepare(train[0]), train[1]), epochs=EPOCHS)
    return evaluate(model, (prepare(test[0]), test[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("utility.json"))
    arguments = parser.parse_args()
    cells: dict[str, dict[str, dict[str, float]]] = {network: {} for network in NETWORKS}
    if arguments.out.exists():
        cells |= json.loads(arguments.out.read_text())["cells"]
    for name, kind in kinds(arguments.root).items():
        train, test = load(kind.train, TRAINED_ON), load(kind.test, TESTED_ON)
        for network in (each for each in NETWORKS if name in NETWORKS[each][1]):
            row = cells[network].setdefault(name, {})
            for disguise, steps in pipelines(kind):
                if disguise not in row:
                    row[disguise] = round(accuracy(kind, network, steps, train, test), 4)
                    write(arguments.out, cells)
                    print(f"{network}, {name}, {disguise}: {row[disguise]:.3f}", flush=True)


def write(out: Path, cells: dict[str, dict[str, dict[str, float]]]) -> None:
    settings = {"trained_on": TRAINED_ON, "tested_on": TESTED_ON, "epochs": EPOCHS, "runs": 1, "chance": 0.1}
    out.write_text(json.dumps({"machine": machine(), "settings": settings, "cells": cells}, indent=2) + "\n")


if __name__ == "__main__":
    main()
