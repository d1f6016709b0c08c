"""What an attacker does to learn from perturbed images all the same, beside the protection that it undoes.

All train the same network on the released images of the basic plan and are tested on clean ones; "peak" is the best
epoch, known to whoever has a few clean labelled images. For comparison: training on the clean images.

Usage: python adversarial/countermeasures.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, mean, minus, numbers, read_world, spread

PLAIN = "released images, plain training"
CASES = (
    "clean images, plain training",
    PLAIN,
    "JPEG, quality 10",
    "grey",
    "3 bits",
    "2 bits",
    "strong augmentation",
    "orthogonal projection",
    "adversarial training, 5 steps, the owner's eps",
)
CLAIMED = ("JPEG", "adversarial", "strong", "2 bits")


def tables(world: World) -> None:
    """Make the table."""
    network, epochs = world.scale.victims[0], world.scale.countermeasure_epochs
    title = f"Countermeasures: accuracy of {network} on clean images, percent"
    table = Table(title, ["", "last", "±", "peak", "±"])
    world.moved(table, "basic")
    found = {}
    for case in CASES:
        if case == "grey" and "mnist" in world.given.shown_sources:
            continue  # they are grey
        each = world.each(measures.countermeasure, network=network, case=case, epochs=epochs)
        last, peak = numbers(each, "last"), numbers(each, "peak")
        found[case] = last, peak
        table.row(case, mean(last), spread(last), mean(peak), spread(peak))
    last, peak = found[PLAIN]
    table.claim("released images: the peak epoch is above the last by 5 points", minus(peak, last, 5), ours=peak)
    for case, (treated, _) in found.items():
        if case.startswith(CLAIMED):
            table.claim(f"{case}: raises the last epoch by 5 points", minus(treated, last, 5), ours=treated)
    table.finish(world, "countermeasures")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
