"""What is measured on inference networks, and on a cloud's answers for plain and scrambled images."""

import dataclasses
import itertools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import torch
from owsd_bench import CLASSES, IMAGENET, Bench
from torch import Tensor

from torchprotect import owsd

TINY = 1e-10  # below which a probability has no logarithm


class Split(NamedTuple):
    """Indices of training and of test images."""

    train: Tensor
    test: Tensor


# inference networks


def inference(
    bench: Bench, *, fold: int, cloud: str, encoders: Sequence[str], target: str, share: float
) -> dict[str, float]:
    """Train an inference network on a share of the images and count right labels among the others, in percent.

    Args:
        bench: images and answers.
        fold: decides the split and the seed.
        cloud: whose answers are added to the embeddings.
        encoders: one or more.
        target: ``"true label"``, or ``"cloud's label"``: what the cloud says of the plain image.
        share: for training, of each label.
    """
    labels = bench.confidential.labels
    wanted = labels if target == "true label" else bench.plain_vectors(cloud).argmax(1)
    return _inferred(bench.observe(cloud, encoders), wanted, CLASSES, split_by_share(labels, share, fold), fold)


def few_labels(bench: Bench, *, fold: int, count: int, each: int) -> dict[str, float]:
    """Train it on some images of some labels, drawn anew for each repetition; seven tenths for training."""
    labels = bench.confidential.labels
    order = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(fold))
    chosen = torch.cat([(labels == label).nonzero()[:each, 0] for label in order[:count].tolist()])
    renamed = order.argsort()[labels[chosen]]
    observed = bench.observe(IMAGENET, [bench.sizes.encoder])[chosen]
    return _inferred(observed, renamed, count, split_by_share(renamed, 0.7, fold), fold)


def absent_labels(bench: Bench, *, fold: int, cloud: str, first: int) -> dict[str, float]:
    """Train it on the labels from one on, with the answers of a cloud that may have none of them."""
    chosen = (bench.confidential.labels >= first).nonzero()[:, 0]
    labels = bench.confidential.labels[chosen] - first
    observed = bench.observe(cloud, [bench.sizes.encoder])[chosen]
    return _inferred(observed, labels, CLASSES - first, split_by_share(labels, 0.7, fold), fold)


def by_images(bench: Bench, *, fold: int, train: int, test: int) -> dict[str, float]:
    """Train it on so many images of each label; the test images of a repetition are the same for all numbers."""
    labels = bench.confidential.labels
    observed = bench.observe(IMAGENET, [bench.sizes.encoder])
    return _inferred(observed, labels, CLASSES, split_by_count(labels, train, test, fold), fold)


def reading(
    bench: Bench,
    *,
    fold: int,
    factor: float,
    cloud_factor: float,
    calibrated: bool,
    together: int,
    logarithms: bool,
    rate: float,
    count: int,
) -> dict[str, float]:
    """Train it on the answers of ImageNet's cloud under another setting; each repetition has a key of its own.

    Args:
        bench: images and answers.
        fold: number of the key; of the first one if there are several.
        factor: of the side of scrambled images.
        cloud_factor: of the side that the cloud reads.
        calibrated: whether the key is.
        together: answers under so many keys are set side by side.
        logarithms: whether the network reads logarithms of the answers.
        rate: learning rate.
        count: images.
    """
    sizes = bench.sizes
    embeddings, labels = bench.embeddings(sizes.encoder)[:count], bench.confidential.labels[:count]
    side, read = round(sizes.key_size * factor), round(sizes.cloud_size * cloud_factor)
    cloud = dataclasses.replace(bench.cloud(IMAGENET), size=(read, read))
    answers = []
    for number in range(fold, fold + together):
        key = bench.make_key(side, calibrated=calibrated, number=number)
        name = ("setting", read, key.fingerprint, count)
        answers.append(bench.kept.tensor(name, lambda key=key: cloud(bench.scramble(embeddings, key))))
    vectors = torch.cat(answers, 1)
    observed = owsd.Observations(embeddings, vectors.clamp_min(TINY).log() if logarithms else vectors)
    settings = owsd.InferenceSettings(learning_rate=rate)
    return _inferred(observed, labels, CLASSES, split_by_share(labels, 0.7, 0), fold, settings)


def _inferred(
    observed: owsd.Observations,
    labels: Tensor,
    classes: int,
    split: Split,
    fold: int,
    settings: owsd.InferenceSettings | None = None,
) -> dict[str, float]:
    generator = torch.Generator().manual_seed(fold)
    fitted = owsd.Inference.fit(
        observed[split.train],
        labels[split.train],
        classes=classes,
        settings=settings or owsd.InferenceSettings(),
        generator=generator,
    )
    found = fitted.evaluate(observed[split.test], labels[split.test])
    tops = ((1, found.top1), (5, found.top5))
    return {f"{inputs} {top}": 100 * share for top, shares in tops for inputs, share in shares.items()}


def split_by_share(labels: Tensor, share: float, run: int) -> Split:
    """Draw a share of the images of each label for training; the others are for testing."""
    train, test = [], []
    for label in labels.unique().tolist():
        mixed = _mixed(labels, label, run)
        cut = round(len(mixed) * share)
        train.append(mixed[:cut])
        test.append(mixed[cut:])
    return Split(torch.cat(train), torch.cat(test))


def split_by_count(labels: Tensor, train: int, test: int, run: int) -> Split:
    """Draw as many images of each label for training; the test images do not depend on how many."""
    parts = [_mixed(labels, label, run) for label in labels.unique().tolist()]
    return Split(torch.cat([part[test : test + train] for part in parts]), torch.cat([part[:test] for part in parts]))


def _mixed(labels: Tensor, label: int, run: int) -> Tensor:
    found = (labels == label).nonzero()[:, 0]
    return found[torch.randperm(len(found), generator=torch.Generator().manual_seed(1000 * run + label))]


# what clouds say


def plain_accuracy(bench: Bench, *, fold: int, folds: int, cloud: str, first: int) -> dict[str, float]:
    """Return how often a cloud of one's own is right on plain images of the labels from one on, in percent.

    Each of ``folds`` repetitions has images of its own.
    """
    labels = bench.confidential.labels
    chosen = (labels >= first).nonzero()[fold::folds, 0]
    vectors, wanted = bench.plain_vectors(cloud)[chosen], labels[chosen] - first
    tops = {top: vectors.topk(min(top, vectors.shape[1]), 1).indices for top in (1, 5)}
    return {f"top-{top}": 100 * float((found == wanted[:, None]).any(1).double().mean()) for top, found in tops.items()}


def answers(bench: Bench, *, fold: int, folds: int, cloud: str) -> dict[str, float]:
    """Compare a cloud's answers for plain and scrambled images; each repetition has images of its own.

    In percent where not said otherwise. "by chance": with the answer for another image.

    Args:
        bench: images and answers.
        fold: which part of the images.
        folds: number of parts.
        cloud: which one; ``"photographs"``: ImageNet's, about photographs.
    """
    if cloud == "photographs":
        plain, scrambled = bench.photograph_vectors()
    else:
        plain, scrambled = bench.plain_vectors(cloud), bench.vectors(cloud, bench.sizes.encoder)
    plain, scrambled = plain[fold::folds], scrambled[fold::folds]
    chance = _compared(plain, scrambled.roll(1, 0))
    return _compared(plain, scrambled) | {f"{name}, by chance": value for name, value in chance.items()}


def _compared(plain: Tensor, scrambled: Tensor) -> dict[str, float]:
    first, five = plain.argmax(1), plain.topk(5, 1).indices
    common = (five[:, :, None] == scrambled.topk(5, 1).indices[:, None]).any(2).double()
    before, after = (v.gather(1, five).double() for v in (plain, scrambled))
    lost, before_all, after_all = before - after, before.sum(1), after.sum(1)
    return {
        "first label the same": 100 * float((first == scrambled.argmax(1)).double().mean()),
        "of five labels in common": 100 * float(common.mean()),
        "any of five labels in common": 100 * float(common.any(1).double().mean()),
        "confidence in plain's first label, points lost": 100 * float(lost[:, 0].mean()),
        "confidence in plain's first label, share lost": 100 * float((lost[:, 0] / before[:, 0]).mean()),
        "confidence in plain's five labels, points lost": 100 * float((before_all - after_all).mean()),
        "confidence in plain's five labels, share lost": 100 * float((1 - after_all / before_all).mean()),
        "entropy plain, nats": _entropy(plain),
        "entropy scrambled, nats": _entropy(scrambled),
        "entropy plain, bits": _entropy(plain) / math.log(2),
        "entropy scrambled, bits": _entropy(scrambled) / math.log(2),
        "different first labels, plain": float(first.unique().numel()),
        "different first labels, scrambled": float(scrambled.argmax(1).unique().numel()),
    }


def _entropy(vectors: Tensor) -> float:
    """Return the mean entropy in nats."""
    return float(torch.special.entr(vectors.double()).sum(1).mean())


# two labels in the plane


def told_apart(bench: Bench, *, fold: int, groups: Sequence[tuple[int, int]], each: int) -> dict[str, float]:
    """Tell two kinds of images apart by the answers of ImageNet's cloud, in percent, over all pairs of kinds.

    In the plane of the two main components of the answers for plain and scrambled images together, as in the paper; in
    that of the scrambled ones alone; and in all numbers of the answers. An image counts as right if the mean of its
    kind's other images is nearer than that of the other kind's.

    Args:
        bench: images and answers.
        fold: which images of each kind: the first ones, the next ones, and so on.
        groups: kinds of photographs, as ranges of ImageNet's labels; none: CIFAR-10's labels.
        each: images of each kind.
    """
    plain, scrambled = kinds(bench, fold, groups, each)
    pairs = itertools.combinations(range(len(plain)), 2)
    found = [_pair([plain[a], plain[b]], [scrambled[a], scrambled[b]]) for a, b in pairs]
    return {name: statistics.fmean(pair[name] for pair in found) for name in found[0]}


def kinds(bench: Bench, fold: int, groups: Sequence[tuple[int, int]], each: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return answers for plain and for scrambled images, one tensor for each kind."""
    if groups:
        labels, both = bench.photographs.labels, bench.photograph_vectors()
        chosen = [((labels >= start) & (labels < stop)).nonzero()[:, 0] for start, stop in groups]
    else:
        labels = bench.confidential.labels
        both = bench.plain_vectors(IMAGENET), bench.vectors(IMAGENET, bench.sizes.encoder)
        chosen = [(labels == label).nonzero()[:, 0] for label in range(CLASSES)]
    parts = [rows[fold * each : (fold + 1) * each] for rows in chosen]
    if any(len(part) < each for part in parts):
        fewest = min(map(len, chosen))
        raise SystemExit(f"repetition {fold} needs {(fold + 1) * each} images of each kind, but one has {fewest}")
    return [both[0][rows] for rows in parts], [both[1][rows] for rows in parts]


def plane(points: Tensor) -> Tensor:
    """Project on the two main components."""
    centred = points.double() - points.double().mean(0)
    return centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:2].T


def _pair(plain: list[Tensor], scrambled: list[Tensor]) -> dict[str, float]:
    sizes = [len(each) for each in (*plain, *scrambled)]
    found = plane(torch.cat([*plain, *scrambled])).split(sizes)
    alone = plane(torch.cat(scrambled)).split(sizes[2:])
    return {
        "labels of plain images, plane of all": _apart(*found[:2]),
        "labels of scrambled images, plane of all": _apart(*found[2:]),
        "labels of scrambled images, plane of their own": _apart(*alone),
        "labels of plain images, all numbers": _apart(*plain),
        "labels of scrambled images, all numbers": _apart(*scrambled),
        "plain from scrambled, plane of all": _apart(torch.cat(found[:2]), torch.cat(found[2:])),
    }


def _apart(one: Tensor, other: Tensor) -> float:
    """Return in percent how many points lie nearer to the mean of their own kind, which they are left out of."""
    points = (one.double(), other.double())
    right = []
    for own, rest in (points, points[::-1]):
        without = (own.sum(0) - own) / (len(own) - 1)
        right.append((own - without).norm(dim=1) < (own - rest.mean(0)).norm(dim=1))
    return 100 * float(torch.cat(right).double().mean())
