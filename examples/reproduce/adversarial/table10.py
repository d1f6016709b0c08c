"""Table 10 of "Adversarial Data Encryption": adapting from perturbed to clean images by Generate To Adapt.

The attacker has the released images with their labels and clean images without labels. The paper's first column, from
clean CIFAR-10 to another collection of the same classes, shows that the method works; here the attacker's clean images
made darker stand for such a shift.

Usage: python adversarial/table10.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, mean, minus, numbers, read_world

PAPER = {"clean to shifted": (83.80, 89.28), "released to clean": (28.73, 49.72)}
NAMES = ("source only", "last", "peak")


def tables(world: World) -> None:
    """Make the table."""
    columns = ["", "source only", "adapted", "adapted, best epoch", "paper: source only", "paper: adapted"]
    table = Table("Table 10: accuracy of Generate To Adapt, percent", columns)
    world.moved(table, "basic")
    epochs, large = world.scale.adaptation_epochs, world.scale.large_adaptation
    last = {}
    for case, paper in PAPER.items():
        found = world.each(measures.adaptation, case=case, epochs=epochs, large=large)
        before, last[case], peak = (numbers(found, name) for name in NAMES)
        table.row(case, mean(before), mean(last[case]), mean(peak), *paper)
        shown = f"{paper[1]} after {paper[0]}"
        table.claim(f"{case}: adaptation helps", minus(last[case], before), ours=last[case], paper=shown)
    far = minus(last["clean to shifted"], last["released to clean"], 20)
    table.claim("from released images it stays 20 points below", far, paper="49.72 against 89.28")
    table.finish(world, "table10")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
