"""Table 9 of "Adversarial Data Encryption": how far some of four targets lead.

Usage: python adversarial/table9.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import torch
from adversarial_world import Table, as_floats, read_world

from torchprotect import attacks, keys

PLAN = "mixup-and-concat"


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    network = world.scale.victims[0]
    key = keys.CorrespondenceKey.preset(PLAN)
    images, labels = as_floats(world.test)
    half = torch.full((world.classes, 2), 0.5)
    plans = [
        ("all four targets, the right way", key.targets, key.weights, key.mix_mode, 93.85),
        ("target 1 alone", key.targets[:, :1], half[:, :1] * 2, "concat", 81.53),
        ("targets 1 and 2 side by side", key.targets[:, :2], half, "concat", 82.50),
    ]
    table = Table(f"Table 9: accuracy of {network}, percent", ["test set", "ours", "paper"])
    found = []
    for name, targets, weights, mix_mode, paper in plans:
        result = attacks.hypothesis_accuracy(
            world.victim(network, PLAN),
            world.surrogate,
            images,
            labels,
            targets=targets,
            weights=weights,
            mix_mode=mix_mode,
            settings=world.settings,
        )
        if not found:
            table.row("clean", 100 * result.clean_accuracy, 48.14)
        found.append(100 * result.accuracy)
        table.row(name, found[-1], paper)
    clean = 100 * result.clean_accuracy
    table.direction("some of the targets do worse than all of them", max(found[1:]) < found[0])
    table.direction("and far better than none (by 10 points)", min(found[1:]) > clean + 10)
    table.finish(world, "table9")


if __name__ == "__main__":
    main()
