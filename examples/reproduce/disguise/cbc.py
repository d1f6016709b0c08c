"""AES in two modes: networks trained on images disguised by ECB and by CBC.

CBC runs along each block with a key for each position. The paper does not state its initial vectors: "one vector" is
one for each position, the same for all images; "fresh vectors" are new for each image. With one vector, images that
begin with equal pixels have equal code words up to the first difference, so that something is left to learn. A block of
4 x 4 pixels is a single unit, so that CBC with one vector is ECB there.

Usage: python disguise/cbc.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, World, mean, minus, read_world, spread
from owner import CLASSES, PADDED, Disguise

KINDS = {"cbc-fresh": "CBC, fresh vectors", "cbc": "CBC, one vector", "aes": "ECB"}
CHANCE = 100 / CLASSES


def tables(world: World) -> None:
    """Make the table."""
    columns = [part for shown in KINDS.values() for part in (shown, "±")]
    title = "CBC: accuracy in percent of networks trained on AES-disguised images, units of 16 pixels"
    table = Table(title, ["set", "blocks", *columns, "chance", "paper: CBC"])
    for name in world.sets:
        for blocks in (1, 64):
            side = int(PADDED / blocks**0.5)
            found = [world.utility(name, Disguise(kind, side)) for kind in KINDS]
            cells = [cell for each in found for cell in (mean(each), spread(each))]
            table.row(name, str(blocks), *cells, CHANCE, "below 10")
            fresh, one, ecb = found
            table.claim(
                f"{name}, blocks: {blocks}: CBC with fresh vectors at most 5 points above chance",
                [CHANCE + 5 - each for each in fresh],
                ours=fresh,
                paper="below 10",
            )
            if blocks == 1:
                table.claim(
                    f"{name}, blocks: {blocks}: CBC with one vector at most 5 points above chance",
                    [CHANCE + 5 - each for each in one],
                    ours=one,
                    paper="below 10",
                    reason="Images that begin with equal pixels have equal code words up to the first difference.",
                )
            else:
                table.claim(
                    f"{name}, blocks: {blocks}, not in the paper: CBC with one vector within 5 points of ECB",
                    [5 - abs(difference) for difference in minus(one, ecb)],
                    ours=one,
                )
    table.finish(world, "cbc")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
