"""Figure 8 of "Image Disguising": the codebook attack on AES-disguised images, by known pairs and size of the units.

64 blocks of 4 x 4. Known pairs are training images, attacked are test images; as in the paper the attacker knows block
size and order, and puts random known units where a unit is not in the codebook. The success rate is the accuracy of a
DNN examiner on rebuilt images over that on plain ones. A second table has the three fall-backs that the paper names.

Usage: python disguise/figure8.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, World, highest, lowest, mean, minus, numbers, read_world, spread
from owner import Disguise

RATES = ("hit rate", "hit rate, non-constant", "one to one")
FALLBACKS = ("zeros", "most-likely", "random-patch")
PAPER = {"mnist": {16: "rises steadily", 2: "about 50 from 20 pairs on"}}


def by_pairs(world: World) -> None:
    """Make the table by known pairs."""
    columns = ["set", "unit, pixels", "pairs", "hit rate", "of non-constant units", "one to one", "success rate", "±"]
    table = Table("Figure 8: codebook attack (L2), percent", [*columns, "paper, success rate"])
    pairs = world.scale.codebook_pairs
    for name in world.sets:
        success: dict[tuple[int, int], list[float]] = {}
        hits: dict[tuple[int, str], list[list[float]]] = {(unit, rate): [] for unit in (16, 2) for rate in RATES}
        for unit in (16, 2):
            for count in pairs:
                each = world.codebook(name, Disguise("aes", 4, 0.0, unit), count)
                success[unit, count] = numbers(each, "success")
                rates = [numbers(each, rate) for rate in RATES]
                for rate, found in zip(RATES, rates, strict=True):
                    hits[unit, rate].append(found)
                shown = success[unit, count]
                paper = PAPER.get(name, {}).get(unit)
                table.row(name, str(unit), str(count), *map(mean, rates), mean(shown), spread(shown), paper)
        few, most = pairs[0], pairs[-1]
        for unit in (16, 2):
            table.claim(
                f"{name}, units of {unit}: success with {most} pairs above that with {few}",
                minus(success[unit, most], success[unit, few]),
                ours=success[unit, most],
                paper=PAPER.get(name, {}).get(unit, "rises"),
            )
        growth = {unit: minus(success[unit, most], success[unit, few]) for unit in (16, 2)}
        table.claim(
            f"{name}: from {few} to {most} pairs, success grows more for units of 2",
            minus(growth[2], growth[16]),
            ours=growth[2],
        )
        table.claim(
            f"{name}, 20 pairs: success higher for units of 2",
            minus(success[2, 20], success[16, 20]),
            ours=success[2, 20],
            paper="higher",
        )
        for rate, what in (("hit rate", "all units"), ("hit rate, non-constant", "non-constant units")):
            most_hits = [highest(each) for each in zip(*hits[16, rate], strict=True)]
            table.claim(
                f"{name}, units of 16: hit rate over {what} below 10 percent",
                [10 - each for each in most_hits],
                ours=most_hits,
                paper="below 10",
                reason="Constant units, such as background, are in every codebook." if rate == "hit rate" else "",
            )
    table.finish(world, "figure8")


def by_fallback(world: World) -> None:
    """Make the table of fall-backs."""
    title = "Codebook attack (L2), 20 pairs: success rate in percent by fall-back"
    table = Table(title, ["set", "unit, pixels", *FALLBACKS])
    for name in world.sets:
        for unit in (16, 2):
            found = [
                numbers(world.codebook(name, Disguise("aes", 4, 0.0, unit), 20, each), "success") for each in FALLBACKS
            ]
            table.row(name, str(unit), *map(mean, found))
            widest = [highest(each) - lowest(each) for each in zip(*found, strict=True)]
            table.claim(
                f"{name}, units of {unit}: the fall-back changes the success rate by more than 5 points",
                [each - 5 for each in widest],
                ours=widest,
            )
    table.finish(world, "figure8_fallbacks")


def tables(world: World) -> None:
    """Make both tables."""
    by_pairs(world)
    by_fallback(world)


if __name__ == "__main__":
    read_world(__doc__).run(tables)
