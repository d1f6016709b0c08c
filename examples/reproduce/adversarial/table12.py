"""Table 12 of "Adversarial Data Encryption": Horizontal Concat on five classes of medical images.

The paper's brain scans are not public. Any source with at least five classes stands in: a folder of images in one
folder a class (``root/class/*.png``, all of one size, 320 x 320 in the paper), shards, or a known set. Classes
from the sixth on are left out.

Usage: python adversarial/table12.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--eps EPS] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, mean, minus, numbers, read_world, spread

PAPER = {
    "densenet100bc": (79.01, 38.84),
    "preresnet110": (79.92, 33.14),
    "preresnet20": (78.10, 43.64),
    "vgg19": (80.01, 48.84),
    "vgg11": (79.98, 50.15),
}


def tables(world: World) -> None:
    """Make the table."""
    columns = ["network", "Enc", "Orig", "±", "clean", "paper: Enc", "paper: Orig"]
    table = Table("Table 12: accuracy in percent", columns)
    for network in world.scale.medical_victims:
        found = world.each(measures.medical, network=network, sizes=world.scale.medical)
        enc, orig, clean = (numbers(found, name) for name in ("enc", "orig", "clean"))
        shown = f"{network}: base, moved to a target"
        table.row(shown, mean(numbers(found, "moved")), *(None,) * (len(columns) - 2))
        paper = PAPER.get(network, (None, None))
        table.row(network, mean(enc), mean(orig), spread(orig), mean(clean), *paper)
        says = f"{network}, five classes: Enc above Orig by 25 points"
        table.claim(says, minus(enc, orig, 25), ours=enc, paper="78 to 80 against 33 to 50")
    table.finish(world, "table12")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
