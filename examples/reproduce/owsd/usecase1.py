"""Use case 1 of "One Way Scrambling by Deconvolution" (Table 1): the same labels in confidential data and cloud.

The confidential images are CIFAR-10's test images, nine tenths for training the inference network and one for testing.
One cloud was trained on CIFAR-10's training images; the other, ImageNet's, has other labels. "Cloud's label" is what
the cloud says of the plain image. The paper does not tell what embeddings alone are worth.

Usage: python owsd/usecase1.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import owsd_measures as measures
from owsd_bench import IMAGENET, OWN
from owsd_world import CLOUDS, COLUMNS, FUNCTION, Table, World, cells, mean, minus, numbers, read_world

PAPER = {"true label": (86.5, 99.2), "cloud's label": (84.8, 98.8)}
PAPER_PLAIN = (93.3, 99.8)
ROWS = ((OWN, "true label"), (OWN, "cloud's label"), (IMAGENET, "true label"))


def tables(world: World) -> None:
    """Make the table."""
    papers = ["paper: top-1", "top-5", "paper, cloud on plain images: top-1", "top-5"]
    columns = ["cloud", "target", *COLUMNS, "cloud on plain images: top-1", "top-5", *papers]
    table = Table("Use case 1: right labels in percent", columns)
    own = world.each(measures.plain_accuracy, folds=world.scale.folds, cloud=OWN, first=0)
    plain = mean(numbers(own, "top-1")), mean(numbers(own, "top-5"))
    for cloud, target in ROWS:
        found = world.each(measures.inference, cloud=cloud, encoders=[world.encoder], target=target, share=0.9)
        shown = (*plain, *PAPER[target], *PAPER_PLAIN) if cloud == OWN else (None,) * 6
        table.row(CLOUDS[cloud], target, *cells(found), *shown)
        both, embedding, alone = (numbers(found, f"{inputs} 1") for inputs in ("both", "embedding", "cloud"))
        said = f"cloud {CLOUDS[cloud]}, {target}"
        paper = str(PAPER[target][0]) if cloud == OWN else ""
        table.claim(f"{said}: 20 points above the cloud's answer alone", minus(both, alone, 20), ours=both, paper=paper)
        table.claim(f"{said}: at most 2 points below the embedding alone", minus(both, embedding, -2), ours=embedding)
        table.claim(f"{said}: the cloud's answer adds to the embedding", minus(both, embedding), reason=FUNCTION)
    table.finish(world, "usecase1")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
