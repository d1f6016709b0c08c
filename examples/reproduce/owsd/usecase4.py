"""Use case 4 of "One Way Scrambling by Deconvolution" (Table 4): more than one encoder.

Each encoder's embeddings go through the same generator, and the cloud's answers for all of them are set side by side.
The splits are those of use case 1. A cloud is none of the encoders: where one is the ImageNet cloud, it is left out.

Usage: python owsd/usecase4.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import itertools

import owsd_measures as measures
from owsd_bench import IMAGENET, OWN
from owsd_world import CLOUDS, COLUMNS, FUNCTION, Found, Table, World, cells, minus, numbers, p_of, read_world

PAPER = ((86.5, 99.2, None), (88.1, 99.3, "below 0.001"), (88.9, 99.4, "below 0.01"))


def tables(world: World) -> None:
    """Make the table."""
    papers = [f"paper, CIFAR-10: {name}" for name in ("top-1", "top-5", "p, one fewer")]
    table = Table("Use case 4: right labels in percent", ["cloud", "encoders", *COLUMNS, "p, one fewer", *papers])
    for cloud in (OWN, IMAGENET):
        encoders, found = world.encoders_beside(cloud), []
        for count in range(1, len(encoders) + 1):
            some = encoders[:count]
            found.append(world.each(measures.inference, cloud=cloud, encoders=some, target="true label", share=0.9))
            gain = p_of(_gains(*found[-2:])) if count > 1 else None
            paper = PAPER[count - 1] if cloud == OWN and count <= len(PAPER) else (None,) * 3
            table.row(CLOUDS[cloud], " + ".join(some), *cells(found[-1]), gain, *paper)
        for count, (few, more) in enumerate(itertools.pairwise(found), 2):
            said = f"cloud {CLOUDS[cloud]}: {count} encoders above {count - 1}"
            paper_says = f"{PAPER[count - 1][0]} against {PAPER[count - 2][0]}" if cloud == OWN else ""
            table.claim(said, _gains(few, more), ours=numbers(more, "both 1"), paper=paper_says)
            table.claim(f"{said}, embeddings alone", _gains(few, more, "embedding"), ours=numbers(more, "embedding 1"))
        both, embedding = (numbers(found[-1], f"{inputs} 1") for inputs in ("both", "embedding"))
        adds = f"cloud {CLOUDS[cloud]}: answers add to all embeddings"
        table.claim(adds, minus(both, embedding), ours=both, reason=FUNCTION)
    table.finish(world, "usecase4")


def _gains(few: Found, more: Found, inputs: str = "both") -> list[float]:
    return minus(numbers(more, f"{inputs} 1"), numbers(few, f"{inputs} 1"))


if __name__ == "__main__":
    read_world(__doc__).run(tables)
