"""What makes a cloud's answers for scrambled images say more: size of images, calibration of the key, logarithms.

ImageNet's cloud, some of CIFAR-10's test images, seven tenths for training; a key for each run. Not in the paper, and
not part of ``all.py``: it asks the cloud under many keys.

Usage: python owsd/settings.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import dataclasses
from dataclasses import dataclass

import torch
from fits import Runs, infer, split_by_share
from owsd_world import CLASSES, IMAGENET, Table, World, read_world
from torch import Tensor

from torchprotect import owsd

KEYS, TINY = 3, 1e-10
READINGS = {
    "probabilities": (False, 1e-4),
    "logarithms": (True, 1e-4),
    "logarithms, rate 1e-3": (True, 1e-3),
}


@dataclass(frozen=True)
class Setting:
    """One way to scramble and to ask, as factors of what the scale has."""

    name: str
    side: float = 1
    cloud_size: float = 1
    calibrated: bool = True


SETTINGS = (
    Setting("as in the other tables"),
    Setting("key not calibrated", calibrated=False),
    Setting("key of half the size", side=1 / 2),
    Setting("key of a quarter of the size", side=1 / 4),
    Setting("key of half the size, cloud reads 1.75 times larger", side=1 / 2, cloud_size=1.75),
)


def ask(world: World, setting: Setting, number: int, count: int) -> Tensor:
    """Return the cloud's answers under one key."""
    side = round(world.scale.key_size * setting.side)
    key = world.make_key(side, calibrated=setting.calibrated, number=number)
    size = round(world.scale.cloud_size * setting.cloud_size)
    cloud = dataclasses.replace(world.cloud(IMAGENET), size=(size, size))

    def answers() -> Tensor:
        return cloud(world.scramble(world.embeddings(world.encoder)[:count], key))

    return world.kept.tensor(("setting", world.scale.cloud, size, key.fingerprint, count), answers)


def read(world: World, asked: list[Tensor], reading: str) -> Runs:
    """Train on some answers and test on others, a run for each key."""
    logarithms, rate = READINGS[reading]
    settings, count = owsd.InferenceSettings(learning_rate=rate), len(asked[0])
    embeddings, labels = world.embeddings(world.encoder)[:count], world.confidential.labels[:count]
    split = [split_by_share(labels, 0.7, 0)]
    numbers = []
    for vectors in asked:
        observed = owsd.Observations(embeddings, vectors.clamp_min(TINY).log() if logarithms else vectors)
        numbers += infer(world, observed, labels, CLASSES, split, settings).numbers
    return Runs(numbers)


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    count = world.scale.images // 2
    columns = [f"{inputs}, {reading}" for inputs in ("cloud only", "± of cloud only", "both") for reading in READINGS]
    table = Table(f"Settings: right labels in percent, {count} images, means over {KEYS} keys", ["", *columns])
    asked = {each.name: [ask(world, each, number, count) for number in range(KEYS)] for each in SETTINGS}
    asked[f"{SETTINGS[0].name}, {KEYS} keys at once"] = [torch.cat(asked[SETTINGS[0].name], 1)]
    found = {name: [read(world, answers, reading) for reading in READINGS] for name, answers in asked.items()}
    for name, runs in found.items():
        table.row(name, *(r.mean("cloud") for r in runs), *(r.spread("cloud") for r in runs), *(r.mean() for r in runs))
    base, *_, together = found.values()
    more = all(runs[1].mean("cloud") > runs[0].mean("cloud") for runs in found.values())
    table.direction("logarithms say more than probabilities, under every setting", more)
    table.direction("several keys at once say more than one", together[1].mean("cloud") > base[1].mean("cloud"))
    far = all(runs[1].mean("cloud") < runs[1].mean() - 20 for runs in found.values())
    table.direction("answers alone stay far below embedding and answer (by 20 points), under every setting", far)
    table.finish(world, "settings")


if __name__ == "__main__":
    main()
