"""Figure 4 of "One Way Scrambling by Deconvolution": a cloud's answers for two labels, in the plane.

The plane is that of the two main components of the answers for plain and scrambled images together, as in the paper.
It shows what plain images differ in; so the table also has the plane of the scrambled images alone, and all numbers of
the answers. An image counts as right if the mean of its label's other images is nearer than that of the other label's.
Means over all pairs of labels; ``figure4.png`` has the first pair.

Usage: python owsd/figure4.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import itertools
import statistics

import torch
from owsd_world import CLASSES, IMAGENET, Table, World, read_world
from torch import Tensor

EACH = 50


def plane(points: Tensor) -> Tensor:
    """Project on the two main components."""
    centred = points.double() - points.double().mean(0)
    return centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T


def told_apart(one: Tensor, other: Tensor) -> float:
    """Return in percent how many points lie nearer to the mean of their own kind, which they are left out of."""
    points = (one.double(), other.double())
    right = []
    for own, rest in (points, points[::-1]):
        without = (own.sum(0) - own) / (len(own) - 1)
        right.append((own - without).norm(dim=1) < (own - rest.mean(0)).norm(dim=1))
    return 100 * float(torch.cat(right).double().mean())


def measure(plain: list[Tensor], scrambled: list[Tensor]) -> dict[str, float]:
    """Tell labels apart, and plain from scrambled."""
    sizes = [len(each) for each in (*plain, *scrambled)]
    found = plane(torch.cat([*plain, *scrambled])).split(sizes)
    alone = plane(torch.cat(scrambled)).split(sizes[2:])
    return {
        "labels of plain images, plane of all": told_apart(*found[:2]),
        "labels of scrambled images, plane of all": told_apart(*found[2:]),
        "labels of scrambled images, plane of their own": told_apart(*alone),
        "labels of plain images, all numbers": told_apart(*plain),
        "labels of scrambled images, all numbers": told_apart(*scrambled),
        "plain from scrambled, plane of all": told_apart(torch.cat(found[:2]), torch.cat(found[2:])),
    }


def draw(world: World, plain: list[Tensor], scrambled: list[Tensor]) -> None:
    """Draw one pair of labels."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot

    found = plane(torch.cat([*plain, *scrambled])).split([len(each) for each in (*plain, *scrambled)])
    names = ("plain, one label", "plain, another", "scrambled, one label", "scrambled, another")
    figure, axes = pyplot.subplots(figsize=(5, 4), layout="constrained")
    for points, name, mark in zip(found, names, "ox^v", strict=True):
        axes.scatter(*points.T, s=14, marker=mark, label=name, alpha=0.7)
    axes.set(xlabel="first component", ylabel="second component")
    axes.legend(fontsize=8)
    figure.savefig(world.out / "figure4.png", dpi=110)
    pyplot.close(figure)


def main() -> None:
    """Make the table and the picture."""
    world = read_world(__doc__)
    labels = world.confidential.labels
    both = world.plain_vectors(IMAGENET), world.vectors(IMAGENET, world.encoder)
    plain, scrambled = ([vectors[labels == label][:EACH] for label in range(CLASSES)] for vectors in both)
    pairs = list(itertools.combinations(range(CLASSES), 2))
    found = [measure([plain[a], plain[b]], [scrambled[a], scrambled[b]]) for a, b in pairs]
    count = len(plain[0])
    table = Table(f"Figure 4: told apart, percent; {count} images of each label", ["", "ours", "lowest", "highest"])
    means = {}
    for name in found[0]:
        each = [pair[name] for pair in found]
        means[name] = statistics.fmean(each)
        table.row(name, means[name], min(each), max(each))
    seen, hidden, own, _, whole, kinds = means.values()
    table.direction("plain labels are told apart better than scrambled ones (by 10 points)", seen > hidden + 10)
    table.direction("scrambled labels lie mixed in the plane of all (under 60 percent)", hidden < 60)
    table.direction("and in all numbers of the answers (under 60 percent)", max(own, whole) < 60)
    table.direction("plain and scrambled images lie apart (over 90 percent)", kinds > 90)
    table.finish(world, "figure4")
    draw(world, plain[:2], scrambled[:2])


if __name__ == "__main__":
    main()
