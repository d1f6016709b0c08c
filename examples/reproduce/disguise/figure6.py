"""Figure 6 of "Image Disguising": networks trained on AES-disguised images, by number of blocks and size of the units.

28 x 28 images are padded to 32 x 32. Units of 2 pixels: scaled up by 8, disguised, scaled down. More than one block is
also permuted.

Usage: python disguise/figure6.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, mean, read_world, spread
from owner import PADDED, PLAIN, Disguise


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    columns = ["set", "unit, pixels", "blocks", "accuracy", "±", "no disguise", "paper"]
    table = Table("Figure 6: accuracy in percent of networks trained on AES-disguised images", columns)
    for name in world.sets:
        baseline, found = mean(world.utility(name, PLAIN)), {}
        for unit in (16, 2):
            for blocks in world.scale.aes_blocks:
                each = world.utility(name, Disguise("aes", int(PADDED / blocks**0.5), unit_pixels=unit))
                found[unit, blocks] = mean(each)
                table.row(name, str(unit), str(blocks), found[unit, blocks], spread(each), baseline, None)
        fewest, most = world.scale.aes_blocks[0], world.scale.aes_blocks[-1]
        for unit in (16, 2):
            rises = found[unit, most] > found[unit, fewest]
            table.direction(f"{name}, units of {unit}: accuracy rises with the number of blocks", rises)
        table.direction(f"{name}: units of 2 above units of 16, {most} blocks", found[2, most] > found[16, most])
        near = max(found[2, blocks] for blocks in world.scale.aes_blocks) > baseline - 3
        table.direction(f"{name}: best units of 2 within 3 points of no disguise", near)
    table.finish(world, "figure6")


if __name__ == "__main__":
    main()
