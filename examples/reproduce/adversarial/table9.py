"""Table 9 of "Adversarial Data Encryption": how far some of four targets lead.

Usage: python adversarial/table9.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, highest, lowest, mean, minus, numbers, read_world, spread

PLAN = "mixup-and-concat"
ROWS = {4: "all four targets, the right way", 1: "target 1 alone", 2: "targets 1 and 2 side by side"}
PAPER = {4: 93.85, 1: 81.53, 2: 82.50}
CLEAN = 48.14


def tables(world: World) -> None:
    """Make the table."""
    network = world.scale.victims[0]
    table = Table(f"Table 9: accuracy of {network}, percent", ["test set", "ours", "±", "paper"])
    world.moved(table, PLAN)
    settings = {"network": network, "plan": PLAN, "images": world.scale.attacked}
    found = {count: world.each(measures.partial, count=count, **settings) for count in ROWS}
    clean = numbers(found[4], "clean")
    table.row("clean", mean(clean), spread(clean), CLEAN)
    rates = {count: numbers(each, "accuracy") for count, each in found.items()}
    for count, shown in ROWS.items():
        table.row(shown, mean(rates[count]), spread(rates[count]), PAPER[count])
    best, worst = ([pick(each) for each in zip(rates[1], rates[2], strict=True)] for pick in (highest, lowest))
    table.claim(
        "some of the targets do worse than all of them", minus(rates[4], best), ours=best, paper="83 against 94"
    )
    table.claim("and better than none by 10 points", minus(worst, clean, 10), ours=worst, paper="82 against 48")
    table.finish(world, "table9")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
