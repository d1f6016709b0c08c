"""Attacks on the paper's disguises that the paper did not try. Most need no pair and no key, and find the order out.

Each disguise has one fresh key and a secret order of blocks: RMT with orthogonal 7 x 7 matrices, AES with 64 blocks of
4 x 4 and units of 16 pixels, and permuted blocks alone. Public images and disguised ones are different training images
of one set. Chance is guessing without looking.

Usage: python disguise/adaptive.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from collections.abc import Callable
from typing import Any

import torch
from disguise_world import Images, Table, World, read_world
from owner import CLASSES, Disguise, Owner, crop, pad

from torchprotect import attacks

FOLD = 0
NOISE = 100
RMT, STILL, AES = Disguise("rmt", noise=NOISE), Disguise("rmt"), Disguise("aes", 4)


class Crowd:
    """Public images with labels, and other images disguised, in an order of their own."""

    def __init__(self, world: World, name: str, disguise: Disguise) -> None:
        whole = world.sample(name, "train", 2 * world.scale.crowd, FOLD)
        half = len(whole.labels) // 2
        self.public = Images(pad(whole.images[:half], disguise.size), whole.labels[:half])
        self.plain = Images(pad(whole.images[half : 2 * half], disguise.size), whole.labels[half : 2 * half])
        self.owner: Owner = world.owner(name, FOLD, disguise)
        torch.manual_seed(FOLD)  # of the noise
        self.disguised = self.owner(crop(self.plain.images))


def linkage(crowd: Crowd) -> attacks.LinkageScore:
    """Look the plain images up among the disguised ones."""
    shuffled = torch.randperm(len(crowd.disguised), generator=torch.Generator().manual_seed(1))
    result = attacks.linkage_attack(crowd.plain.images, crowd.disguised[shuffled], k=1, scheme=crowd.owner.scheme)
    return attacks.score_linkage(result, shuffled.argsort(), k=1)


def order_from_statistics(crowd: Crowd) -> attacks.ShareScore:
    """Find the order of the blocks with public images alone."""
    result = attacks.recover_permutation_from_statistics(
        crowd.public.images, crowd.disguised, scheme=crowd.owner.scheme
    )
    return attacks.score_permutation(result, crowd.owner.order)


def order_from_pairs(crowd: Crowd) -> attacks.ShareScore:
    """Find the order of the blocks with known pairs."""
    plain, disguised = crowd.plain.images[:20], crowd.disguised[:20]
    result = attacks.recover_permutation(plain, disguised, scheme=crowd.owner.scheme)
    return attacks.score_permutation(result, crowd.owner.order)


def row_energies(crowd: Crowd) -> attacks.ShareScore:
    """Name the class of RMT-disguised images by what orthogonal matrices keep."""
    result = attacks.row_energy_attack(*crowd.public, crowd.disguised, classes=CLASSES, scheme=crowd.owner.scheme)
    return attacks.score_classes(result, crowd.plain.labels)


def silhouettes(crowd: Crowd) -> attacks.ShareScore:
    """Name the class of AES-disguised images by the units that are background."""
    result = attacks.silhouette_attack(*crowd.public, crowd.disguised, classes=CLASSES, scheme=crowd.owner.scheme)
    return attacks.score_classes(result, crowd.plain.labels)


def jigsaw(crowd: Crowd) -> attacks.ShareScore:
    """Put permuted blocks back with the disguised images alone."""
    result = attacks.jigsaw_attack(crowd.disguised, scheme=crowd.owner.scheme)
    return attacks.score_permutation(result, crowd.owner.order)


def classes_table(world: World) -> None:
    """Make the table of attacks without pairs, and of the order from pairs."""
    columns = ["set", "disguise", "attack", "level", "images", "right, percent", "low", "high", "chance"]
    table = Table("Attacks that the paper did not try", columns)
    cases: list[tuple[str, Disguise, str, Callable[[Crowd], Any]]] = [
        ("RMT, u = 0", STILL, "linkage, first guess", linkage),
        (f"RMT, u = {NOISE}", RMT, "linkage, first guess", linkage),
        (f"RMT, u = {NOISE}", RMT, "order of blocks from statistics", order_from_statistics),
        (f"RMT, u = {NOISE}", RMT, "order of blocks from 20 pairs", order_from_pairs),
        (f"RMT, u = {NOISE}", RMT, "class by row energies", row_energies),
        ("AES, 16 pixels", AES, "linkage, first guess", linkage),
        ("AES, 16 pixels", AES, "order of blocks from statistics", order_from_statistics),
        ("AES, 16 pixels", AES, "order of blocks from 20 pairs", order_from_pairs),
        ("AES, 16 pixels", AES, "class by silhouettes", silhouettes),
        ("permuted blocks, 7 x 7", Disguise("permute"), "order of blocks by jigsaw", jigsaw),
    ]
    for name in world.sets:
        for shown, disguise, what, attack in cases:
            crowd = Crowd(world, name, disguise)
            score = attack(crowd)
            share, low, high, chance = (
                (score.shares[0], score.low[0], score.high[0], score.chance[0])
                if isinstance(score, attacks.LinkageScore)
                else (score.accuracy, score.low, score.high, score.chance)
            )
            cells = [100 * each for each in (share, low, high, chance)]
            print(f"{name}, {shown}, {what}: {cells[0]:.1f} percent", flush=True)
            table.row(name, shown, what, score.level.value, str(len(crowd.disguised)), *cells)
            table.direction(f"{name}, {shown}, {what}: above chance by 20 points", cells[0] > cells[3] + 20)
    table.finish(world, "adaptive")


def inversion_table(world: World) -> None:
    """Make the table of the learned inversion."""
    pairs = world.scale.inversion_pairs
    columns = ["set", "disguise", "pairs", "success rate", "PSNR", "chance", "SSIM", "chance"]
    table = Table("Learned inversion by a U-Net (L2), told neither disguise nor order; not in the paper", columns)
    for name in world.sets:
        for shown, disguise in ((f"RMT, u = {NOISE}", RMT), ("AES, 16 pixels", AES)):
            owner, test = world.owner(name, FOLD, disguise), world.test(name, FOLD).first(world.scale.attacked)
            known = world.pairs(name, FOLD, pairs)
            torch.manual_seed(FOLD)
            result = attacks.reconstruction_attack(
                pad(known, disguise.size),
                owner(known),
                owner(test.images),
                epochs=world.scale.inversion_epochs,
                generator=torch.Generator().manual_seed(FOLD),
                device=world.device,
            )
            score = attacks.score_reconstruction(result, pad(test.images, disguise.size))
            success = world.success(name, FOLD, result.images, test.labels)
            quality = (score.mean_psnr, score.psnr_chance, score.mean_ssim, score.ssim_chance)
            table.row(name, shown, str(len(known)), success, *quality)
            table.direction(f"{name}, {shown}: success above 50 percent", success > 50)
    table.finish(world, "inversion")


if __name__ == "__main__":
    world = read_world(__doc__)
    classes_table(world)
    inversion_table(world)
