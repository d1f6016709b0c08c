"""Use case 3 of "One Way Scrambling by Deconvolution" (Table 3): labels that the cloud does not have.

The confidential images have the labels 5 to 9 of CIFAR-10, seven tenths of them for training. One cloud was trained on
the labels 0 to 4, so that it has none of them; for comparison, another one was trained on 5 to 9. In the paper the
cloud has the 100 labels of CIFAR-100, and the images ten others of ImageNet.

Usage: python owsd/usecase3.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import owsd_measures
from owsd_bench import OWN_FEW
from owsd_measures import Task
from owsd_world import COLUMNS, FUNCTION, Table, World, adds, minus, numbers, read_world, row

PAPER = (96.0, 99.9)
LABELS = 5
ABSENT, PRESENT = OWN_FEW
CLOUDS = {ABSENT: "0 to 4: none of them", PRESENT: "5 to 9: the same"}


def tables(world: World) -> None:
    """Make the table."""
    columns = ["labels of the cloud", *COLUMNS, "cloud on plain images: top-1", "paper: top-1", "top-5"]
    table = Table(f"Use case 3: right labels of {LABELS} in percent", columns)
    found = {cloud: world.infer(cloud, Task(LABELS, first=LABELS, train=0.7)) for cloud in CLOUDS}
    plain = world.cells.get(owsd_measures.on_plain, cloud=PRESENT)["top-1"]
    table.row(CLOUDS[ABSENT], *row(found[ABSENT], LABELS), None, *PAPER)
    table.row(CLOUDS[PRESENT], *row(found[PRESENT], LABELS), plain, None, None)
    absent, present = (numbers(found[cloud]) for cloud in CLOUDS)
    table.claim(
        "at most 2 points below a cloud that has the labels", minus(absent, present, -2), ours=absent, paper="96.0"
    )
    table.claim(
        "far above the cloud's answer alone (by 20 points)",
        minus(absent, numbers(found[ABSENT], "cloud 1"), 20),
        ours=absent,
    )
    gains = adds(found[ABSENT])
    table.claim("the cloud's answer adds to the embedding", gains, ours=gains, reason=FUNCTION)
    table.finish(world, "usecase3")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
