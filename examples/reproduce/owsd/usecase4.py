"""Use case 4 of "One Way Scrambling by Deconvolution" (Table 4): more than one encoder.

Each encoder's embeddings go through the same generator, and the cloud's answers for all of them are set side by side.
The splits are those of use case 1. A cloud is none of the encoders: where one is the ImageNet cloud, it is left out.

Usage: python owsd/usecase4.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import itertools

from fits import COLUMNS, infer, shown, split_by_share
from owsd_world import CLASSES, IMAGENET, OWN, Table, read_world

PAPER = ((86.5, 99.2, None), (88.1, 99.3, "below 0.001"), (88.9, 99.4, "below 0.01"))


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    labels = world.confidential.labels
    splits = [split_by_share(labels, 0.9, run) for run in range(world.scale.runs)]
    papers = [f"paper, CIFAR-10: {name}" for name in ("top-1", "top-5", "p, one fewer")]
    table = Table("Use case 4: right labels in percent", ["cloud", "encoders", *COLUMNS, "p, one fewer", *papers])
    for cloud in (OWN, IMAGENET):
        encoders = [each for each in world.scale.encoders if cloud == OWN or each != world.scale.cloud]
        name, found = "trained on CIFAR-10" if cloud == OWN else f"ImageNet's, {world.scale.cloud}", []
        for count in range(1, len(encoders) + 1):
            found.append(infer(world, world.observe(cloud, *encoders[:count]), labels, CLASSES, splits))
            gain = shown(found[-1].above(found[-2])) if count > 1 else None
            paper = PAPER[count - 1] if cloud == OWN and count <= len(PAPER) else (None,) * 3
            table.row(name, " + ".join(encoders[:count]), *found[-1].cells(CLASSES), gain, *paper)
        pairs = list(itertools.pairwise(found))
        rising = all(few.mean() < more.mean() for few, more in pairs)
        table.direction(f"cloud {name}: the more encoders, the more labels are right", rising)
        sure = all(more.above(few) < 0.05 for few, more in pairs)
        table.direction(f"cloud {name}: each encoder adds (p < 0.05)", sure)
        alone = all(more.above(few, "embedding", "embedding") < 0.05 for few, more in pairs)
        table.direction(f"cloud {name}: each adds to embeddings alone (p < 0.05)", alone)
        table.direction(f"cloud {name}: answers add to all embeddings (p < 0.05)", found[-1].adds < 0.05)
    table.finish(world, "usecase4")


if __name__ == "__main__":
    main()
