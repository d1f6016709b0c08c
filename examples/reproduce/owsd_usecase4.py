"""Use case 4 of "One Way Scrambling by Deconvolution" (Table 4): more than one encoder.

Each encoder's embeddings go through the same generator, and the cloud's answers for all of them are set side by side.
The splits are those of use case 1. A cloud is none of the encoders: where one is the ImageNet cloud, it is left out.

Usage: python owsd_usecase4.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import itertools

from _owsd import CLASSES, IMAGENET, OWN, Table, read_world
from _owsd_fits import COLUMNS, infer, split_by_share

PAPER = ((86.5, 99.2), (88.1, 99.3), (88.9, 99.4))


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    labels = world.confidential.labels
    splits = [split_by_share(labels, 0.9, run) for run in range(world.scale.runs)]
    table = Table(
        "Use case 4: right labels in percent", ["cloud", "encoders", *COLUMNS, "paper, CIFAR-10: top-1", "top-5"]
    )
    for cloud in (OWN, IMAGENET):
        encoders = [each for each in world.scale.encoders if cloud == OWN or each != world.scale.cloud]
        name, found = "trained on CIFAR-10" if cloud == OWN else f"ImageNet's, {world.scale.cloud}", []
        for count in range(1, len(encoders) + 1):
            found.append(infer(world, world.observe(cloud, *encoders[:count]), labels, CLASSES, splits))
            paper = PAPER[count - 1] if cloud == OWN and count <= len(PAPER) else (None, None)
            table.row(name, " + ".join(encoders[:count]), *found[-1].cells(CLASSES), *paper)
        for inputs, said in (("both", "the more encoders, the more"), ("embedding", "so it is with embeddings alone")):
            rising = all(few.mean(inputs) < more.mean(inputs) for few, more in itertools.pairwise(found))
            table.direction(
                f"cloud {name}: {said} labels are right" if inputs == "both" else f"cloud {name}: {said}", rising
            )
    table.finish(world, "owsd_usecase4")


if __name__ == "__main__":
    main()
