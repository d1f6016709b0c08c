"""AES in two modes: networks trained on images disguised by ECB and by CBC.

CBC runs along each block with a key for each position. The paper does not state its initial vectors: "one vector" is
one for each position, the same for all images; "fresh vectors" are new for each image. With one vector, images that
begin with equal pixels have equal code words up to the first difference, so that something is left to learn. A block of
4 x 4 pixels is a single unit, so that CBC with one vector is ECB there.

Usage: python disguise/cbc.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, mean, read_world, spread
from owner import CLASSES, PADDED, Disguise

KINDS = {"cbc-fresh": "CBC, fresh vectors", "cbc": "CBC, one vector", "aes": "ECB"}


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    columns = [part for shown in KINDS.values() for part in (shown, "±")]
    table = Table(
        "CBC: accuracy in percent of networks trained on AES-disguised images, units of 16 pixels",
        ["set", "blocks", *columns, "chance", "paper: CBC"],
    )
    for name in world.sets:
        for blocks in (1, 64):
            side = int(PADDED / blocks**0.5)
            found = {kind: world.utility(name, Disguise(kind, side)) for kind in KINDS}
            cells = [cell for each in found.values() for cell in (mean(each), spread(each))]
            table.row(name, str(blocks), *cells, 100 / CLASSES, "below 10")
            fresh, one, ecb = (mean(each) for each in found.values())
            what = f"{name}, {blocks} blocks"
            table.direction(f"{what}: CBC with fresh vectors near chance (within 5 points)", fresh < 100 / CLASSES + 5)
            if blocks == 1:
                table.direction(f"{what}: CBC with one vector near chance (within 5 points)", one < 100 / CLASSES + 5)
            else:
                table.direction(
                    f"{what}, not in the paper: CBC with one vector is as ECB (within 5 points)", abs(one - ecb) < 5
                )
    table.finish(world, "cbc")


if __name__ == "__main__":
    main()
