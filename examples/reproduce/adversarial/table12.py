"""Table 12 of "Adversarial Data Encryption": Horizontal Concat on five classes of medical images.

The paper's brain scans are not public. Any source with at least five classes stands in: a folder of images in one
folder a class (``root/class/*.png``, all of one size, 320 x 320 in the paper), shards, or a known set. Classes
from the sixth on are left out.

Usage: python adversarial/table12.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--eps EPS] [--out DIR]
"""

from dataclasses import replace

from adversarial_world import Scale, Table, accuracy, read_world

PAPER = {
    "densenet100bc": (79.01, 38.84),
    "preresnet110": (79.92, 33.14),
    "preresnet20": (78.10, 43.64),
    "vgg19": (80.01, 48.84),
    "vgg11": (79.98, 50.15),
}
CLASSES = 5


def medical(scale: Scale) -> Scale:
    """Return the paper's sizes for these images at the paper's scale: 320 x 320 pixels, ResNet-18 as base."""
    if scale.recipe != "sgd":
        return scale
    return replace(scale, base="resnet18", victims=tuple(PAPER), eps=2.0, train=4253, other=0, test=1061)


def main() -> None:
    """Make the table."""
    world = read_world(__doc__, CLASSES, medical)
    table = Table("Table 12: accuracy in percent", ["network", "Enc", "Orig", "clean", "paper: Enc", "paper: Orig"])
    for network in world.scale.victims:
        victim = world.victim(network, "mri")
        enc = accuracy(victim, world.released_test("mri", "predicted"), world.device)
        orig = accuracy(victim, world.test, world.device)
        clean = accuracy(world.trained(f"clean {network}", network, world.train), world.test, world.device)
        table.row(network, enc, orig, clean, *PAPER.get(network, (None, None)))
        table.direction(f"{network}: Enc far above Orig (by 25 points)", enc > orig + 25)
    table.finish(world, "table12")


if __name__ == "__main__":
    main()
