"""Use case 4 of "One Way Scrambling by Deconvolution" (Table 4): more than one encoder.

Each encoder's embeddings go through the same generator, and the cloud's answers for all of them are set side by side.
The splits are those of use case 1. A cloud is none of the encoders: where one is ImageNet's cloud, it is left out, and
there is one encoder fewer.

Usage: python owsd/usecase4.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import itertools

from owsd_bench import CLASSES, IMAGENET, OWN
from owsd_measures import Task
from owsd_world import CLOUDS, COLUMNS, FUNCTION, Table, World, adds, minus, numbers, read_world, row, shown_p

PAPER = ((86.5, 99.2, None), (88.1, 99.3, "below 0.001"), (88.9, 99.4, "below 0.01"))


def tables(world: World) -> None:
    """Make the table."""
    papers = [f"paper, CIFAR-10: {name}" for name in ("top-1", "top-5", "p, one fewer")]
    table = Table("Use case 4: right labels in percent", ["cloud", "encoders", *COLUMNS, "p, one fewer", *papers])
    for cloud in (OWN, IMAGENET):
        encoders = world.scale.sizes.encoders_for(cloud)
        name = CLOUDS[cloud] if cloud == OWN else f"{CLOUDS[cloud]}, {world.scale.sizes.cloud}"
        found = [world.infer(cloud, Task(), encoders[:count]) for count in range(1, len(encoders) + 1)]
        for count, each in enumerate(found, 1):
            p = shown_p(minus(numbers(each), numbers(found[count - 2]))) if count > 1 else None
            paper = PAPER[count - 1] if cloud == OWN and count <= len(PAPER) else (None,) * 3
            table.row(name, " + ".join(encoders[:count]), *row(each, CLASSES), p, *paper)
        for count, (few, more) in enumerate(itertools.pairwise(found), 2):
            paper = str(PAPER[count - 1][0]) if cloud == OWN and count <= len(PAPER) else ""
            table.claim(
                f"cloud {name}: {count} encoders get more right than {count - 1}",
                minus(numbers(more), numbers(few)),
                ours=numbers(more),
                paper=paper,
            )
            alone = numbers(more, "embedding 1")
            table.claim(
                f"cloud {name}, not in the paper: with embeddings alone, too, {count} get more right than {count - 1}",
                minus(alone, numbers(few, "embedding 1")),
                ours=alone,
            )
        gains = adds(found[-1])
        table.claim(f"cloud {name}: answers add to all embeddings", gains, ours=gains, reason=FUNCTION)
    table.finish(world, "usecase4")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
