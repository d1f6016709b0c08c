"""Table II of "Image Disguising": the best setting of each disguise, with the level of knowledge beside each attack.

RMT: orthogonal 7 x 7, u = 100; attacked by direct re-identification (L1: no pairs). AES: 64 blocks of 4 x 4, units of
2 pixels, 2 percent salt and pepper; attacked by the codebook (L2) with 20 pairs, and with 1,000. These do not compare:
at the same level, RMT is attacked by regression, in the last column. The paper's "attack success rate" of no disguise
is the accuracy itself; by its own definition it is 100.

Usage: python disguise/table2.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, mean, read_world, spread
from owner import PLAIN, Disguise
from paper_attacks import codebook, regression, reidentification

PAPER = {
    "mnist": ("96.6 ± 0.4", "91.6 ± 1.1", "96.7 ± 0.2", "9.29 ± 3.3", "37.3 ± 0.9"),
    "fashion-mnist": ("85.1 ± 0.6", "68.9 ± 1.4", "88.7 ± 0.3", "11.42 ± 1.3", "19.3 ± 0.8"),
}
RMT, AES = Disguise("rmt", noise=100), Disguise("aes", 4, 0.02, 2)


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    columns = ["set", "", *(f"accuracy {what}" for what in ("RMT", "AES", "no disguise"))]
    attacked = ("RMT (L1)", "AES (L2, 20 pairs)", "AES (L2, 1000 pairs)", "RMT (L2, 20 pairs)")
    table = Table("Table II: percent", [*columns, *(f"success {what}" for what in attacked)])
    folds = range(world.scale.folds)
    for name in world.sets:
        rmt, aes, plain = (world.utility(name, disguise) for disguise in (RMT, AES, PLAIN))
        direct = [reidentification(world, name, fold, RMT) for fold in folds]
        book, large = ([codebook(world, name, fold, AES, pairs)[0] for fold in folds] for pairs in (20, 1000))
        pairs = [regression(world, name, fold, 100, 20, as_paper=False)[0] for fold in folds]
        table.row(name, "ours", *(shown(each) for each in (rmt, aes, plain, direct, book, large, pairs)))
        table.row(name, "paper", *PAPER.get(name, (None,) * 5), None, None)
        table.direction(f"{name}: RMT within 3 points of no disguise", mean(rmt) > mean(plain) - 3)
        table.direction(f"{name}: accuracy RMT above AES", mean(rmt) > mean(aes))
        table.direction(f"{name}: success at L1 on RMT below success at L2 on AES", mean(direct) < mean(large))
        table.direction(
            f"{name}, not in the paper: at L2, too, RMT withstands more than AES", mean(pairs) < mean(large)
        )
    table.finish(world, "table2")


def shown(values: list[float]) -> str:
    """Return mean and standard deviation."""
    return f"{mean(values):.1f} ± {spread(values) or 0:.1f}"


if __name__ == "__main__":
    main()
