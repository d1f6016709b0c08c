"""Figure 7 of "Image Disguising": networks trained on RMT-disguised images, by matrices, noise and block size.

Left: blocks of 7 x 7, orthogonal matrices and random invertible ones (entries uniform in 0..1), by noise. Right:
orthogonal matrices and noise 100, by the side of the blocks. Blocks are also permuted.

Usage: python disguise/figure7.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, World, mean, read_world, spread
from owner import PLAIN, Disguise

LAW = {"orthogonal": "orthogonal", "uniform": "random invertible"}


def left(world: World) -> None:
    """Make the table of matrices and noise."""
    columns = ["set", "matrices", "noise u", "accuracy", "±", "no disguise", "paper"]
    table = Table("Figure 7, left: accuracy in percent of networks trained on RMT-disguised images, 7 x 7", columns)
    for name in world.sets:
        baseline, found = mean(world.utility(name, PLAIN)), {}
        for law in LAW:
            for noise in world.scale.noises:
                each = world.utility(name, Disguise("rmt", noise=noise, matrix=law))
                found[law, noise] = mean(each)
                table.row(name, LAW[law], str(noise), found[law, noise], spread(each), baseline, None)
        least, most = world.scale.noises[0], world.scale.noises[-1]
        better = all(found["orthogonal", noise] > found["uniform", noise] for noise in world.scale.noises)
        table.direction(f"{name}: orthogonal above random invertible matrices at every noise", better)
        little = found["orthogonal", most] > found["orthogonal", least] - 5
        table.direction(f"{name}: orthogonal, noise {most} costs less than 5 points", little)
        near = found["orthogonal", least] > baseline - 3
        table.direction(f"{name}: orthogonal without noise within 3 points of no disguise", near)
    table.finish(world, "figure7_left")


def right(world: World) -> None:
    """Make the table of block sizes."""
    noise = 100 if 100 in world.scale.noises else world.scale.noises[-1]
    columns = ["set", "side of a block", "blocks", "accuracy", "±", "no disguise", "paper"]
    table = Table(
        f"Figure 7, right: accuracy in percent of networks trained on RMT-disguised images, u = {noise}", columns
    )
    for name in world.sets:
        baseline, found = mean(world.utility(name, PLAIN)), []
        for side in world.scale.rmt_sides:
            each = world.utility(name, Disguise("rmt", side, noise))
            found.append(mean(each))
            table.row(name, str(side), str((28 // side) ** 2), found[-1], spread(each), baseline, None)
        table.direction(f"{name}: the block size changes less than 5 points", max(found) - min(found) < 5)
        table.direction(f"{name}: all within 3 points of no disguise", min(found) > baseline - 3)
    table.finish(world, "figure7_right")


if __name__ == "__main__":
    world = read_world(__doc__)
    left(world)
    right(world)
