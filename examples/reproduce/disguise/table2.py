"""Table II of "Image Disguising": the best setting of each disguise, with the level of knowledge beside each attack.

RMT: orthogonal 7 x 7, u = 100; attacked by direct re-identification (L1: no pairs). AES: 64 blocks of 4 x 4, units of
2 pixels, 2 percent salt and pepper; attacked by the codebook (L2) with 20 pairs, and with 1,000. These do not compare:
at the same level, RMT is attacked by regression, in the last column. The paper's "attack success rate" of no disguise
is the accuracy itself; by its own definition it is 100.

Usage: python disguise/table2.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, World, minus, numbers, read_world, shown
from owner import PLAIN, Disguise

PAPER = {
    "mnist": ("96.6 ± 0.4", "91.6 ± 1.1", "96.7 ± 0.2", "9.29 ± 3.3", "37.3 ± 0.9"),
    "fashion-mnist": ("85.1 ± 0.6", "68.9 ± 1.4", "88.7 ± 0.3", "11.42 ± 1.3", "19.3 ± 0.8"),
}
RMT, AES = Disguise("rmt", noise=100), Disguise("aes", 4, 0.02, 2)


def tables(world: World) -> None:
    """Make the table."""
    columns = ["set", "", *(f"accuracy {what}" for what in ("RMT", "AES", "no disguise"))]
    attacked = ("RMT (L1)", "AES (L2, 20 pairs)", "AES (L2, 1000 pairs)", "RMT (L2, 20 pairs)")
    table = Table("Table II: percent", [*columns, *(f"success {what}" for what in attacked)])
    for name in world.sets:
        rmt, aes, plain = (world.utility(name, disguise) for disguise in (RMT, AES, PLAIN))
        direct = world.reidentification(name, RMT)
        few, many = (numbers(world.codebook(name, AES, pairs), "success") for pairs in (20, 1000))
        pairs = numbers(world.regression(name, 100, 20, as_paper=False), "success")
        table.row(name, "ours", *map(shown, (rmt, aes, plain, direct, few, many, pairs)))
        paper = PAPER.get(name, ("none",) * 5)
        table.row(name, "paper", *paper, None, None)
        table.claim(f"{name}: RMT within 4 points of no disguise", minus(rmt, plain, -4), ours=rmt, paper=paper[0])
        above = f"{paper[0]} against {paper[1]}"
        table.claim(f"{name}: accuracy of RMT above that of AES", minus(rmt, aes), ours=rmt, paper=above)
        table.claim(
            f"{name}: success at L1 on RMT below success at L2 on AES, 20 pairs",
            minus(few, direct),
            ours=direct,
            paper=f"{paper[3]} against {paper[4]}",
        )
        table.claim(
            f"{name}, not in the paper: with 20 pairs (L2), too, RMT withstands more than AES",
            minus(few, pairs),
            ours=pairs,
            reason="The paper compares RMT without known pairs with AES under known pairs.",
        )
    table.finish(world, "table2")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
