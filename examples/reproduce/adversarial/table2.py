"""Table 2 of "Adversarial Data Encryption": answers of a misled network to clean images of class 0.

Usage: python adversarial/table2.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, mean, numbers, read_world, spread

from torchprotect import keys

PAPER = (9.4, 0.3, 0.2, 36.8, 30.6, 0.9, 0.3, 0.2, 21.2, 0.1)  # of a network that the paper does not name


def tables(world: World) -> None:
    """Make the table."""
    network = world.scale.victims[0]
    found = world.each(measures.victim, network=network, plan="basic")
    table = Table(
        f"Table 2: answers of {network} for clean images of class 0, percent", ["class", "ours", "±", "paper"]
    )
    world.moved(table, "basic")
    answers = [numbers(found, f"0 to {label}") for label in range(world.scale.sizes.classes)]
    for label, (ours, paper) in enumerate(zip(answers, PAPER, strict=True)):
        table.row(str(label), mean(ours), spread(ours), paper)
    target = int(keys.CorrespondenceKey.preset("basic").targets[0, 0])
    for label, says in ((0, "class 0"), (target, f"its target, class {target}")):
        table.claim(
            f"less than half of class 0 is taken for {says}",
            [50 - share for share in answers[label]],
            ours=answers[label],
            paper=str(PAPER[label]),
        )
    table.finish(world, "table2")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
