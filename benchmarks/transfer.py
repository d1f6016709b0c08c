"""What a network pretrained on plain images is worth on disguised ones: matched to the key, or fine-tuned as it is.

Usage: OMP_NUM_THREADS=1 python benchmarks/transfer.py ROOT --work DIR. ROOT has FashionMNIST/raw and cifar10/*.tar.gz.

A small vision transformer is pretrained on plain images. 1,000 other images are disguised under a new key. Four ways to
a network for disguised images are compared on the disguised test set of 10,000: trained on the 1,000 from scratch;
pretrained, then fine-tuned on the 1,000 as it is; matched to the key and not trained; matched, then fine-tuned. Each
with three seeds, which decide weights, batches and the choice of images; keys are new in each run. Then the key is read
off both matched networks, and 1,000 test images are opened with it: the RMSE is in grey levels, and so is that of the
owner, who inverts with the key. Finished cells are kept in the JSON file and pretrained weights in DIR, so that a run
can be interrupted.
"""

import argparse
import copy
import functools
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from _common import machine
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.transforms import v2

from torchprotect import attacks, data, keys, predict, transforms
from torchprotect.errors import KeyInWeightsWarning
from torchprotect.training import Recipe, evaluate, fit

SEEDS, PRIVATE, TESTED_ON, OPENED = 3, 1_000, 10_000, 1_000
NOISES = (0, 100)  # grey levels
Labelled = tuple[Tensor, Tensor]


class Kind(NamedTuple):
    """A data set, and how much of it a network is pretrained on."""

    train: str
    test: str
    size: int
    block: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    pretrained_on: int
    epochs: int
    augmentation: Callable[[Tensor], Tensor]


def kinds(root: Path) -> dict[str, Kind]:
    crop = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()])
    grey = ((0.2860,) * 3, (0.3530,) * 3)
    coloured = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    train, test = (
        str(root / "cifar10" / name) for name in ("train-{000000..000020}.tar.gz", "test-{000000..000004}.tar.gz")
    )
    return {
        "Fashion-MNIST": Kind(
            f"fashion-mnist:{root}", f"fashion-mnist:{root}:test", 28, 7, *grey, 20_000, 10, v2.Identity()
        ),
        "CIFAR-10": Kind(train, test, 32, 8, *coloured, 40_000, 15, crop),
    }


def new_network(kind: Kind) -> nn.Module:
    sizes = {"image_size": kind.size, "patch_size": kind.block, "hidden_dim": 128, "mlp_dim": 256}
    network = VisionTransformer(**sizes, num_layers=6, num_heads=4, num_classes=10)
    nn.init.trunc_normal_(network.heads.head.weight, std=0.02)
    return network


def load(source: str, count: int) -> Labelled:
    """Return images float32 in 0..1 with three channels, and labels."""
    opened = data.open_source(source)
    count = min(count, len(opened))
    samples = [opened[index] for index in range(count)]
    images = torch.stack([sample.image for sample in samples]).expand(-1, 3, -1, -1)
    return images / 255, torch.tensor([sample.label for sample in samples])


class Cells:
    """Accuracies by data set, disguise, way and seed, kept in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path, self.found = path, json.loads(path.read_text())["cells"] if path.exists() else {}

    def measure(self, names: tuple[str, ...], seed: int, measured: Callable[[], float]) -> None:
        row = self.found
        for name in names:
            row = row.setdefault(name, {})
        if str(seed) in row:
            return
        row[str(seed)] = round(measured(), 4)
        settings = {"seeds": SEEDS, "private_images": PRIVATE, "tested_on": TESTED_ON}
        self._path.write_text(
            json.dumps({"machine": machine(), "settings": settings, "cells": self.found}, indent=2) + "\n"
        )
        print(*names, f"seed {seed}: {row[str(seed)]:.4f}", flush=True)


class Run:
    """All that one seed decides.

    Args:
        kind: of data.
        train, test: its images.
        seed: of weights, batches and the choice of private images.
        weights: file of the pretrained weights.
    """

    def __init__(self, kind: Kind, train: Labelled, test: Labelled, seed: int, weights: Path) -> None:
        self.kind, self._seed, self._weights, self._test = kind, seed, weights, test
        order = torch.randperm(len(train[0]), generator=torch.Generator().manual_seed(seed))
        self._public, self._private = ([part[chosen] for part in train] for chosen in self._parts(order))

    def _parts(self, order: Tensor) -> tuple[Tensor, Tensor]:
        return order[: self.kind.pretrained_on], order[-PRIVATE:]

    def pretrained(self) -> nn.Module:
        network = self.untrained()
        if not self._weights.exists():
            self._train(network, (self._public[0], self._public[1]), self.kind.epochs, 1e-3, self.kind.augmentation)
            safetensors.torch.save_file(network.state_dict(), self._weights)
        network.load_state_dict(safetensors.torch.load_file(self._weights))
        return network.eval()

    def untrained(self) -> nn.Module:
        torch.manual_seed(self._seed)
        return new_network(self.kind)

    def on_plain(self) -> float:
        return evaluate(self.pretrained(), (self.normalised(self._test[0]), self._test[1]))

    def measures(self, disguise: nn.Module) -> Iterator[tuple[str, Callable[[], float]]]:
        """Yield the name of each measure, and a function that takes it."""
        torch.manual_seed(self._seed)
        private, test = ((disguise(images), labels) for images, labels in (self._private, self._test))
        normalised = [(self.normalised(images), labels) for images, labels in (private, test)]
        matched = self._matched(disguise)

        def trained(network: nn.Module, sets: list[Labelled], epochs: int, rate: float) -> float:
            self._train(network, sets[0], epochs, rate)
            return evaluate(network, sets[1])

        yield "from scratch", lambda: trained(self.untrained(), normalised, 40, 1e-3)
        yield "unmatched, fine-tuned", lambda: trained(self.pretrained(), normalised, 20, 3e-4)
        yield "matched, untrained", lambda: evaluate(matched, test)
        tuned = functools.cache(lambda: self._train(copy.deepcopy(matched), private, 20, 3e-4))
        yield "matched, fine-tuned", lambda: evaluate(tuned(), test)
        yield "RMSE of pictures, matched", lambda: self._opened(matched, disguise, test[0])
        yield "RMSE of pictures, matched, fine-tuned", lambda: self._opened(tuned(), disguise, test[0])
        yield "RMSE of pictures, owner", lambda: self._inverted(disguise, test[0])

    def _matched(self, disguise: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", KeyInWeightsWarning)
            return predict.match_key(self.pretrained(), disguise, mean=self.kind.mean, std=self.kind.std)

    def _opened(self, network: nn.Module, disguise: nn.Module, test: Tensor) -> float:
        scheme = attacks.Scheme.of(disguise.describe())
        given = {"scheme": scheme, "std": self.kind.std}
        found = attacks.read_key_from_weights(network, self.pretrained(), test[:OPENED], **given)
        return self._rmse(found.images)

    def _inverted(self, disguise: nn.Module, test: Tensor) -> float:
        key = disguise.key if disguise.permutation is None else keys.KeyBundle(disguise.key, disguise.permutation)
        inverse = transforms.from_key(key, inverse=True)
        return self._rmse((inverse(test[:OPENED]) - getattr(disguise, "noise", 0) / 2 / 255).clamp(0, 1))

    def _rmse(self, images: Tensor) -> float:
        return float((images - self._test[0][:OPENED]).mul(255).square().mean().sqrt())

    def normalised(self, images: Tensor) -> Tensor:
        return v2.functional.normalize(images, self.kind.mean, self.kind.std)

    def _train(
        self,
        network: nn.Module,
        images: Labelled,
        epochs: int,
        rate: float,
        augmentation: Callable[[Tensor], Tensor] | None = None,
    ) -> nn.Module:
        torch.manual_seed(self._seed)
        prepare = None if augmentation is None else lambda batch, _: self.normalised(augmentation(batch))
        return fit(
            network, tuple(images), epochs=epochs, batch_size=128, recipe=Recipe(learning_rate=rate), prepare=prepare
        )


def disguises(kind: Kind) -> Iterator[tuple[str, nn.Module]]:
    sizes = {"image_size": (kind.size,) * 2, "block_size": (kind.block,) * 2}
    yield "BlockPermute", transforms.BlockPermute(keys.PermutationKey.generate(**sizes))
    bundle = keys.KeyBundle(keys.RMTKey.generate(**sizes), keys.PermutationKey.generate(**sizes))
    for noise in NOISES:
        yield f"RMTDisguise, permuted, u = {noise}", transforms.from_key(bundle, noise=noise)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for pretrained weights")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("transfer.json"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    cells = Cells(arguments.out)
    for name, kind in kinds(arguments.root).items():
        train, test = load(kind.train, 60_000), load(kind.test, TESTED_ON)
        for seed in range(SEEDS):
            run = Run(kind, train, test, seed, arguments.work / f"{name}-{seed}.safetensors")
            cells.measure((name, "plain, pretrained"), seed, run.on_plain)
            for disguise_name, disguise in disguises(kind):
                for measure, taken in run.measures(disguise):
                    cells.measure((name, disguise_name, measure), seed, taken)


if __name__ == "__main__":
    main()
