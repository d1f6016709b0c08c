"""Use case 5 of "One Way Scrambling by Deconvolution" (Figure 2): training images of each label.

ImageNet's cloud, all 10 labels of CIFAR-10; the test images of a run are the same for all sizes. The paper has 100
labels of ImageNet.

Usage: python owsd/usecase5.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import itertools

from fits import COLUMNS, infer, split_by_count
from owsd_world import CLASSES, IMAGENET, Table, read_world

PAPER = {35: 90.6, 45: 91.2}


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    labels, sizes = world.confidential.labels, world.scale.images_per_label
    test = world.scale.images // CLASSES - sizes[-1]
    table = Table(
        f"Use case 5: right labels in percent, {test} test images of each", ["images a label", *COLUMNS, "paper: top-1"]
    )
    observed, found = world.observe(IMAGENET, world.encoder), {}
    for size in sizes:
        splits = [split_by_count(labels, size, test, run) for run in range(world.scale.runs)]
        found[size] = infer(world, observed, labels, CLASSES, splits)
        table.row(str(size), *found[size].cells(CLASSES), PAPER.get(size))
    means = [runs.mean() for runs in found.values()]
    table.direction("many images a label do better than few", means[-1] > means[0])
    rising = all(now > before - 1 for before, now in itertools.pairwise(means))
    table.direction("the more, the better, step by step (to 1 point)", rising)
    table.direction(
        "most of it is reached early: the second half of the steps brings less than the first",
        means[-1] - means[len(means) // 2] < means[len(means) // 2] - means[0],
    )
    table.finish(world, "usecase5")


if __name__ == "__main__":
    main()
