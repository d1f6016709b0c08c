"""AES in two modes: networks trained on images disguised by ECB and by CBC.

CBC runs along each block, with one key and one initial vector for each position, the same for all images; the paper
does not state its vectors. A block of 4 x 4 pixels is a single unit, so that CBC with a constant vector is ECB there.

Usage: python disguise_cbc.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from _disguise import CLASSES, PADDED, Disguise, Table, mean, read_world, spread


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    table = Table("CBC: accuracy in percent", ["set", "blocks", "CBC", "±", "ECB", "±", "chance", "paper: CBC"])
    for name in world.sets:
        for blocks in (1, 64):
            side = int(PADDED / blocks**0.5)
            cbc, ecb = (world.utility(name, Disguise(kind, side)) for kind in ("cbc", "aes"))
            paper = "below 10" if blocks == 1 else None
            chance = 100 / CLASSES
            table.row(name, str(blocks), mean(cbc), spread(cbc), mean(ecb), spread(ecb), chance, paper)
            if blocks == 1:
                table.direction(
                    f"{name}: CBC along the whole image near chance (within 10 points)", mean(cbc) < chance + 10
                )
            else:
                same = abs(mean(cbc) - mean(ecb)) < 10
                table.direction(f"{name}, not in the paper: CBC of one unit a block within 10 points of ECB", same)
    table.finish(world, "disguise_cbc")


if __name__ == "__main__":
    main()
