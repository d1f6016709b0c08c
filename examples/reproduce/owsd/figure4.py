"""Figure 4 of "One Way Scrambling by Deconvolution": a cloud's answers for kinds of images, in the plane.

The plane is that of the two main components of the answers for plain and scrambled images together, as in the paper.
It shows what plain images differ in; so the table also has the plane of the scrambled images alone, and all numbers of
the answers. An image counts as right if the mean of its kind's other images is nearer than that of the other kind's.
Means over all pairs of kinds; ``figure4.png`` has the first pair.

Photographs (``--photographs``) are of three kinds: animals that are no mammals, dogs, and things. CIFAR-10's ten labels
are beside them: its small images get answers of low confidence.

Usage: python owsd/figure4.py --source cifar10:ROOT [--photographs SOURCE] [--scale SCALE] [--out DIR]
"""

import owsd_measures as measures
import torch
from owsd_world import Table, World, mean, numbers, read_world, spread

PHOTOGRAPHS = ((0, 101), (151, 269), (398, 924))  # ImageNet's labels
NAMES = (
    "labels of plain images, plane of all",
    "labels of scrambled images, plane of all",
    "labels of scrambled images, plane of their own",
    "labels of plain images, all numbers",
    "labels of scrambled images, all numbers",
    "plain from scrambled, plane of all",
)


def tables(world: World) -> None:
    """Make the table and the picture."""
    each = world.scale.drawn
    sets = {"photographs": PHOTOGRAPHS} if world.has_photographs else {}
    sets["CIFAR-10"] = ()
    found = {name: world.each(measures.told_apart, groups=groups, each=each) for name, groups in sets.items()}
    columns = [column for name in sets for column in (name, "±")]
    table = Table(f"Figure 4: told apart, percent; {each} images of each kind", ["", *columns])
    for quantity in NAMES:
        rows = [numbers(runs, quantity) for runs in found.values()]
        table.row(quantity, *(cell for row in rows for cell in (mean(row), spread(row))))
    for name, runs in found.items():
        seen, hidden, own, _, whole, kinds = (numbers(runs, quantity) for quantity in NAMES)
        best = [max(pair) for pair in zip(own, whole, strict=True)]
        table.claim(
            f"{name}: kinds of plain images are told apart better than of scrambled ones (by 10 points)",
            [one - other - 10 for one, other in zip(seen, hidden, strict=True)],
            ours=seen,
            paper="apart",
        )
        says = f"{name}: scrambled kinds lie mixed in the plane of all (under 60 percent)"
        table.claim(says, [60 - share for share in hidden], ours=hidden, paper="mixed")
        says = f"{name}: and in all numbers of the answers, or a plane of their own (under 60 percent)"
        table.claim(says, [60 - share for share in best], ours=best)
        table.claim(
            f"{name}: plain and scrambled images lie apart (over 90 percent)",
            [share - 90 for share in kinds],
            ours=kinds,
            paper="apart",
            reason="Answers for scrambled images lie near those for plain images that the cloud is least sure of.",
        )
    table.finish(world, "figure4")
    if not world.planning:
        _draw(world, next(iter(sets.values())))


def _draw(world: World, groups: tuple[tuple[int, int], ...]) -> None:
    """Draw one pair of kinds, if the answers are still kept."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    if not world.bench.has_answers(groups):
        print("figure4.png is not drawn: the answers are no longer kept", flush=True)
        return
    plain, scrambled = (both[:2] for both in measures.kinds(world.bench, 0, groups, world.scale.drawn))
    found = measures.plane(torch.cat([*plain, *scrambled])).split([len(each) for each in (*plain, *scrambled)])
    names = ("plain, one kind", "plain, another", "scrambled, one kind", "scrambled, another")
    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    for points, name, mark in zip(found, names, "ox^v", strict=True):
        axes.scatter(*points.T, s=14, marker=mark, label=name, alpha=0.7)
    axes.set(xlabel="first component", ylabel="second component")
    axes.legend(fontsize=8)
    figure.savefig(world.out / "figure4.png", dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    read_world(__doc__).run(tables)
