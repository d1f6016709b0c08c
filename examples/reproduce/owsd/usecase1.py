"""Use case 1 of "One Way Scrambling by Deconvolution" (Table 1): the same labels in confidential data and cloud.

The confidential images are CIFAR-10's test images, nine tenths for training the inference network and one for testing.
One cloud was trained on CIFAR-10's training images; the other, ImageNet's, has other labels. "Cloud's label" is what
the cloud says of the plain image. The paper does not tell what embeddings alone are worth.

Usage: python owsd/usecase1.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

from fits import COLUMNS, infer, right, split_by_share
from owsd_world import CLASSES, IMAGENET, OWN, Table, read_world

PAPER = {"true label": (86.5, 99.2), "cloud's label": (84.8, 98.8)}
PAPER_PLAIN = (93.3, 99.8)


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    labels = world.confidential.labels
    splits = [split_by_share(labels, 0.9, run) for run in range(world.scale.runs)]
    papers = ["paper: top-1", "top-5", "paper, cloud on plain images: top-1", "top-5"]
    columns = ["cloud", "target", *COLUMNS, "cloud on plain images: top-1", "top-5", *papers]
    table = Table("Use case 1: right labels in percent", columns)
    own = world.plain_vectors(OWN)
    plain = right(own, labels), right(own, labels, 5)
    rows = [(OWN, "true label", labels), (OWN, "cloud's label", own.argmax(1)), (IMAGENET, "true label", labels)]
    for cloud, target, wanted in rows:
        runs = infer(world, world.observe(cloud, world.encoder), wanted, CLASSES, splits)
        name = "trained on CIFAR-10" if cloud == OWN else "ImageNet's, other labels"
        shown = (*plain, *PAPER[target], *PAPER_PLAIN) if cloud == OWN else (None,) * 6
        table.row(name, target, *runs.cells(CLASSES), *shown)
        both, embedding = runs.mean(), runs.mean("embedding")
        said = f"cloud {name}, {target}"
        table.direction(f"{said}: far above the cloud's answer alone (by 20 points)", both > runs.mean("cloud") + 20)
        table.direction(f"{said}: no more than 2 points below the embedding alone", both > embedding - 2)
        table.direction(f"{said}: the cloud's answer adds to the embedding (p < 0.05)", runs.adds < 0.05)
    table.finish(world, "usecase1")


if __name__ == "__main__":
    main()
