"""Table 3 of "Adversarial Data Encryption": the map of classes recovered by trying, and by two readings in one pass.

The attacker has a network trained on the released images (the victim) and one trained on clean images of its own (the
surrogate). For each class and each candidate target it perturbs its images of that class and keeps the candidate with
which the victim is right most often. The readings need no trials: the victim's mistakes on clean images, and the
surrogate's mistakes on released ones.

Usage: python adversarial/table3.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, highest, mean, numbers, read_world, spread

from torchprotect import keys

PAPER = (22.61, 22.15, 22.10, 22.11, 22.21, 22.17, 22.24, 22.22, 31.49, 22.30)  # for class 0
PLAN = "basic"
READINGS = ("by trying", "by the victim's mistakes", "by the surrogate's mistakes")


def tables(world: World) -> None:
    """Make the table."""
    network, classes = world.scale.victims[0], world.scale.sizes.classes
    found = world.each(measures.enumeration, network=network, plan=PLAN, images=world.scale.attacked)
    title = f"Table 3: accuracy of {network} with class 0 led to each target, percent"
    table = Table(title, ["0 to", "ours", "±", "paper"])
    world.moved(table, PLAN)
    scores = [numbers(found, f"0 to {label}") for label in range(classes)]
    for label, (ours, paper) in enumerate(zip(scores, PAPER, strict=True)):
        table.row("0 (clean)" if label == 0 else str(label), mean(ours), spread(ours), paper)
    target = int(keys.CorrespondenceKey.preset(PLAN).targets[0, 0])
    wrong = [
        highest(each) for each in zip(*(scores[label] for label in range(classes) if label != target), strict=True)
    ]
    table.claim(
        f"the true target of class 0, {target}, is the only maximum",
        [right - other for right, other in zip(scores[target], wrong, strict=True)],
        ours=scores[target],
        paper=f"{PAPER[8]} against {PAPER[9]}",
    )
    for how in READINGS:
        hits = numbers(found, f"found {how}")
        table.row(f"classes found {how}, of {classes}", mean(hits), spread(hits), None)
        table.claim(f"more than half of the map is found {how}", [hit - classes / 2 for hit in hits], ours=hits)
    table.finish(world, "table3")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
