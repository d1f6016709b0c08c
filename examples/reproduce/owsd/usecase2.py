"""Use case 2 of "One Way Scrambling by Deconvolution" (Table 2): fewer confidential labels than the cloud has.

ImageNet's cloud has 1,000 labels, CIFAR-10 has 2, 5 or all 10 of its own, drawn anew for each fold. As many images of
each label, seven tenths for training. The paper has 10, 100 and all 1,000 labels of ImageNet, 50 images of each.

Usage: python owsd/usecase2.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

from owsd_bench import CLASSES, IMAGENET
from owsd_measures import Task
from owsd_world import COLUMNS, Table, World, minus, numbers, read_world, row

PAPER = {1000: (67.9, 87.6), 100: (87.2, 96.7), 10: (95.5, 99.9)}
LABELS, EACH = (2, 5, 10), 50


def tables(world: World) -> None:
    """Make the table."""
    each = min(EACH, world.scale.sizes.images // CLASSES)
    title = f"Use case 2: right labels in percent, {each} images of each"
    table = Table(title, ["labels", *COLUMNS, "paper: top-1", "top-5"])
    found = {count: world.infer(IMAGENET, Task(count, None, EACH, 0.7)) for count in LABELS}
    for count in LABELS:
        table.row(f"{count} of CIFAR-10", *row(found[count], count), None, None)
    for count, paper in PAPER.items():
        table.row(f"{count} of ImageNet", *(None,) * len(COLUMNS), *paper)
    two, *_, ten = (numbers(found[count]) for count in LABELS)
    table.claim("two labels are told better than ten", minus(two, ten), ours=two, paper="67.9, 87.2, 95.5")
    few, *_, many = (numbers(found[count], "embedding 1") for count in LABELS)
    table.claim("not in the paper: so it is with the embedding alone", minus(few, many), ours=few)
    for count in LABELS:
        table.claim(
            f"{count} labels: far above the cloud's answer alone (by 10 points)",
            minus(numbers(found[count]), numbers(found[count], "cloud 1"), 10),
            ours=numbers(found[count]),
        )
    table.finish(world, "usecase2")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
