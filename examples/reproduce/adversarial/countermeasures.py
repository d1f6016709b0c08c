"""What an attacker does to learn from perturbed images all the same, beside the protection that it undoes.

All train the same network on the released images of the basic plan and are tested on clean ones; "peak" is the best
epoch, known to whoever has a few clean labelled images. For comparison: training on the clean images.

Usage: python adversarial/countermeasures.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import time

import torch
from adversarial_world import Images, Table, World, as_floats, read_world
from common.networks import make_network

from torchprotect import attacks
from torchprotect.adversarial import PGDSettings

PLAN = "basic"


def watch(
    world: World, images: torch.Tensor, *, augment: object = None, adversarial: PGDSettings | None = None
) -> attacks.TrainingCurve:
    """Train the first victim on images of the released labels and look at it after each epoch."""
    torch.manual_seed(23)
    size = images.shape[-2:]
    network = make_network(world.scale.victims[0], images.shape[1], world.classes, (size[0], size[1])).to(world.device)
    return attacks.train_and_watch(
        network,
        (images, world.train.labels),
        as_floats(world.test),
        epochs=world.scale.epochs,
        augment=augment,  # type: ignore[arg-type]
        adversarial=adversarial,
    )


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    released = world.released(PLAN).images
    floats, eps = as_floats(Images(released, world.train.labels))[0], world.scale.eps
    away = PGDSettings(eps, eps / 2, 5, random_start=True, targeted=False)
    projected = attacks.orthogonal_projection(floats, world.train.labels, classes=world.classes).images
    cases = {
        "clean images, plain training": lambda: watch(world, as_floats(world.train)[0]),
        "released images, plain training": lambda: watch(world, floats),
        "JPEG, quality 10": lambda: watch(world, attacks.squeeze_jpeg(released, 10).float() / 255),
        "grey": lambda: watch(world, attacks.squeeze_grey(floats)),
        "3 bits": lambda: watch(world, attacks.squeeze_bits(floats, 3)),
        "2 bits": lambda: watch(world, attacks.squeeze_bits(floats, 2)),
        "strong augmentation": lambda: watch(world, floats, augment=attacks.strong_augmentation()),
        "orthogonal projection": lambda: watch(world, projected),
        "adversarial training, 5 steps, the owner's eps": lambda: watch(world, floats, adversarial=away),
    }
    if floats.shape[1] == 1:
        del cases["grey"]
    table = Table(
        f"Countermeasures: accuracy of {world.scale.victims[0]} on clean images, percent", ["", "last", "peak"]
    )
    found = {}
    for name, run in cases.items():
        start = time.monotonic()
        found[name] = run()
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
        table.row(name, 100 * found[name].last, 100 * found[name].peak)
    plain = found["released images, plain training"]
    table.direction("the peak epoch is above the last (by 5 points)", plain.peak > plain.last + 0.05)
    for name in cases:
        if name.startswith(("JPEG", "adversarial", "strong", "2 bits")):
            table.direction(f"{name} raises the last epoch (by 5 points)", found[name].last > plain.last + 0.05)
    table.finish(world, "countermeasures")


if __name__ == "__main__":
    main()
