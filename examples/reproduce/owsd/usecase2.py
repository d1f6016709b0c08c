"""Use case 2 of "One Way Scrambling by Deconvolution" (Table 2): fewer confidential labels than the cloud has.

ImageNet's cloud has 1,000 labels, CIFAR-10 has 2, 5 or all 10 of its own, drawn anew for each run. As many images of
each label, seven tenths for training. The paper has 10, 100 and all 1,000 labels of ImageNet, 50 images of each.

Usage: python owsd/usecase2.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import torch
from fits import COLUMNS, Runs, infer, split_by_share
from owsd_world import CLASSES, IMAGENET, Table, World, read_world

PAPER = {1000: (67.9, 87.6), 100: (87.2, 96.7), 10: (95.5, 99.9)}
LABELS, EACH = (2, 5, 10), 50


def measure(world: World, count: int) -> Runs:
    """Draw labels, and infer them."""
    observed, labels, numbers = world.observe(IMAGENET, world.encoder), world.confidential.labels, []
    for run in range(5):
        order = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(run))
        chosen = torch.cat([(labels == label).nonzero()[:EACH, 0] for label in order[:count].tolist()])
        renamed = order.argsort()[labels[chosen]]
        split = split_by_share(renamed, 0.7, run)
        numbers += infer(world, observed[chosen], renamed, count, [split]).numbers
    return Runs(numbers)


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    each = min(EACH, world.scale.images // CLASSES)
    table = Table(
        f"Use case 2: right labels in percent, {each} images of each", ["labels", *COLUMNS, "paper: top-1", "top-5"]
    )
    found = [measure(world, count) for count in LABELS]
    for count, runs in zip(LABELS, found, strict=True):
        table.row(f"{count} of CIFAR-10", *runs.cells(count), None, None)
    for count, paper in PAPER.items():
        table.row(f"{count} of ImageNet", *(None,) * len(COLUMNS), *paper)
    two, five, ten = found
    table.direction("the fewer labels, the more are right", two.mean() > five.mean() > ten.mean())
    only = [runs.mean("embedding") for runs in found]
    table.direction("so it is with the embedding alone", only[0] > only[1] > only[2])
    far = all(runs.mean() > runs.mean("cloud") + 10 for runs in found)
    table.direction("far above the cloud's answer alone (by 10 points)", far)
    table.finish(world, "usecase2")


if __name__ == "__main__":
    main()
