"""Figure 4 of "One Way Scrambling by Deconvolution": a cloud's answers for two labels, in the plane.

The plane is that of the two main components of the answers for plain and scrambled images together, as in the paper.
It shows what plain images differ in; so the tables also have the plane of the scrambled images alone, and all numbers
of the answers. An image counts as right if the mean of its group's other images is nearer than that of the other group.

Of photographs (``--photographs``), groups are superclasses of ImageNet's labels, such as dogs. Each photograph has a
label of its own, unlike in the paper; so probabilities are summed over superclasses, and another table has the single
labels. Of CIFAR-10, groups are labels.

Repetitions are pairs of groups, each the mean over folds; ``figure4.png`` has the first pair of photographs, or of
CIFAR-10 if there are none.

Usage: python owsd/figure4.py --source cifar10:ROOT [--photographs SOURCE] [--scale check|smoke|full|paper] [--out DIR]
"""

import itertools
from collections.abc import Sequence

import owsd_measures
import torch
from owsd_bench import IMAGENET
from owsd_world import Table, World, mean, minus, numbers, read_world
from superclasses import SUPERCLASSES

EACH = 50
PHOTOGRAPHED = tuple(itertools.combinations(SUPERCLASSES, 2))
LABELLED = tuple(itertools.combinations(map(str, range(10)), 2))[::5]  # nine pairs
QUANTITIES = (
    "labels of plain images, plane of all",
    "labels of scrambled images, plane of all",
    "labels of scrambled images, plane of their own",
    "labels of plain images, all numbers",
    "labels of scrambled images, all numbers",
    "plain from scrambled, plane of all",
    "plain from scrambled, all numbers",
    "confidence in the first label, plain",
    "plain images with a confidence under 50 percent",
)
UNSURE = "Small images get answers of low confidence, which lie beside those for scrambled images."
MANY = "Each photograph has a label of its own, so that answers of a superclass have little in common."


def tables(world: World) -> None:
    """Make the tables and the picture."""
    if world.photographs is None:
        if not world.planning:
            print("Figure 4 is made of CIFAR-10 alone, because no --photographs are given", flush=True)
        _table(world, "figure4_cifar10", None, LABELLED, UNSURE)
        _draw(world, None, LABELLED[0])
        return
    _table(world, "figure4", world.photographs, PHOTOGRAPHED, "", summed=True)
    _table(world, "figure4_labels", world.photographs, PHOTOGRAPHED, MANY)
    _table(world, "figure4_cifar10", None, LABELLED, UNSURE)
    _draw(world, world.photographs, PHOTOGRAPHED[0])


def _table(
    world: World,
    file: str,
    photographs: str | None,
    pairs: Sequence[tuple[str, str]],
    reason: str,
    *,
    summed: bool = False,
) -> None:
    settings = {"encoder": world.encoder, "photographs": photographs, "each": EACH, "summed": summed}
    found = [world.each(owsd_measures.apart, **settings, pair=pair) for pair in pairs]
    of = "photographs" if photographs else "CIFAR-10"
    over = ", probabilities summed over superclasses" if summed else ""
    title = f"Figure 4, {of}{over}: told apart, percent; up to {EACH} images of a group, {len(pairs)} pairs of groups"
    table = Table(title, ["", "ours", "lowest", "highest"])
    means = {name: [mean(numbers(each, name)) for each in found] for name in QUANTITIES}
    for name, each in means.items():
        table.row(name, mean(each), min(each), max(each))
    seen, hidden, own, _, whole, kinds, *_ = means.values()
    table.claim(
        f"{of}: plain groups are told apart better than scrambled ones (by 10 points)",
        minus(seen, hidden, 10),
        ours=seen,
        reason=reason,
    )
    for what, each in (("in the plane of all", hidden), ("in their own plane", own), ("in all numbers", whole)):
        table.claim(
            f"{of}: scrambled groups lie mixed {what} (under 60 percent)",
            [60 - share for share in each],
            ours=each,
            paper="mixed together" if each is hidden else "",
        )
    table.claim(
        f"{of}: plain and scrambled images lie apart (over 90 percent)",
        [share - 90 for share in kinds],
        ours=kinds,
        paper="clearly separated",
        reason=reason,
    )
    table.finish(world, file)


def _draw(world: World, photographs: str | None, pair: tuple[str, str]) -> None:
    """Draw one pair of groups on the first fold, if the answers are still kept."""
    if world.planning:
        return
    bench = world.bench
    answers = bench.answers_if_kept(world.encoder, 0, photographs)
    if answers is None:
        print("figure4.png is left out: the answers are not kept in this folder", flush=True)
        return
    both = bench.plain_answers(IMAGENET, photographs), answers[IMAGENET]
    if photographs:
        both = tuple(map(owsd_measures.over_superclasses, both))
    plain, scrambled = owsd_measures.groups(*both, bench.pictures(photographs).labels, pair, EACH)
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    found = owsd_measures.plane(torch.cat([*plain, *scrambled])).split([len(each) for each in (*plain, *scrambled)])
    labels = [f"{kind}: {name}" for kind in ("plain", "scrambled") for name in pair]
    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    for points, label, mark in zip(found, labels, "ox^v", strict=True):
        axes.scatter(*points.T, s=14, marker=mark, label=label, alpha=0.7)
    axes.set(xlabel="first component", ylabel="second component")
    axes.legend(fontsize=8)
    figure.savefig(world.out / "figure4.png", dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    read_world(__doc__).run(tables)
