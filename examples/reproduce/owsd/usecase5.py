"""Use case 5 of "One Way Scrambling by Deconvolution" (Figure 2): training images of each label.

ImageNet's cloud, all 10 labels of CIFAR-10; the test images of a fold are the same for all sizes. The paper has 100
labels of ImageNet. The gain by the cloud's answer is what they bring beside the embedding.

Usage: python owsd/usecase5.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

from owsd_bench import CLASSES, IMAGENET
from owsd_measures import Task
from owsd_world import COLUMNS, FUNCTION, Table, World, adds, mean, minus, numbers, read_world, row

PAPER = {35: 90.6, 45: 91.2}


def tables(world: World) -> None:
    """Make the table."""
    sizes = world.scale.images_per_label
    test = world.scale.sizes.images // CLASSES - sizes[-1]
    title = f"Use case 5: right labels in percent, {test} test images of each"
    table = Table(title, ["images a label", *COLUMNS, "gain by the cloud's answer", "paper: top-1"])
    found = {size: world.infer(IMAGENET, Task(train=size, test=test)) for size in sizes}
    for size, each in found.items():
        table.row(str(size), *row(each, CLASSES), mean(adds(each)), PAPER.get(size))
    few, middle, many = (found[sizes[index]] for index in (0, len(sizes) // 2, -1))
    table.claim(
        "many images a label do better than few",
        minus(numbers(many), numbers(few)),
        ours=numbers(many),
        paper="8.7 more",
    )
    table.claim(
        "most of it is reached early: the second half of the steps brings less than the first",
        minus(minus(numbers(middle), numbers(few)), minus(numbers(many), numbers(middle))),
        ours=numbers(middle),
        paper="plateau at 35",
    )
    table.claim(f"{sizes[0]} images a label: the cloud's answer adds to the embedding", adds(few), ours=adds(few))
    table.claim(
        f"{sizes[-1]} images a label: the cloud's answer adds to the embedding",
        adds(many),
        ours=adds(many),
        reason=FUNCTION,
    )
    table.claim(
        "not in the paper: it adds more with few images than with many", minus(adds(few), adds(many)), ours=adds(few)
    )
    table.finish(world, "usecase5")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
