"""Table 8 of "Adversarial Data Encryption": both targets of each class recovered by trying all ordered pairs.

The attacker knows that every class has two targets, set side by side half and half.

Usage: python adversarial/table8.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, mean, numbers, read_world, spread

PAPER = {"best": 41.31, "worst": 32.52}  # of the 18 pairs that the paper shows for class 0
PLAN = "horizontal-concat"
ROWS = {
    "best": "best pair",
    "worst": "worst pair",
    "true": "the true pair",
    "rank": "rank of the true pair, of 100",
    "unordered": "pairs found in any order, of 10 classes",
    "hits": "targets found, of 20",
    "trials": "trials",
}


def tables(world: World) -> None:
    """Make the table."""
    network = world.scale.victims[0]
    found = world.each(measures.pairs, network=network, plan=PLAN, images=world.scale.attacked)
    table = Table(f"Table 8: accuracy of {network} with class 0 led to pairs, percent", ["", "ours", "±", "paper"])
    world.moved(table, PLAN)
    for name, shown in ROWS.items():
        each = numbers(found, name)
        table.row(shown, mean(each), spread(each), PAPER.get(name))
    rank, unordered = numbers(found, "rank"), numbers(found, "unordered")
    table.claim("the true pair is among the best five of class 0", [5.5 - each for each in rank], ours=rank)
    table.claim("more pairs found, in any order, than by chance", [each - 1 for each in unordered], ours=unordered)
    table.finish(world, "table8")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
