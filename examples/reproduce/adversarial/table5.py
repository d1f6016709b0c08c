"""Table 5 of "Adversarial Data Encryption": the right targets in wrong shares.

The release sets both versions of an image side by side, half and half. An attacker who knows both targets of every
class but not the shares perturbs its images with other shares, and looks how often the victim is right.

Usage: python adversarial/table5.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import itertools

import torch
from adversarial_world import Table, as_floats, read_world

from torchprotect import attacks, keys

PAPER = {0.5: 94.44, 0.4: 94.10, 0.3: 92.26, 0.2: 90.28, 0.1: 85.96, 0.0: 82.79}
PLAN = "horizontal-concat"


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    network = world.scale.victims[0]
    victim, targets = world.victim(network, PLAN), keys.CorrespondenceKey.preset(PLAN).targets
    images, labels = as_floats(world.test)
    table = Table(f"Table 5: accuracy of {network}, percent", ["test set", "ours", "paper"])
    found = []
    for left, paper in PAPER.items():
        shares = torch.tensor([[left, 1 - left]]).expand(world.classes, 2)
        result = attacks.hypothesis_accuracy(
            victim, world.surrogate, images, labels, targets=targets, weights=shares, settings=world.settings
        )
        if not found:
            table.row("clean", 100 * result.clean_accuracy, 31.70)
        found.append(100 * result.accuracy)
        table.row(f"{left:.0%} left, {1 - left:.0%} right", found[-1], paper)
        clean = 100 * result.clean_accuracy
    falling = all(before >= after - 1 for before, after in itertools.pairwise(found))
    table.direction("the farther the shares are off, the lower (to 1 point)", falling)
    table.direction("even one target alone is far above clean (by 20 points)", found[-1] > clean + 20)
    table.finish(world, "table5")


if __name__ == "__main__":
    main()
