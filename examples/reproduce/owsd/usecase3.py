"""Use case 3 of "One Way Scrambling by Deconvolution" (Table 3): labels that the cloud does not have.

The confidential images have the labels 5 to 9 of CIFAR-10, seven tenths of them for training. One cloud was trained on
the labels 0 to 4, so that it has none of them; for comparison, another one was trained on 5 to 9. In the paper the
cloud has the 100 labels of CIFAR-100, and the images ten others of ImageNet.

Usage: python owsd/usecase3.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

from fits import COLUMNS, infer, split_by_share
from owsd_world import Table, read_world

PAPER = (96.0, 99.9)
LABELS = 5
CLOUDS = {"own 0-4": "0 to 4: none of them", "own 5-9": "5 to 9: the same"}


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    chosen = (world.confidential.labels >= LABELS).nonzero()[:, 0]
    labels = world.confidential.labels[chosen] - LABELS
    splits = [split_by_share(labels, 0.7, run) for run in range(world.scale.runs)]
    columns = ["labels of the cloud", *COLUMNS, "cloud on plain images: top-1", "paper: top-1", "top-5"]
    table = Table(f"Use case 3: right labels of {LABELS} in percent", columns)
    found = {}
    for cloud, shown in CLOUDS.items():
        found[cloud] = infer(world, world.observe(cloud, world.encoder)[chosen], labels, LABELS, splits)
        plain = world.plain_vectors(cloud)[chosen].argmax(1)
        seen = 100 * float((plain == labels).double().mean()) if cloud == "own 5-9" else None
        table.row(shown, *found[cloud].cells(LABELS), seen, *(PAPER if cloud == "own 0-4" else (None, None)))
    absent, present = found.values()
    table.direction("about as good as with labels the cloud has (to 2 points)", abs(absent.mean() - present.mean()) < 2)
    table.direction("far above the cloud's answer alone (by 20 points)", absent.mean() > absent.mean("cloud") + 20)
    table.direction("the cloud's answer adds to the embedding (p < 0.05)", absent.adds < 0.05)
    table.finish(world, "usecase3")


if __name__ == "__main__":
    main()
