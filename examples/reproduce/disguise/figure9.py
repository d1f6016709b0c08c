"""Figure 9 of "Image Disguising": salt and pepper before AES, what it costs the codebook attack and the owner.

64 blocks of 4 x 4; 20 and 1,000 known pairs, random known units for those that are not in the codebook. MNIST, as in
the paper.

Usage: python disguise/figure9.py --source mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

from disguise_world import Table, mean, read_world, spread
from owner import Disguise
from paper_attacks import codebook

PAIRS = (20, 1000)


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    rates = [f"success rate, {pairs} pairs" for pairs in PAIRS]
    columns = ["set", "unit, pixels", "pixels changed", "accuracy", "±", *rates, "paper"]
    table = Table("Figure 9: salt and pepper before AES, percent; codebook attack (L2)", columns)
    name = world.sets[0]  # MNIST, as in the paper
    for unit in (16, 2):
        found = {}
        for amount in world.scale.amounts:
            disguise = Disguise("aes", 4, amount, unit)
            utility = world.utility(name, disguise)
            success = [
                mean(codebook(world, name, fold, disguise, pairs)[0] for fold in range(world.scale.folds))
                for pairs in PAIRS
            ]
            found[amount] = mean(utility), success
            paper = "success 10 lower, accuracy about the same" if 0.02 <= amount <= 0.03 else None
            table.row(name, str(unit), f"{100 * amount:g}", mean(utility), spread(utility), *success, paper)
        for number, pairs in enumerate(PAIRS):
            lower = found[0.02][1][number] < found[0.0][1][number]
            table.direction(f"units of {unit}, {pairs} pairs: 2 percent lowers the success rate", lower)
        kept = found[0.02][0] > found[0.0][0] - 5
        table.direction(f"units of {unit}: 2 percent costs the owner's network less than 5 points", kept)
    table.finish(world, "figure9")


if __name__ == "__main__":
    main()
