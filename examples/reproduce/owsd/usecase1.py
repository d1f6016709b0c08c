"""Use case 1 of "One Way Scrambling by Deconvolution" (Table 1): the same labels in confidential data and cloud.

The confidential images are CIFAR-10's test images, nine tenths for training the inference network and one for testing.
One cloud was trained on CIFAR-10's training images; the other, ImageNet's, has other labels. "Cloud's label" is what
the cloud says of the plain image. The paper does not tell what embeddings alone are worth.

Usage: python owsd/usecase1.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import owsd_measures
from owsd_bench import CLASSES, IMAGENET, OWN
from owsd_measures import Task
from owsd_world import CLOUDS, COLUMNS, FUNCTION, Table, World, adds, minus, numbers, read_world, row

PAPER = {"true label": (86.5, 99.2), "cloud's label": (84.8, 98.8)}
PAPER_PLAIN = (93.3, 99.8)
TASKS = {"true label": Task(), "cloud's label": Task(target=OWN)}


def tables(world: World) -> None:
    """Make the table."""
    papers = ["paper: top-1", "top-5", "paper, cloud on plain images: top-1", "top-5"]
    columns = ["cloud", "target", *COLUMNS, "cloud on plain images: top-1", "top-5", *papers]
    table = Table("Use case 1: right labels in percent", columns)
    plain = world.cells.get(owsd_measures.on_plain, cloud=OWN)
    for cloud, target in ((OWN, "true label"), (OWN, "cloud's label"), (IMAGENET, "true label")):
        found, paper = world.infer(cloud, TASKS[target]), PAPER[target] if cloud == OWN else (None, None)
        papers = [plain["top-1"], plain["top-5"], *paper, *PAPER_PLAIN] if cloud == OWN else [None] * 6
        table.row(CLOUDS[cloud], target, *row(found, CLASSES), *papers)
        said, ours = f"cloud {CLOUDS[cloud]}, {target}", numbers(found)
        table.claim(
            f"{said}: far above the cloud's answer alone (by 20 points)",
            minus(ours, numbers(found, "cloud 1"), 20),
            ours=ours,
            paper="" if paper[0] is None else str(paper[0]),
        )
        table.claim(
            f"{said}: no more than 2 points below the embedding alone",
            minus(ours, numbers(found, "embedding 1"), -2),
            ours=numbers(found, "embedding 1"),
        )
        table.claim(f"{said}: the cloud's answer adds to the embedding", adds(found), ours=adds(found), reason=FUNCTION)
    table.finish(world, "usecase1")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
