"""What is measured on one fold: inference networks, and what clouds say of plain and of scrambled images.

A fold has its own key, split of the images, and seed.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from owsd_bench import CLASSES, IMAGENET, SMALL, Bench, own_labels
from superclasses import SUPERCLASSES
from torch import Tensor

from torchprotect import owsd


@dataclass(frozen=True)
class Task:
    """Labels to infer, and how images are split.

    Attributes:
        labels: how many there are.
        first: the lowest of them, of those of the set; the labels of a fold are drawn when ``None``.
        each: images of each label that are used, at most; ``None`` takes all.
        train: training images of each label: a share, or a number.
        test: test images of each label; ``None`` takes all others.
        target: cloud whose first label for the plain image is inferred; the true label when ``None``.
    """

    labels: int = CLASSES
    first: int | None = 0
    each: int | None = None
    train: float = 0.9
    test: int | None = None
    target: str | None = None


class Split(NamedTuple):
    """Indices of training and of test images."""

    train: Tensor
    test: Tensor


def infer(
    bench: Bench, *, fold: int, cloud: str, encoders: tuple[str, ...], task: Task, settings: owsd.InferenceSettings
) -> dict[str, float]:
    """Train the inference network and its ablations: right labels in percent, by inputs and number of guesses."""
    chosen, labels = _chosen(bench.confidential.labels, task, fold)
    observed = bench.observe(cloud, encoders, fold)[chosen]
    if task.target is not None:
        labels = bench.plain_answers(task.target)[chosen].argmax(1)
    return fit(observed, labels, task.labels, split(labels, task, fold), fold, settings)


def fit(
    observed: owsd.Observations,
    labels: Tensor,
    classes: int,
    parts: Split,
    seed: int,
    settings: owsd.InferenceSettings,
) -> dict[str, float]:
    """Train the inference network and its ablations on one part and count on the other."""
    generator = torch.Generator().manual_seed(seed)
    fitted = owsd.Inference.fit(
        observed[parts.train], labels[parts.train], classes=classes, settings=settings, generator=generator
    )
    found = fitted.evaluate(observed[parts.test], labels[parts.test])
    tops = ((1, found.top1), (5, found.top5))
    return {f"{inputs} {top}": 100 * share for top, shares in tops for inputs, share in shares.items()}


def split(labels: Tensor, task: Task, fold: int) -> Split:
    """Draw training and test images of each label; the test images do not depend on the number for training."""
    train, test = [], []
    for label in labels.unique().tolist():
        found = (labels == label).nonzero()[:, 0]
        mixed = found[torch.randperm(len(found), generator=torch.Generator().manual_seed(1000 * fold + label))]
        if task.test is None:
            cut = round(len(mixed) * task.train)
            train.append(mixed[:cut])
            test.append(mixed[cut:])
        else:
            train.append(mixed[task.test : task.test + int(task.train)])
            test.append(mixed[: task.test])
    return Split(torch.cat(train), torch.cat(test))


def _chosen(labels: Tensor, task: Task, fold: int) -> tuple[Tensor, Tensor]:
    """Return indices of the images that are used, and their labels counted from 0."""
    order = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(fold))
    wanted = order if task.first is None else torch.arange(task.first, task.first + task.labels)
    parts = [(labels == label).nonzero()[: task.each, 0] for label in wanted[: task.labels].tolist()]
    renamed = torch.cat([torch.full((len(part),), number) for number, part in enumerate(parts)])
    return torch.cat(parts), renamed


def on_plain(bench: Bench, *, cloud: str) -> dict[str, float]:
    """Ask a cloud for the plain images of its own labels: right first labels, right among five, in percent."""
    known = own_labels(cloud)
    mine = (bench.confidential.labels >= known.start) & (bench.confidential.labels < known.stop)
    labels, vectors = bench.confidential.labels[mine] - known.start, bench.plain_answers(cloud)[mine]
    hits = vectors.topk(5, 1).indices == labels[:, None]
    return {f"top-{top}": 100 * float(hits[:, :top].any(1).double().mean()) for top in (1, 5)}


def scrambled(bench: Bench, *, fold: int, encoder: str) -> dict[str, float]:
    """Scramble all images: what there is to see in them, in grey levels."""
    images = bench.answers(encoder, fold)[SMALL].double()
    return {
        "contrast in an image": float(images.flatten(1).std(1).mean()),
        "differences between images": float(images.std(0).mean()),
        "differences between colours": float((images.amax(1) - images.amin(1)).mean()),
    }


def compare(
    bench: Bench, *, fold: int, cloud: str, encoder: str, photographs: str | None, by_chance: bool
) -> dict[str, float]:
    """Compare answers for plain images and for the same ones scrambled, or by chance: for others; in percent."""
    plain, hidden = (vectors.double() for vectors in _answers(bench, fold, cloud, encoder, photographs))
    if by_chance:
        hidden = hidden.roll(1, 0)
    first, five = plain.argmax(1), plain.topk(5, 1).indices
    common = (five[:, :, None] == hidden.topk(5, 1).indices[:, None]).any(2).double()
    before, after = (vectors.gather(1, five) for vectors in (plain, hidden))
    lost, before_all, after_all = before - after, before.sum(1), after.sum(1)
    return {
        "first label the same": 100 * float((first == hidden.argmax(1)).double().mean()),
        "of five labels in common": 100 * float(common.mean()),
        "any of five labels in common": 100 * float(common.any(1).double().mean()),
        "confidence in plain's first label, points lost": 100 * float(lost[:, 0].mean()),
        "confidence in plain's first label, share lost": 100 * float((lost[:, 0] / before[:, 0]).mean()),
        "confidence in plain's five labels, points lost": 100 * float((before_all - after_all).mean()),
        "confidence in plain's five labels, share lost": 100 * float((1 - after_all / before_all).mean()),
        "entropy plain, nats": _entropy(plain),
        "entropy scrambled, nats": _entropy(hidden),
        "entropy plain, bits": _entropy(plain) / math.log(2),
        "entropy scrambled, bits": _entropy(hidden) / math.log(2),
        "different first labels, plain": float(first.unique().numel()),
        "different first labels, scrambled": float(hidden.argmax(1).unique().numel()),
    }


def apart(
    bench: Bench,
    *,
    fold: int,
    encoder: str,
    photographs: str | None,
    pair: tuple[str, str],
    each: int,
    summed: bool,
) -> dict[str, float]:
    """Tell two groups of labels apart by the answers of ImageNet's cloud, and plain from scrambled; percent."""
    answers = _answers(bench, fold, IMAGENET, encoder, photographs)
    labels = bench.pictures(photographs).labels
    sure = torch.cat(groups(*answers, labels, pair, each)[0]).amax(1).double()
    plain, hidden = groups(*(map(over_superclasses, answers) if summed else answers), labels, pair, each)
    sizes = [len(part) for part in (*plain, *hidden)]
    found = plane(torch.cat([*plain, *hidden])).split(sizes)
    alone = plane(torch.cat(hidden)).split(sizes[2:])
    return {
        "labels of plain images, plane of all": _told_apart(*found[:2]),
        "labels of scrambled images, plane of all": _told_apart(*found[2:]),
        "labels of scrambled images, plane of their own": _told_apart(*alone),
        "labels of plain images, all numbers": _told_apart(*plain),
        "labels of scrambled images, all numbers": _told_apart(*hidden),
        "plain from scrambled, plane of all": _told_apart(torch.cat(found[:2]), torch.cat(found[2:])),
        "plain from scrambled, all numbers": _told_apart(torch.cat(plain), torch.cat(hidden)),
        "confidence in the first label, plain": 100 * float(sure.mean()),
        "plain images with a confidence under 50 percent": 100 * float((sure < 0.5).double().mean()),
    }


Groups = list[Tensor]


def groups(plain: Tensor, hidden: Tensor, labels: Tensor, pair: tuple[str, str], each: int) -> tuple[Groups, Groups]:
    """Return the answers for plain and for scrambled images of two groups of labels, as many images of both.

    A group is one of :data:`SUPERCLASSES`, or a label.
    """
    known = [SUPERCLASSES.get(name) or (int(name),) for name in pair]
    chosen = [torch.isin(labels, torch.tensor(group)).nonzero()[:each, 0] for group in known]
    count = min(map(len, chosen))
    return [plain[part[:count]] for part in chosen], [hidden[part[:count]] for part in chosen]


def over_superclasses(vectors: Tensor) -> Tensor:
    """Sum the probabilities of ImageNet's labels over each of :data:`SUPERCLASSES`, and over all other labels."""
    known = vectors.shape[1]
    sums = [vectors[:, [label for label in group if label < known]].sum(1) for group in SUPERCLASSES.values()]
    return torch.stack([*sums, vectors.sum(1) - sum(sums)], 1)


def plane(points: Tensor) -> Tensor:
    """Project on the two main components."""
    centred = points.double() - points.double().mean(0)
    return centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T


def _told_apart(one: Tensor, other: Tensor) -> float:
    """Return in percent how many points lie nearer to the mean of their own kind, which they are left out of."""
    points = (one.double(), other.double())
    right = []
    for own, rest in (points, points[::-1]):
        without = (own.sum(0) - own) / (len(own) - 1)
        right.append((own - without).norm(dim=1) < (own - rest.mean(0)).norm(dim=1))
    return 100 * float(torch.cat(right).double().mean())


def _answers(bench: Bench, fold: int, cloud: str, encoder: str, photographs: str | None) -> tuple[Tensor, Tensor]:
    """Return answers for plain and for scrambled images."""
    return bench.plain_answers(cloud, photographs), bench.answers(encoder, fold, photographs)[cloud]


def _entropy(vectors: Tensor) -> float:
    """Return the mean entropy in nats."""
    return float(torch.special.entr(vectors).sum(1).mean())
