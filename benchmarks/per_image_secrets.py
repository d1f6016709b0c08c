"""What is left for a network, and for attackers, if every image has secrets of its own.

Usage: OMP_NUM_THREADS=1 python benchmarks/per_image_secrets.py ROOT [--sets NAME ...] [--parts NAME ...] [--out FILE].
ROOT has MNIST/raw, FashionMNIST/raw and cifar10/*.tar.gz.

The owner has 4,000 images to train on, the attacker 4,000 others, public ones; 1,000 test images are released and
attacked. Secrets, weights and batches start from seeds. Parts:

* ``fitting``: the owner's accuracy on the released images, with a network that is shown what the secrets do not change.
* ``ordinary``: the same with a small convolutional network that is shown the disguised images.
* ``transformer``: the same as ``fitting``, with a transformer without positions; for orders per image.
* ``adapted``: attackers at L1 who know of secrets per image. They disguise public images under secrets of their own.
* ``audit``: every attack of an audit that applies, on the first 2,000 of the owner's images.

Finished cells are kept in the JSON file and not run again.
"""

import argparse
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from _common import machine
from _per_image import Setting, arranged, blocks_of, disguise, images_of, invariants, padded
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from utility import SmallCNN, kinds, load

from torchprotect import audit, data
from torchprotect.attacks import jigsaw_attack, linkage_attack
from torchprotect.attacks.neighbours import nearest
from torchprotect.audit import Evidence
from torchprotect.training import evaluate, fit

TRAINED_ON, RELEASED, AUDITED, SEEDS = 4_000, 1_000, 2_000, 3
KNOWN, SOLVED, RIDGE = 400, 100, 0.1
ORDINARY_EPOCHS, EPOCHS = 5, 10
AUDIT = audit.Settings(
    trainings=1, train_images=1000, epochs=2, targets=200, pairs=(5, 100), inversion_pairs=200, inversion_epochs=2
)
Labelled = tuple[Tensor, Tensor]
Cells = dict[str, float]


class World(NamedTuple):
    """Plain images with labels: the owner's, public ones, and those that are released."""

    owner: Labelled
    public: Labelled
    released: Labelled


def settings(block: tuple[int, int], noises: list[float]) -> dict[str, Setting]:
    """Return what is compared, by name; ``block`` is that of BlockPermute and RMT, ``noises`` are of RMT."""
    found = {
        "BlockPermute": Setting("BlockPermute", block, order="set"),
        "BlockPermute, order per image": Setting("BlockPermute", block),
        "RMT, u = 50": Setting("RMTDisguise", block, secrets="set", order="set", noise=50),
    }
    for shared in (False, True):
        for order in ("set", "image"):
            for noise in noises:
                name = f"RMT, u = {noise:g}, {'one matrix' if shared else 'matrices'} per image"
                found[f"{name}, order per {order}"] = Setting(
                    "RMTDisguise", block, order=order, shared=shared, noise=noise
                )
    found["AES 4 x 4"] = Setting("AESECBDisguise", (4, 4), secrets="set", order="set")
    for order in ("set", "image"):
        found[f"AES 4 x 4, one key per image, order per {order}"] = Setting(
            "AESECBDisguise", (4, 4), order=order, shared=True
        )
        found[f"AES 8 x 8, keys per image, order per {order}"] = Setting("AESECBDisguise", (8, 8), order=order)
    found["AES 4 x 4, keys per image, order per image"] = Setting("AESECBDisguise", (4, 4))
    return found


def generator(purpose: str) -> torch.Generator:
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:7], "little"))


# Networks


class DeepSets(nn.Module):
    """Blocks one by one, then their mean and maximum: their order makes no difference."""

    def __init__(self, features: int, width: int = 128) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.all = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, blocks: Tensor) -> Tensor:
        seen = self.each(blocks)
        scores: Tensor = self.all(torch.cat([seen.mean(1), seen.amax(1)], 1))
        return scores


class Transformer(nn.Module):
    """Blocks attend to each other; without positions."""

    def __init__(self, features: int, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Linear(features, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 10))

    def forward(self, blocks: Tensor) -> Tensor:
        scores: Tensor = self.head(self.blocks(self.embed(blocks)).mean(1))
        return scores


class Places(nn.Module):
    """Tells for each block, seen beside all others, at which position it was: scores ``[N, positions, P]``."""

    def __init__(self, features: int, positions: int, width: int = 128) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.place = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU(), nn.Linear(width, positions))

    def forward(self, blocks: Tensor) -> Tensor:
        seen = self.each(blocks)
        around = torch.cat([seen.mean(1), seen.amax(1)], 1)[:, None].expand(-1, seen.shape[1], -1)
        scores: Tensor = self.place(torch.cat([seen, around], 2))
        return scores.mT


class ByPosition(nn.Sequential):
    """All blocks side by side, so that each position has weights of its own."""

    def __init__(self, positions: int, features: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(positions * features, 256), nn.ReLU(), nn.Linear(256, 10))


def standardised(train: Tensor, *others: Tensor) -> list[Tensor]:
    """Subtract the mean of each feature over the training images, and divide by its deviation."""
    mean, deviation = train.mean((0, 1)), train.std((0, 1)).clamp(min=1e-3)
    return [((each - mean) / deviation).clamp(-10, 10) for each in (train, *others)]


def fitted(network: nn.Module, train: Labelled) -> nn.Module:
    return fit(network, train, epochs=EPOCHS)


def classifier(setting: Setting, read: Tensor) -> nn.Module:
    return DeepSets(read.shape[2]) if setting.order == "image" else ByPosition(*read.shape[1:])


# Parts


def released_to_owner(world: World, setting: Setting) -> tuple[Tensor, Tensor]:
    """Disguise the owner's and the released images; secrets that are not per image are the same."""
    both = padded(torch.cat([world.owner[0], world.released[0]]), setting.block)
    disguised = disguise(both, setting, generator(f"owner {setting}"))[0]
    return disguised[:TRAINED_ON], disguised[TRAINED_ON:]


def ordinary(world: World, setting: Setting, seed: int) -> Cells:
    """Return the accuracy of a small convolutional network on images as they are."""
    train, test = released_to_owner(world, setting)
    mean, deviation = train.float().mean(), train.float().std()
    torch.manual_seed(seed)
    model = SmallCNN(train.shape[1], 10, train.shape[2:]).to(memory_format=torch.channels_last)

    def prepare(images: Tensor, _: Tensor | None = None) -> Tensor:
        return ((images.float() - mean) / deviation).contiguous(memory_format=torch.channels_last)

    fit(model, (train, world.owner[1]), epochs=ORDINARY_EPOCHS, prepare=prepare)
    return {"accuracy": round(evaluate(model, (prepare(test), world.released[1])), 3)}


def fitting(world: World, setting: Setting, seed: int, transformer: bool = False) -> Cells:
    """Return the accuracy of a network that is shown what the secrets do not change."""
    train, test = standardised(*(invariants(each, setting) for each in released_to_owner(world, setting)))
    torch.manual_seed(seed)
    network = fitted(
        Transformer(train.shape[2]) if transformer else classifier(setting, train), (train, world.owner[1])
    )
    return {"accuracy": round(evaluate(network, (test, world.released[1])), 3)}


def audited(world: World, setting: Setting, seed: int) -> Cells:
    """Return the leakage of every attack of an audit that applies."""
    images, labels = (each[:AUDITED] for each in world.owner)
    images = padded(images, setting.block)
    disguised, orders = disguise(images, setting, generator(f"audit {setting}"))
    first = orders[0].clone()  # with an order per image no one order is right; this one is as good as any other
    evidence = Evidence(disguised, setting.scheme(images), labels, images, labels, torch.arange(AUDITED), order=first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = audit.run(evidence, settings=AUDIT)
    found: Cells = {}
    for finding in report.findings:
        if (repeating := finding.facts.get("unit_share")) is not None:
            found["units that repeat at their position"] = round(repeating, 3)
        points = {f", {point.pairs} pairs": point.measure.leakage for point in finding.curve} or {"": finding.leakage}
        found |= {finding.called + pairs: round(value, 3) for pairs, value in points.items() if value is not None}
    return found


def adapted(world: World, setting: Setting, seed: int) -> Cells:
    """Return what attacks at L1 find that know of secrets per image. None has a pair, a key or a label of the owner."""
    (public, labels), (images, truth) = world.public, world.released
    public, images = padded(public, setting.block), padded(images, setting.block)
    disguised, orders = disguise(images, setting, generator(f"released {setting}"))
    own, own_orders = disguise(public, setting, generator(f"attacker {setting}"))
    mine, theirs = standardised(invariants(own, setting), invariants(disguised, setting))
    torch.manual_seed(seed)
    guessed = places(mine, own_orders, theirs, setting)
    found = {"known images found, of 400": linked(images[:KNOWN], disguised[:KNOWN], guessed[:KNOWN], setting)}
    found["blocks put in place"] = round(float((guessed == orders).float().mean()), 3)
    mine, theirs = in_place(mine, own_orders), in_place(theirs, guessed)
    network = fitted(classifier(setting, mine), (mine, labels))
    found["class"] = round(evaluate(network, (theirs, truth)), 3)
    return found | pictures(public, mine, images, theirs, disguised, guessed, setting)


def places(mine: Tensor, own_orders: Tensor, theirs: Tensor, setting: Setting) -> Tensor:
    """Guess the orders of released images by a network that learned where the blocks of public images were."""
    network = fitted(Places(mine.shape[2], mine.shape[1]), (mine, own_orders))
    with torch.no_grad():
        scores = network(theirs).log_softmax(1).mT  # [N, P, positions]
    if setting.order == "set":
        scores = scores.mean(0, keepdim=True)
    found = [linear_sum_assignment(-each.numpy())[1] for each in scores]
    return torch.stack([torch.from_numpy(each) for each in found]).expand(len(theirs), -1)


def in_place(read: Tensor, orders: Tensor) -> Tensor:
    """Undo orders of ``[N, P, features]``."""
    return read.gather(1, orders.argsort(1)[..., None].expand_as(read))


def pictures(
    public: Tensor, mine: Tensor, images: Tensor, theirs: Tensor, disguised: Tensor, guessed: Tensor, setting: Setting
) -> Cells:
    """Return RMS errors of pictures, in grey levels: put in place, regressed, and turned back with that.

    What the secrets do not change is regressed on public pictures. Where a matrix rotates rows, the result tells the
    rotation: of an image that has one, or of each block. Rows are then turned back themselves.
    """
    pixels, truth = public.float().flatten(1), images.float()
    mean = pixels.mean(0)
    found: Cells = {"RMSE, mean image": rmse(mean.view(truth.shape[1:]) - truth)}
    blocks = arranged(blocks_of(disguised, setting.block), guessed.argsort(1)).float()
    if setting.name == "BlockPermute":
        size = (truth.shape[2], truth.shape[3])
        return found | {"RMSE, put in place": rmse(images_of(blocks, size) - truth)}
    regressed = (ridge(mine.flatten(1), pixels - mean, theirs.flatten(1)) + mean).clamp(0, 255).view(truth.shape)
    found["RMSE, regressed"] = rmse(regressed - truth)
    if setting.name == "RMTDisguise":
        rows = blocks.flatten(2, 3)
        wanted = blocks_of(regressed, setting.block).flatten(2, 3) + setting.noise / 2
        towards = rows.mT @ wanted
        turned = rows @ polar(towards.sum(1, keepdim=True) if setting.shared else towards) - setting.noise / 2
        found["RMSE, turned back"] = rmse(turned - blocks_of(truth, setting.block).flatten(2, 3))
    return found


def ridge(mine: Tensor, wanted: Tensor, theirs: Tensor) -> Tensor:
    """Regress with a penalty, in the smaller of both spaces."""
    if mine.shape[1] > len(mine):
        return theirs @ mine.T @ torch.linalg.solve(_penalised(mine @ mine.T, len(mine)), wanted)
    return theirs @ torch.linalg.solve(_penalised(mine.T @ mine, len(mine)), mine.T @ wanted)


def _penalised(products: Tensor, count: int) -> Tensor:
    return products + RIDGE * count * torch.eye(len(products))


def polar(matrices: Tensor) -> Tensor:
    """Return the nearest orthogonal matrices."""
    left, _, right = torch.linalg.svd(matrices)
    return left @ right


def linked(known: Tensor, disguised: Tensor, guessed: Tensor, setting: Setting) -> float:
    """Return which share of known images is found among as many disguised ones, by the first guess."""
    if setting.name == "AESECBDisguise":
        mine, theirs = invariants(known, setting), in_place(invariants(disguised, setting), guessed)
        if setting.order == "image":
            mine, theirs = mine.sort(1).values, theirs.sort(1).values
        guesses = nearest(mine.flatten(1), theirs.flatten(1), 1)[0][:, 0]
    else:
        rounds = 0 if setting.order == "image" else 2
        guesses = linkage_attack(known, disguised, scheme=setting.scheme(known), k=1, rounds=rounds).guesses[:, 0]
    return round(float((guesses == torch.arange(len(known))).float().mean()), 3)


def solved(world: World, setting: Setting, seed: int) -> Cells:
    """Solve each image as a jigsaw puzzle of its own: an attacker at L0."""
    images = padded(world.released[0][:SOLVED], setting.block)
    disguised, orders = disguise(images, setting, generator(f"solved {setting}"))
    scheme = setting.scheme(images)
    layouts = [jigsaw_attack(one[None], scheme=scheme) for one in disguised]
    guessed = torch.stack([layout.guesses for layout in layouts])
    rebuilt = torch.cat([layout.images for layout in layouts]).float()
    return {
        "blocks put in place": round(float((guessed == orders).float().mean()), 3),
        "RMSE, put in place": rmse(rebuilt - images),
    }


def rmse(wrong: Tensor) -> float:
    return round(float(wrong.square().mean().sqrt()), 1)


class Part(NamedTuple):
    """A measurement: what makes its cell, for which settings, and with how many seeds."""

    run: Callable[[World, Setting, int], Cells]
    seeds: int
    fits: Callable[[Setting], bool]


def _central(setting: Setting) -> bool:
    return setting.name != "RMTDisguise" or setting.noise == 50


def _has_invariants(setting: Setting) -> bool:
    return setting.name != "AESECBDisguise" or setting.secrets == "image"


PARTS = {
    "adapted": Part(adapted, 1, _has_invariants),
    "fitting": Part(fitting, 3, _has_invariants),
    "audit": Part(audited, 1, _central),
    "jigsaw": Part(solved, 1, lambda setting: setting.name == "BlockPermute" and setting.order == "image"),
    "ordinary": Part(ordinary, 3, _central),
    "transformer": Part(
        lambda world, setting, seed: fitting(world, setting, seed, transformer=True),
        3,
        lambda setting: _central(setting) and setting.order == "image" and setting.name != "AESECBDisguise",
    ),
}


def open_world(root: Path, name: str) -> tuple[World, tuple[int, int]]:
    kind = kinds(root)[name]
    if len(data.open_source(kind.train)) >= 2 * TRAINED_ON:
        images, labels = load(kind.train, 2 * TRAINED_ON)
        released = load(kind.test, RELEASED)
    else:  # few training images: public ones are test images behind those that are released
        shown, others = load(kind.train, TRAINED_ON), load(kind.test, RELEASED + TRAINED_ON)
        images, labels = (torch.cat([mine, more[RELEASED:]]) for mine, more in zip(shown, others, strict=True))
        released = (others[0][:RELEASED], others[1][:RELEASED])
    mine, public = zip(images.split(TRAINED_ON), labels.split(TRAINED_ON), strict=True)
    return World(mine, public, released), kind.block


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--sets", nargs="+", default=["Fashion-MNIST", "CIFAR-10", "MNIST"])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--noise", type=float, nargs="+", default=[50, 0, 100], help="u of RMT to compare")
    parser.add_argument("--seeds", type=int, default=3, help="at most so many seeds of each part")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    cells = json.loads(arguments.out.read_text())["cells"] if arguments.out.exists() else {}
    for name in arguments.sets:
        world, block = open_world(arguments.root, name)
        for part, called, setting, seed in todo(arguments.parts, arguments.seeds, settings(block, arguments.noise)):
            row = cells.setdefault(name, {}).setdefault(called, {}).setdefault(part, {})
            if str(seed) not in row:
                row[str(seed)] = PARTS[part].run(world, setting, seed)
                write(arguments.out, cells)
                print(name, called, part, seed, row[str(seed)], sep="; ", flush=True)


def todo(parts: list[str], seeds: int, compared: dict[str, Setting]) -> Iterator[tuple[str, str, Setting, int]]:
    """Yield part, name of the setting, setting and seed of every cell."""
    for name in parts:
        part = PARTS[name]
        for seed in range(min(seeds, part.seeds)):
            yield from ((name, called, setting, seed) for called, setting in compared.items() if part.fits(setting))


def write(out: Path, cells: dict[str, Any]) -> None:
    told = {"trained_on": TRAINED_ON, "public": TRAINED_ON, "released": RELEASED, "audited": AUDITED, "known": KNOWN}
    out.write_text(json.dumps({"machine": machine(), "settings": told, "cells": cells}, indent=1) + "\n")


if __name__ == "__main__":
    main()
