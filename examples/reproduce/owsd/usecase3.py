"""Use case 3 of "One Way Scrambling by Deconvolution" (Table 3): labels that the cloud does not have.

The confidential images have the labels 5 to 9 of CIFAR-10, seven tenths of them for training. One cloud was trained on
the labels 0 to 4, so that it has none of them; for comparison, another one was trained on 5 to 9. In the paper the
cloud has the 100 labels of CIFAR-100, and the images ten others of ImageNet.

Usage: python owsd/usecase3.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import owsd_measures as measures
from owsd_world import COLUMNS, FUNCTION, Table, World, cells, mean, minus, numbers, read_world

PAPER = (96.0, 99.9)
FIRST, LABELS = 5, 5
ABSENT, PRESENT = "own 0-4", "own 5-9"
CLOUDS = {ABSENT: "0 to 4: none of them", PRESENT: "5 to 9: the same"}


def tables(world: World) -> None:
    """Make the table."""
    columns = ["labels of the cloud", *COLUMNS, "cloud on plain images: top-1", "paper: top-1", "top-5"]
    table = Table(f"Use case 3: right labels of {LABELS} in percent", columns)
    plain = world.each(measures.plain_accuracy, folds=world.scale.folds, cloud=PRESENT, first=FIRST)
    found = {cloud: world.each(measures.absent_labels, cloud=cloud, first=FIRST) for cloud in CLOUDS}
    for cloud, shown in CLOUDS.items():
        seen = mean(numbers(plain, "top-1")) if cloud == PRESENT else None
        table.row(shown, *cells(found[cloud], LABELS), seen, *(PAPER if cloud == ABSENT else (None, None)))
    absent, present = (numbers(each, "both 1") for each in found.values())
    embedding, alone = (numbers(found[ABSENT], f"{inputs} 1") for inputs in ("embedding", "cloud"))
    table.claim(
        "a cloud without the labels serves as well as one with them (to 2 points)",
        [2 - abs(difference) for difference in minus(absent, present)],
        ours=absent,
        paper=str(PAPER[0]),
    )
    table.claim("20 points above the cloud's answer alone", minus(absent, alone, 20), ours=absent)
    table.claim("the cloud's answer adds to the embedding", minus(absent, embedding), reason=FUNCTION)
    table.finish(world, "usecase3")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
