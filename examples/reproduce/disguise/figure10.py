"""Figure 10 of "Image Disguising": attacks on RMT: direct re-identification by block size, and regression by pairs.

Left: an examiner of plain images is shown disguised ones (L1). Right: known pairs give the matrices by least squares
(L2); blocks of 7 x 7, noise 100; as in the paper the attacker knows block size and order. "As in the paper" estimates
the matrix without a constant and inverts it; "with intercept" fits plain to disguised rows, and a constant, which takes
the mean of the noise out. A third table has the error by noise.

Usage: python disguise/figure10.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, World, mean, minus, numbers, read_world, spread
from owner import Disguise

PAPER = {"mnist": "9.29 ± 3.3", "fashion-mnist": "11.42 ± 1.3"}  # of its best setting, 7 x 7 and u = 100
WAYS = {True: "as in the paper", False: "with intercept"}
COLUMNS = [f"{what}, {way}" for way in WAYS.values() for what in ("success rate", "error")]


def left(world: World) -> None:
    """Make the table of direct re-identification."""
    columns = ["set", "side of a block", "noise u", "success rate", "±", "paper, best setting"]
    table = Table("Figure 10, left: direct re-identification of RMT-disguised images (L1), percent", columns)
    for name in world.sets:
        for noise in (0, 100):
            for side in world.scale.rmt_sides:
                each = world.reidentification(name, Disguise("rmt", side, noise))
                best = (side, noise) == (7, 100)
                table.row(name, str(side), str(noise), mean(each), spread(each), PAPER.get(name) if best else None)
                if best:
                    table.claim(
                        f"{name}: direct re-identification of 7 x 7, u = 100 within 10 points of chance",
                        [20 - rate for rate in each],
                        ours=each,
                        paper=PAPER.get(name, ""),
                    )
    table.finish(world, "figure10_left")


def by_pairs(world: World) -> None:
    """Make the table of the regression attack by pairs."""
    title = "Figure 10, right: regression attack (L2), 7 x 7, u = 100; success in percent, error (RMSE) in grey levels"
    table = Table(title, ["set", "pairs", *COLUMNS])
    few, most = world.scale.regression_pairs[0], world.scale.regression_pairs[-1]
    for name in world.sets:
        found = {pairs: _both(world, name, 100, pairs) for pairs in world.scale.regression_pairs}
        for pairs, each in found.items():
            table.row(name, str(pairs), *map(mean, each))
        for number, way in enumerate(WAYS.values()):
            success, error = found[most][2 * number : 2 * number + 2]
            table.claim(
                f"{name}, {way}: the error with {most} pairs is below that with {few}",
                minus(found[few][2 * number + 1], error),
                ours=error,
            )
            table.claim(
                f"{name}, {way}: success above 50 percent with {most} pairs",
                [each - 50 for each in success],
                ours=success,
                paper="surprisingly high",
            )
    table.finish(world, "figure10_right")


def by_noise(world: World) -> None:
    """Make the table of the regression attack by noise."""
    table = Table("Regression attack (L2), 7 x 7, 20 pairs, by noise", ["set", "noise u", *COLUMNS])
    least, most = world.scale.noises[0], world.scale.noises[-1]
    for name in world.sets:
        found = {noise: _both(world, name, noise, 20) for noise in world.scale.noises}
        for noise, each in found.items():
            table.row(name, str(noise), *map(mean, each))
        for number, way in enumerate(WAYS.values()):
            error = found[most][2 * number + 1]
            table.claim(
                f"{name}, {way}: the error with u = {most} is above that with u = {least}",
                minus(error, found[least][2 * number + 1]),
                ours=error,
            )
    table.finish(world, "figure10_noise")


def _both(world: World, name: str, noise: float, pairs: int) -> list[list[float]]:
    """Return success and error of each fold as in the paper, then with an intercept."""
    found = [world.regression(name, noise, pairs, as_paper=way) for way in WAYS]
    return [numbers(each, what) for each in found for what in ("success", "error")]


def tables(world: World) -> None:
    """Make the three tables."""
    left(world)
    by_pairs(world)
    by_noise(world)


if __name__ == "__main__":
    read_world(__doc__).run(tables)
