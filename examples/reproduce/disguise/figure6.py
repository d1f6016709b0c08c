"""Figure 6 of "Image Disguising": networks trained on AES-disguised images, by number of blocks and size of the units.

28 x 28 images are padded to 32 x 32. Units of 2 pixels: scaled up by 8, disguised, scaled down. More than one block is
also permuted. Blocks have a key for each position, as in the paper, or all have the same key.

Usage: python disguise/figure6.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, World, highest, mean, minus, read_world, spread
from owner import PADDED, PLAIN, Disguise

KEYS = {False: "one for each position", True: "one for all"}


def tables(world: World) -> None:
    """Make the table."""
    columns = ["set", "unit, pixels", "blocks", "keys", "accuracy", "±", "no disguise"]
    table = Table("Figure 6: accuracy in percent of networks trained on AES-disguised images", columns)
    for name in world.sets:
        plain, found = world.utility(name, PLAIN), {}
        for unit in (16, 2):
            for blocks in world.scale.aes_blocks:
                for shared, shown in KEYS.items():
                    if blocks == 1 and shared:
                        continue  # the same as one key for each position
                    disguise = Disguise("aes", int(PADDED / blocks**0.5), unit_pixels=unit, shared=shared)
                    each = found[unit, blocks, shared] = world.utility(name, disguise)
                    table.row(name, str(unit), str(blocks), shown, mean(each), spread(each), mean(plain))
        _claims(table, world, name, plain, found)
    table.finish(world, "figure6")


def _claims(
    table: Table, world: World, name: str, plain: list[float], found: dict[tuple[int, int, bool], list[float]]
) -> None:
    fewest, most = world.scale.aes_blocks[0], world.scale.aes_blocks[-1]
    for unit in (16, 2):
        for shared, shown in KEYS.items():
            table.claim(
                f"{name}, units of {unit}, keys: {shown}: accuracy with {most} blocks above that with {fewest}",
                minus(found[unit, most, shared], found[unit, fewest, False]),
                ours=found[unit, most, shared],
                paper="rises",
                reason="" if shared else "With a key for each position, equal units at two positions look different.",
            )
    for shared, shown in KEYS.items():
        table.claim(
            f"{name}, {most} blocks, keys: {shown}: units of 2 above units of 16",
            minus(found[2, most, shared], found[16, most, shared]),
            ours=found[2, most, shared],
            paper="higher",
        )
    best = [highest(each) for each in zip(*(found[key] for key in found if key[0] == 2), strict=True)]
    table.claim(
        f"{name}: the best setting of units of 2 within 3 points of no disguise",
        minus(best, plain, -3),
        ours=best,
        paper="2 to 3 points below",
    )


if __name__ == "__main__":
    read_world(__doc__).run(tables)
