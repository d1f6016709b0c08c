"""Figure 10 of "Image Disguising": attacks on RMT: direct re-identification by block size, and regression by pairs.

Left: an examiner of plain images is shown disguised ones (L1). Right: known pairs give the matrices by least squares
(L2); blocks of 7 x 7, noise 100; as in the paper the attacker knows block size and order. "As in the paper" estimates
the matrix without a constant and inverts it; "with intercept" fits plain to disguised rows, and a constant, which takes
the mean of the noise out. A third table has the error by noise.

Usage: python disguise/figure10.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, World, mean, read_world, spread
from owner import Disguise
from paper_attacks import regression, reidentification


def left(world: World) -> None:
    """Make the table of direct re-identification."""
    columns = ["set", "side of a block", "noise u", "success rate", "±", "paper, best setting"]
    table = Table("Figure 10, left: direct re-identification of RMT-disguised images (L1), percent", columns)
    paper = {"mnist": "9.29 ± 3.3", "fashion-mnist": "11.42 ± 1.3"}
    for name in world.sets:
        found = {}
        for noise in (0, 100):
            for side in world.scale.rmt_sides:
                folds = range(world.scale.folds)
                each = [reidentification(world, name, fold, Disguise("rmt", side, noise)) for fold in folds]
                found[side] = mean(each)
                best = paper.get(name) if (side, noise) == (7, 100) else None
                table.row(name, str(side), str(noise), found[side], spread(each), best)
        table.direction(f"{name}: 7 x 7, u = 100 within 10 points of chance", found[7] < 20)
    table.finish(world, "figure10_left")


def right(world: World) -> None:
    """Make the tables of the regression attack."""
    made = ("as in the paper", "with intercept")
    columns = [f"{what}, {how}" for how in made for what in ("success rate", "error")]
    table = Table(
        "Figure 10, right: regression attack (L2), 7 x 7, u = 100; success in percent, error (RMSE) in grey levels",
        ["set", "pairs", *columns, "paper"],
    )
    for name in world.sets:
        errors = []
        for pairs in world.scale.regression_pairs:
            cells = both(world, name, 100, pairs)
            errors.append(cells)
            table.row(name, str(pairs), *cells, "surprisingly high" if pairs == 20 else None)
        for number, how in enumerate(made):
            table.direction(
                f"{name}, {how}: the error falls with the pairs", errors[-1][2 * number + 1] < errors[0][2 * number + 1]
            )
            table.direction(f"{name}, {how}: success above 50 percent with the most pairs", errors[-1][2 * number] > 50)
    table.finish(world, "figure10_right")
    table = Table("Regression attack (L2), 7 x 7, 20 pairs, by noise", ["set", "noise u", *columns])
    for name in world.sets:
        rows = [both(world, name, noise, 20) for noise in world.scale.noises]
        for noise, cells in zip(world.scale.noises, rows, strict=True):
            table.row(name, str(noise), *cells)
        for number, how in enumerate(made):
            table.direction(
                f"{name}, {how}: the error rises with the noise", rows[-1][2 * number + 1] > rows[0][2 * number + 1]
            )
    table.finish(world, "figure10_noise")


def both(world: World, name: str, noise: float, pairs: int) -> list[float]:
    """Return success and error as in the paper, then with an intercept, each the mean over folds."""
    cells = []
    for as_paper in (True, False):
        each = [regression(world, name, n, noise, pairs, as_paper=as_paper) for n in range(world.scale.folds)]
        cells += [mean(score for score, _ in each), mean(error for _, error in each)]
    return cells


if __name__ == "__main__":
    world = read_world(__doc__)
    left(world)
    right(world)
