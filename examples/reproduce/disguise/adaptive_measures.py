"""Attacks that the paper did not try, on one fold: most need no pair and no key, and find the order of blocks out."""

import torch
from common.images import Images
from disguise_bench import Bench
from owner import CLASSES, Disguise, Owner, crop, pad

from torchprotect import attacks

PAIRS = 20  # of the order from known pairs


class Crowd:
    """Public images with labels, and other images of the same training set disguised, in an order of their own."""

    def __init__(self, bench: Bench, name: str, fold: int, disguise: Disguise, count: int) -> None:
        whole = bench.sample(name, "train", 2 * count, fold)
        half = len(whole.labels) // 2
        self.public = Images(pad(whole.images[:half], disguise.size), whole.labels[:half])
        self.plain = Images(pad(whole.images[half : 2 * half], disguise.size), whole.labels[half : 2 * half])
        self.owner: Owner = bench.owner(name, fold, disguise)
        torch.manual_seed(fold)  # of the noise
        self.disguised = self.owner(crop(self.plain.images))


def attack(bench: Bench, *, name: str, fold: int, disguise: Disguise, how: str, count: int) -> dict[str, float]:
    """Run one of :data:`ATTACKS`: right answers in percent, their 95 percent interval, and chance."""
    score = ATTACKS[how](Crowd(bench, name, fold, disguise, count))
    shares = (
        (score.shares[0], score.low[0], score.high[0], score.chance[0])
        if isinstance(score, attacks.LinkageScore)
        else (score.accuracy, score.low, score.high, score.chance)
    )
    return dict(zip(("right", "low", "high", "chance"), (100 * share for share in shares), strict=True))


def _linkage(crowd: Crowd) -> attacks.LinkageScore:
    """Look the plain images up among the disguised ones."""
    shuffled = torch.randperm(len(crowd.disguised), generator=torch.Generator().manual_seed(1))
    result = attacks.linkage_attack(crowd.plain.images, crowd.disguised[shuffled], k=1, scheme=crowd.owner.scheme)
    return attacks.score_linkage(result, shuffled.argsort(), k=1)


def _order_from_statistics(crowd: Crowd) -> attacks.ShareScore:
    """Find the order of the blocks with public images alone."""
    result = attacks.recover_permutation_from_statistics(
        crowd.public.images, crowd.disguised, scheme=crowd.owner.scheme
    )
    return attacks.score_permutation(result, crowd.owner.order)


def _order_from_pairs(crowd: Crowd) -> attacks.ShareScore:
    """Find the order of the blocks with known pairs."""
    plain, disguised = crowd.plain.images[:PAIRS], crowd.disguised[:PAIRS]
    result = attacks.recover_permutation(plain, disguised, scheme=crowd.owner.scheme)
    return attacks.score_permutation(result, crowd.owner.order)


def _row_energies(crowd: Crowd) -> attacks.ShareScore:
    """Name the class of RMT-disguised images by what orthogonal matrices keep."""
    result = attacks.row_energy_attack(*crowd.public, crowd.disguised, classes=CLASSES, scheme=crowd.owner.scheme)
    return attacks.score_classes(result, crowd.plain.labels)


def _silhouettes(crowd: Crowd) -> attacks.ShareScore:
    """Name the class of AES-disguised images by the units that are background."""
    result = attacks.silhouette_attack(*crowd.public, crowd.disguised, classes=CLASSES, scheme=crowd.owner.scheme)
    return attacks.score_classes(result, crowd.plain.labels)


def _jigsaw(crowd: Crowd) -> attacks.ShareScore:
    """Put permuted blocks back with the disguised images alone."""
    result = attacks.jigsaw_attack(crowd.disguised, scheme=crowd.owner.scheme)
    return attacks.score_permutation(result, crowd.owner.order)


ATTACKS = {
    "linkage, first guess": _linkage,
    "order of blocks from statistics": _order_from_statistics,
    f"order of blocks from {PAIRS} pairs": _order_from_pairs,
    "class by row energies": _row_energies,
    "class by silhouettes": _silhouettes,
    "order of blocks by jigsaw": _jigsaw,
}
