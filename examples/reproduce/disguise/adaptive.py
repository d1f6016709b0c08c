"""Attacks on the paper's disguises that the paper did not try. Most need no pair and no key, and find the order out.

Each disguise has one fresh key and a secret order of blocks: RMT with orthogonal 7 x 7 matrices, AES with 64 blocks of
4 x 4 and units of 16 pixels, and permuted blocks alone. Public images and disguised ones are different training images
of one set. Chance is guessing without looking.

Usage: python disguise/adaptive.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

import adaptive_measures
import disguise_measures
from disguise_world import Table, World, mean, minus, numbers, read_world, spread
from owner import Disguise

NOISE = 100
RMT, STILL, AES = Disguise("rmt", noise=NOISE), Disguise("rmt"), Disguise("aes", 4)
SHOWN = {
    RMT: f"RMT, u = {NOISE}",
    STILL: "RMT, u = 0",
    AES: "AES, 16 pixels",
    Disguise("permute"): "permuted blocks, 7 x 7",
}
CASES = (
    (STILL, "linkage, first guess", "L1"),
    (RMT, "linkage, first guess", "L1"),
    (RMT, "order of blocks from statistics", "L1"),
    (RMT, "order of blocks from 20 pairs", "L2"),
    (RMT, "class by row energies", "L1"),
    (AES, "linkage, first guess", "L1"),
    (AES, "order of blocks from statistics", "L1"),
    (AES, "order of blocks from 20 pairs", "L2"),
    (AES, "class by silhouettes", "L1"),
    (Disguise("permute"), "order of blocks by jigsaw", "L0"),
)


def without_pictures(world: World) -> None:
    """Make the table of attacks that find order, class or original."""
    columns = ["set", "disguise", "attack", "level", "images", "right, percent", "±", "chance"]
    table = Table("Attacks that the paper did not try", columns)
    count = world.scale.crowd
    for name in world.sets:
        for disguise, how, level in CASES:
            found = world.each(adaptive_measures.attack, name=name, disguise=disguise, how=how, count=count)
            right, chance = numbers(found, "right"), numbers(found, "chance")
            table.row(name, SHOWN[disguise], how, level, str(count), mean(right), spread(right), mean(chance))
            says = f"{name}, {SHOWN[disguise]}, {how}: above chance by 20 points"
            table.claim(says, minus(right, chance, 20), ours=right)
    table.finish(world, "adaptive")


def by_inversion(world: World) -> None:
    """Make the table of the learned inversion."""
    columns = ["set", "disguise", "pairs", "success rate", "±", "PSNR", "chance", "SSIM", "chance"]
    table = Table("Learned inversion by a U-Net (L2), told neither disguise nor order; not in the paper", columns)
    pairs, epochs, attacked = world.scale.inversion_pairs, world.scale.inversion_epochs, world.scale.attacked
    for name in world.sets:
        for disguise in (RMT, AES):
            found = world.each(
                disguise_measures.inversion, name=name, disguise=disguise, pairs=pairs, epochs=epochs, attacked=attacked
            )
            success = numbers(found, "success")
            quality = [mean(numbers(found, what)) for what in ("PSNR", "PSNR by chance", "SSIM", "SSIM by chance")]
            table.row(name, SHOWN[disguise], str(pairs), mean(success), spread(success), *quality)
            says = f"{name}, {SHOWN[disguise]}: learned inversion succeeds above 50 percent"
            table.claim(says, [each - 50 for each in success], ours=success)
    table.finish(world, "inversion")


def tables(world: World) -> None:
    """Make both tables."""
    without_pictures(world)
    by_inversion(world)


if __name__ == "__main__":
    read_world(__doc__).run(tables)
