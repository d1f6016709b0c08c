"""Figure 9 of "Image Disguising": salt and pepper before AES, what it costs the codebook attack and the owner.

64 blocks of 4 x 4; 20 and 1,000 known pairs, random known units for those that are not in the codebook. MNIST, as in
the paper.

Usage: python disguise/figure9.py --source mnist:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

from disguise_world import Table, World, mean, minus, numbers, read_world, spread
from owner import Disguise

PAIRS, CHOSEN = (20, 1000), 0.02  # the paper's choice


def tables(world: World) -> None:
    """Make the table."""
    rates = [f"success rate, {pairs} pairs" for pairs in PAIRS]
    columns = ["set", "unit, pixels", "pixels changed", "accuracy", "±", *rates]
    table = Table("Figure 9: salt and pepper before AES, percent; codebook attack (L2)", columns)
    name = "mnist" if "mnist" in world.sets else world.sets[0]
    for unit in (16, 2):
        utility, success = {}, {}
        for amount in world.scale.amounts:
            disguise = Disguise("aes", 4, amount, unit)
            utility[amount] = world.utility(name, disguise)
            for pairs in PAIRS:
                success[amount, pairs] = numbers(world.codebook(name, disguise, pairs), "success")
            found = [mean(success[amount, pairs]) for pairs in PAIRS]
            table.row(name, str(unit), f"{100 * amount:g}", mean(utility[amount]), spread(utility[amount]), *found)
        for pairs in PAIRS:
            table.claim(
                f"units of {unit}, {pairs} pairs: 2 percent lowers the success rate",
                minus(success[0.0, pairs], success[CHOSEN, pairs]),
                ours=success[CHOSEN, pairs],
                paper="about 10 lower",
            )
        table.claim(
            f"units of {unit}: 2 percent costs the owner's network less than 5 points",
            minus(utility[CHOSEN], utility[0.0], -5),
            ours=utility[CHOSEN],
            paper="about the same",
            reason="A changed pixel changes every pixel of its unit.",
        )
    table.finish(world, "figure9")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
