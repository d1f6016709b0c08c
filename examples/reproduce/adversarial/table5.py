"""Table 5 of "Adversarial Data Encryption": the right targets in wrong shares.

The release sets both versions of an image side by side, half and half. An attacker who knows both targets of every
class but not the shares perturbs its images with other shares, and looks how often the victim is right.

Usage: python adversarial/table5.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import itertools

import adversarial_measures as measures
from adversarial_world import Table, World, lowest, mean, minus, numbers, read_world, spread

PAPER = {0.5: 94.44, 0.4: 94.10, 0.3: 92.26, 0.2: 90.28, 0.1: 85.96, 0.0: 82.79}
CLEAN = 31.70
PLAN = "horizontal-concat"


def tables(world: World) -> None:
    """Make the table."""
    network = world.scale.victims[0]
    table = Table(f"Table 5: accuracy of {network}, percent", ["test set", "ours", "±", "paper"])
    world.moved(table, PLAN)
    settings = {"network": network, "plan": PLAN, "images": world.scale.attacked}
    found = {left: world.each(measures.shares, left=left, **settings) for left in PAPER}
    clean = numbers(found[0.5], "clean")
    table.row("clean", mean(clean), spread(clean), CLEAN)
    rates = {left: numbers(each, "accuracy") for left, each in found.items()}
    for left, rate in rates.items():
        table.row(f"{left:.0%} left, {1 - left:.0%} right", mean(rate), spread(rate), PAPER[left])
    drops = [[one - other + 1 for one, other in itertools.pairwise(each)] for each in zip(*rates.values(), strict=True)]
    table.claim(
        "the farther the shares are off, the lower (to 1 point)", [lowest(each) for each in drops], paper="94 to 83"
    )
    table.claim(
        "one target alone is above clean by 20 points",
        minus(rates[0.0], clean, 20),
        ours=rates[0.0],
        paper=f"{PAPER[0.0]} against {CLEAN}",
    )
    table.finish(world, "table5")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
