"""Table 1 of "Adversarial Data Encryption": networks trained on perturbed images, tested on perturbed and clean ones.

Enc is tested on images perturbed toward the target of what the base network takes them for, as the authors did; "Enc,
true labels" uses the labels. Orig is tested on clean images; for Orig+P every answer is replaced by its target. R+Orig
is trained on images that were each perturbed toward a random class, and tested on clean ones.

Usage: python adversarial/table1.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, mean, minus, numbers, read_world, spread

PAPER = {
    "densenet100bc": (94.70, 22.61, 32.00, 94.26),
    "preresnet110": (94.64, 20.67, 41.95, 93.26),
    "vgg19": (93.58, 28.77, 34.43, 92.17),
}


def tables(world: World) -> None:
    """Make the table."""
    names = ["Enc", "Enc, true labels", "Orig", "±", "Orig+P", "±", "R+Orig", "clean"]
    papers = [f"paper: {name}" for name in ("Enc", "Orig", "Orig+P", "R+Orig")]
    table = Table("Table 1: accuracy in percent by training and test set", ["network", *names, *papers])
    bases = world.each(measures.base)
    table.row("base", *(None,) * 7, mean(numbers(bases, "base")), *(None,) * 4)
    world.moved(table, "basic")
    for network in world.scale.victims:
        found = world.each(measures.victim, network=network, plan="basic")
        enc, true_enc, orig, mapped = (numbers(found, name) for name in ("enc", "enc, true labels", "orig", "orig + p"))
        clean = numbers(world.each(measures.clean, network=network), "accuracy")
        compared = network in world.scale.compared
        random = numbers(world.each(measures.random_targets, network=network), "orig") if compared else []
        cells = [mean(enc), mean(true_enc), mean(orig), spread(orig), mean(mapped), spread(mapped)]
        table.row(network, *cells, mean(random) if compared else None, mean(clean), *PAPER.get(network, (None,) * 4))
        table.claim(
            f"{network}: Enc above Orig by 30 points", minus(enc, orig, 30), ours=enc, paper="94 against 21 to 29"
        )
        if compared:
            says = f"{network}: R+Orig within 10 points of clean"
            table.claim(says, minus(random, clean, -10), ours=random, paper="92 to 94")
        table.claim(
            f"{network}: Orig+P above Orig",
            minus(mapped, orig),
            ours=mapped,
            paper="32 to 42 against 21 to 29",
            reason="Neither larger networks, longer trainings nor larger radii are measured.",
        )
    table.finish(world, "table1")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
