"""Figure 7 of "Image Disguising": networks trained on RMT-disguised images, by matrices, noise and block size.

Left: blocks of 7 x 7, orthogonal matrices and random invertible ones (entries uniform in 0..1), by noise. Right:
orthogonal matrices and noise 100, by the side of the blocks. Blocks are also permuted.

Usage: python disguise/figure7.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, World, mean, minus, read_world, spread
from owner import PLAIN, SIZE, Disguise

LAW = {"orthogonal": "orthogonal", "uniform": "random invertible"}


def left(world: World) -> None:
    """Make the table of matrices and noise."""
    columns = ["set", "matrices", "noise u", "accuracy", "±", "no disguise"]
    table = Table("Figure 7, left: accuracy in percent of networks trained on RMT-disguised images, 7 x 7", columns)
    noises = world.scale.noises
    for name in world.sets:
        plain, found = world.utility(name, PLAIN), {}
        for law in LAW:
            for noise in noises:
                each = found[law, noise] = world.utility(name, Disguise("rmt", noise=noise, matrix=law))
                table.row(name, LAW[law], str(noise), mean(each), spread(each), mean(plain))
        for noise in noises:
            table.claim(
                f"{name}, u = {noise}: orthogonal above random invertible matrices",
                minus(found["orthogonal", noise], found["uniform", noise]),
                ours=found["orthogonal", noise],
                paper="higher",
            )
        least, most = noises[0], noises[-1]
        table.claim(
            f"{name}, orthogonal: noise {most} costs less than 5 points",
            minus(found["orthogonal", most], found["orthogonal", least], -5),
            ours=found["orthogonal", most],
            paper="little",
        )
        table.claim(
            f"{name}, orthogonal, no noise: within 3 points of no disguise",
            minus(found["orthogonal", least], plain, -3),
            ours=found["orthogonal", least],
            paper="2 to 3 points below",
        )
    table.finish(world, "figure7_left")


def right(world: World) -> None:
    """Make the table of block sizes."""
    noise = 100 if 100 in world.scale.noises else world.scale.noises[-1]
    columns = ["set", "side of a block", "blocks", "accuracy", "±", "no disguise"]
    table = Table(
        f"Figure 7, right: accuracy in percent of networks trained on RMT-disguised images, u = {noise}", columns
    )
    for name in world.sets:
        plain, found = world.utility(name, PLAIN), []
        for side in world.scale.rmt_sides:
            each = world.utility(name, Disguise("rmt", side, noise))
            found.append(each)
            table.row(name, str(side), str((SIZE // side) ** 2), mean(each), spread(each), mean(plain))
        worst, best = ([pick(each) for each in zip(*found, strict=True)] for pick in (min, max))
        table.claim(f"{name}: the block size changes less than 5 points", minus(worst, best, -5), paper="little")
        table.claim(
            f"{name}, u = {noise}: all block sizes within 3 points of no disguise",
            minus(worst, plain, -3),
            ours=worst,
            paper="2 to 3 points below",
        )
    table.finish(world, "figure7_right")


def tables(world: World) -> None:
    """Make both tables."""
    left(world)
    right(world)


if __name__ == "__main__":
    read_world(__doc__).run(tables)
