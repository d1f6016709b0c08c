"""Use case 5 of "One Way Scrambling by Deconvolution" (Figure 2): training images of each label.

ImageNet's cloud, all 10 labels of CIFAR-10; the test images of a run are the same for all sizes. The paper has 100
labels of ImageNet.

Usage: python owsd/usecase5.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import itertools

import owsd_measures as measures
from owsd_bench import CLASSES
from owsd_world import COLUMNS, Table, World, cells, minus, numbers, read_world

PAPER = {35: 90.6, 45: 91.2}


def tables(world: World) -> None:
    """Make the table."""
    sizes = world.scale.images_per_label
    test = world.scale.sizes.images // CLASSES - sizes[-1]
    title = f"Use case 5: right labels in percent, {test} test images of each"
    table = Table(title, ["images a label", *COLUMNS, "paper: top-1"])
    found = {}
    for size in sizes:
        runs = world.each(measures.by_images, train=size, test=test)
        found[size] = numbers(runs, "both 1")
        table.row(str(size), *cells(runs), PAPER.get(size))
    few, middle, many = (found[sizes[place]] for place in (0, len(sizes) // 2, -1))
    table.claim(
        f"{sizes[-1]} images a label do better than {sizes[0]}", minus(many, few), ours=many, paper="8.7 points"
    )
    steps = [minus(more, less, -1) for less, more in itertools.pairwise(found.values())]
    table.claim("the more, the better, step by step (to 1 point)", [min(each) for each in zip(*steps, strict=True)])
    early = [first - second for first, second in zip(minus(middle, few), minus(many, middle), strict=True)]
    table.claim("the first half of the steps brings more than the second", early)
    table.finish(world, "usecase5")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
