"""What public images tell of images under AES: pictures, classes and the order of the blocks.

Usage: OMP_NUM_THREADS=1 python benchmarks/aes_rarity.py ROOT [--only NAME ...]. ROOT has MNIST/raw,
FashionMNIST/raw and cifar10/*.tar.gz. Each case is written to the JSON file as soon as it is measured; a case that is
there already is skipped, so that a run may be broken off. --only measures the cases of these names.

Images are drawn anew from the training set for each key, public and attacked ones apart. Keys are new in each run; the
images and the attack's draws start from the number of the key.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import cast

import torch
from _common import machine
from torch import Tensor, nn

from torchprotect import data, functional, keys
from torchprotect.attacks import (
    Reconstruction,
    Scheme,
    rarity_regression,
    recover_permutation_from_statistics,
    score_reconstruction,
    silhouette_attack,
)

PUBLIC, DISGUISED, KEYS = 5000, 4000, 3
ORDER_KEYS = 5
NUMBERS = (300, 1000, 3000, 5000, 10_000)
MOST = 24_000  # images that are read of a set
CLASSES = 10

Cells = dict[str, float]
Cases = dict[str, Callable[[int], Cells]]


@cache
def read(root: Path, name: str) -> tuple[Tensor, Tensor]:
    spec = {
        "MNIST": f"mnist:{root}",
        "Fashion-MNIST": f"fashion-mnist:{root}",
        "CIFAR-10": str(root / "cifar10" / "train-{000000..000004}.tar.gz"),
    }[name]
    source = data.open_source(spec)
    samples = [source[index] for index in range(min(MOST, len(source)))]
    return torch.stack([each.image for each in samples]), torch.tensor([each.label for each in samples])


class Set:
    """A set of images, some of them drawn by the number of a key."""

    def __init__(self, root: Path, name: str, padding: int = 0) -> None:
        self._root, self._name, self._padding = root, name, padding

    def draw(self, counts: tuple[int, int], key: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        images, labels = read(self._root, self._name)
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(key))[: sum(counts)]
        padded = nn.functional.pad(images[chosen], [self._padding] * 4)
        first, second = padded.split(list(counts)), labels[chosen].split(list(counts))
        return (first[0], second[0]), (first[1], second[1])


def disguise(images: Tensor, block: tuple[int, int], unit: int, shared: bool) -> tuple[Tensor, Tensor, Scheme]:
    """Disguise under a new key and in a new order; return also the order, and what is public."""
    sizes = {"image_size": tuple(images.shape[-2:]), "block_size": block}
    key, order = keys.AESKey.generate(**sizes, shared=shared), keys.PermutationKey.generate(**sizes)
    scheme = Scheme("AESECBDisguise", block_size=block, permuted=True, unit_pixels=unit, shared=shared)
    return functional.aes_ecb_disguise(images, key, order, unit_pixels=unit), order.order, scheme


def attack(
    images: Set,
    key: int,
    *,
    known: Set | None = None,
    public: int = PUBLIC,
    disguised: int = DISGUISED,
    block: tuple[int, int] = (4, 4),
    unit: int = 16,
    shared: bool = False,
    control: str = "",
    given: bool = False,
) -> Cells:
    """Attack images under one key, with the order recovered and, if ``given``, the first key also with the true one."""
    (mine, labels), (plain, truth) = images.draw((public, disguised), key)
    if known is not None:
        (mine, labels), _ = known.draw((public, disguised), key)
    seen, order, scheme = disguise(plain, block, unit, shared)
    if control == "identity":
        seen, order = plain, torch.arange(len(order))
    if control == "noise":
        seen = torch.randint(0, 256, plain.shape, generator=torch.Generator().manual_seed(key), dtype=torch.uint8)
    found = recover_permutation_from_statistics(mine, seen, scheme=scheme).guesses
    cells = {"order right": share(found, order)}
    for how, laid in (("order recovered", found), ("order given", order))[: 1 + (given and key == 0)]:
        started = time.process_time()
        result = rarity_regression(
            mine,
            seen,
            scheme=scheme,
            labels=labels,
            classes=CLASSES,
            order=laid,
            generator=torch.Generator().manual_seed(key),
        )
        seconds = time.process_time() - started
        outlines = silhouette_attack(mine, labels, seen, classes=CLASSES, scheme=scheme, order=laid)
        score = score_reconstruction(Reconstruction(result.level, result.cost, result.images), plain)
        cells |= {
            f"class, {how}": share(cast(Tensor, result.guesses), truth),
            f"class by silhouettes, {how}": share(outlines.guesses, truth),
            f"RMSE, {how}": score.mean_rmse,
            f"SSIM, {how}": score.mean_ssim,
            "RMSE of the mean image": score.rmse_chance,
            "most frequent class": float(truth.bincount().max()) / len(truth),
            "units that repeat": result.repeating_share,
            "CPU seconds": seconds,
        }
    return cells


def order_alone(images: Set, number: int, key: int, *, shared: bool = False, block: tuple[int, int] = (4, 4)) -> Cells:
    """Recover the order with as many public as disguised images."""
    (mine, _), (plain, _) = images.draw((number, number), key)
    seen, order, scheme = disguise(plain, block, 16, shared)
    started = time.process_time()
    found = recover_permutation_from_statistics(mine, seen, scheme=scheme).guesses
    varies = (plain != plain[:1]).flatten(1).any(0)  # pixels that are not the same in all images
    told = varies.view(plain.shape[1:]).any(0).unflatten(0, (-1, block[0])).unflatten(2, (-1, block[1])).any(3).any(1)
    told = told.flatten()[order]
    return {
        "order right": share(found, order),
        "order right where blocks are not all the same": share(found[told], order[told]),
        "CPU seconds": time.process_time() - started,
    }


def share(guesses: Tensor, truth: Tensor) -> float:
    return float((guesses == truth).double().mean())


def cases(root: Path) -> Cases:
    """Return what is measured, by name."""
    mnist, fashion, photographs = (Set(root, name) for name in ("MNIST", "Fashion-MNIST", "CIFAR-10"))
    padded = {"MNIST, padded": Set(root, "MNIST", 2), "Fashion-MNIST, padded": Set(root, "Fashion-MNIST", 2)}
    grey = {"MNIST": mnist, "Fashion-MNIST": fashion}
    made: Cases = {name: partial(attack, images, given=True) for name, images in (padded | grey).items()}
    made["CIFAR-10"] = partial(attack, photographs, public=3000, disguised=3000)
    made["CIFAR-10, 8 x 8, units of 2"] = partial(
        attack, photographs, block=(8, 8), unit=2, public=1000, disguised=1000
    )
    made["MNIST, Fashion-MNIST public"] = partial(attack, mnist, known=fashion, given=True)
    for name, images in grey.items():
        made |= {
            f"{name}, {number:,} public": partial(attack, images, public=number)
            for number in NUMBERS
            if number != PUBLIC
        }
        made |= {f"{name}, {how}": partial(attack, images, control=how) for how in ("noise", "identity")}
        made |= {f"{name}, one key for all positions": partial(attack, images, shared=True)}
    return made


def order_cases(root: Path) -> Cases:
    sets = {name: Set(root, name) for name in ("MNIST", "Fashion-MNIST", "CIFAR-10")}
    sets |= {f"{name}, padded": Set(root, name, 2) for name in ("MNIST", "Fashion-MNIST")}
    made: Cases = {}
    for number in NUMBERS:
        for name, images in sets.items():
            if name != "CIFAR-10" or number <= 5000:
                made[f"order, {name}, {number:,}"] = partial(order_alone, images, number)
    for number in NUMBERS[:3]:
        for name in ("MNIST", "Fashion-MNIST"):
            made[f"order, {name}, one key for all positions, {number:,}"] = partial(
                order_alone, sets[name], number, shared=True
            )
    return made


def remaining(
    made: Cases, done: dict[str, list[Cells]], count: int
) -> Iterator[tuple[str, Callable[[int], Cells], int]]:
    for key in range(count):
        for name, case in made.items():
            if len(done.get(name, [])) <= key:
                yield name, case, key


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--only", nargs="+", default=[])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    done: dict[str, list[Cells]] = json.loads(arguments.out.read_text())["cases"] if arguments.out.exists() else {}
    for made, count in ((order_cases(arguments.root), ORDER_KEYS), (cases(arguments.root), KEYS)):
        chosen = {name: case for name, case in made.items() if not arguments.only or name in arguments.only}
        for name, case, key in remaining(chosen, done, count):
            done.setdefault(name, []).append({cell: round(value, 4) for cell, value in case(key).items()})
            settings = {"public": PUBLIC, "disguised": DISGUISED, "keys": KEYS, "keys for the order alone": ORDER_KEYS}
            document = {"machine": machine(), "settings": settings, "cases": done}
            arguments.out.write_text(json.dumps(document, indent=1) + "\n")
            print(name, key, done[name][-1], flush=True)
    for name, runs in done.items():
        means = (f"{cell} {statistics.mean(run[cell] for run in runs if cell in run):.3f}" for cell in runs[0])
        print(f"{name} ({len(runs)} keys): {', '.join(means)}")


if __name__ == "__main__":
    main()
