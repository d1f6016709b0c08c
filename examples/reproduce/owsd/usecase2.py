"""Use case 2 of "One Way Scrambling by Deconvolution" (Table 2): fewer confidential labels than the cloud has.

ImageNet's cloud has 1,000 labels, CIFAR-10 has 2, 5 or all 10 of its own, drawn anew for each run. As many images of
each label, seven tenths for training. The paper has 10, 100 and all 1,000 labels of ImageNet, 50 images of each.

Usage: python owsd/usecase2.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import owsd_measures as measures
from owsd_bench import CLASSES
from owsd_world import COLUMNS, Table, World, cells, minus, numbers, read_world

PAPER = {1000: (67.9, 87.6), 100: (87.2, 96.7), 10: (95.5, 99.9)}
LABELS, EACH = (2, 5, 10), 50


def tables(world: World) -> None:
    """Make the table."""
    each = min(EACH, world.scale.sizes.images // CLASSES)
    title = f"Use case 2: right labels in percent, {each} images of each"
    table = Table(title, ["labels", *COLUMNS, "paper: top-1", "top-5"])
    found = {count: world.each(measures.few_labels, count=count, each=each) for count in LABELS}
    for count, runs in found.items():
        table.row(f"{count} of CIFAR-10", *cells(runs, count), None, None)
    for count, paper in PAPER.items():
        table.row(f"{count} of ImageNet", *(None,) * len(COLUMNS), *paper)
    for few, many in ((2, 5), (5, 10)):
        for inputs, shown in (("both", ""), ("embedding", ", embedding alone")):
            less, more = (numbers(found[count], f"{inputs} 1") for count in (few, many))
            table.claim(
                f"{few} labels{shown}: more are right than of {many}",
                minus(less, more),
                ours=less,
                paper="95.5, 87.2 and 67.9 of 10, 100 and 1,000",
            )
    for count in LABELS:
        both, alone = numbers(found[count], "both 1"), numbers(found[count], "cloud 1")
        table.claim(f"{count} labels: 10 points above the cloud's answer alone", minus(both, alone, 10), ours=both)
    table.finish(world, "usecase2")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
