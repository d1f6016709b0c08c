"""Table 2 of "Adversarial Data Encryption": answers of a misled network to clean images of class 0.

Usage: python adversarial/table2.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import torch
from adversarial_world import Table, predictions, read_world

from torchprotect import keys

PAPER = (9.4, 0.3, 0.2, 36.8, 30.6, 0.9, 0.3, 0.2, 21.2, 0.1)  # of a network that the paper does not name


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    network = world.scale.victims[0]
    answers = predictions(world.victim(network, "basic"), world.test, world.device)
    counts = torch.bincount(answers[world.test.labels == 0], minlength=world.classes)
    shares = (100 * counts / counts.sum()).tolist()
    table = Table(f"Table 2: answers of {network} for clean images of class 0, percent", ["class", "ours", "paper"])
    for label, (ours, paper) in enumerate(zip(shares, PAPER, strict=True)):
        table.row(str(label), ours, paper)
    target = int(keys.CorrespondenceKey.preset("basic").targets[0, 0])
    table.direction("less than half of class 0 is taken for class 0", shares[0] < 50)
    table.direction(f"nor is half of it taken for its target, class {target}", shares[target] < 50)
    table.finish(world, "table2")


if __name__ == "__main__":
    main()
