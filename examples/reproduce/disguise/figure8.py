"""Figure 8 of "Image Disguising": the codebook attack on AES-disguised images, by known pairs and size of the units.

64 blocks of 4 x 4. Known pairs are training images, attacked are test images; as in the paper the attacker knows block
size and order, and puts random known units where a unit is not in the codebook. The success rate is the accuracy of a
DNN examiner on rebuilt images over that on plain ones. A second table has the three fall-backs that the paper names.

Usage: python disguise/figure8.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

from disguise_world import Table, World, mean, read_world, spread
from owner import Disguise
from paper_attacks import FALLBACKS, codebook

PAPER = {  # in the text, of MNIST
    16: "hit rate below 10, success rises steadily",
    2: "hit rate about 10, then 2 to 3; success about 50 from 20 pairs on",
}


def pairs_table(world: World) -> None:
    """Make the table by known pairs."""
    columns = ["set", "unit, pixels", "pairs", "hit rate", "of non-constant units", "one to one", "success rate", "±"]
    table = Table("Figure 8: codebook attack (L2), percent", [*columns, "paper, MNIST"])
    for name in world.sets:
        found = {}
        for unit in (16, 2):
            for pairs in world.scale.codebook_pairs:
                each = [codebook(world, name, n, Disguise("aes", 4, 0, unit), pairs) for n in range(world.scale.folds)]
                success, rates = (
                    [score for score, _ in each],
                    [mean(rate) for rate in zip(*(r for _, r in each), strict=True)],
                )
                found[unit, pairs] = mean(success), rates[0], rates[1]
                paper = PAPER[unit] if name == "mnist" else None
                table.row(name, str(unit), str(pairs), *rates, mean(success), spread(success), paper)
        few, most = world.scale.codebook_pairs[0], world.scale.codebook_pairs[-1]
        for unit in (16, 2):
            rises = found[unit, most][0] > found[unit, few][0]
            table.direction(f"{name}, units of {unit}: success rises with the known pairs", rises)
        growth = {unit: found[unit, most][0] - found[unit, few][0] for unit in (16, 2)}
        table.direction(f"{name}: from fewest to most pairs, success grows more for units of 2", growth[2] > growth[16])
        sooner = found[2, 20][0] > found[16, 20][0]
        table.direction(f"{name}: with 20 pairs, success is higher for units of 2", sooner)
        for number, what in ((1, "all units"), (2, "non-constant units")):
            low = all(found[16, pairs][number] < 10 for pairs in world.scale.codebook_pairs)
            table.direction(f"{name}, units of 16: hit rate over {what} below 10 percent", low)
    table.finish(world, "figure8")


def fallbacks_table(world: World) -> None:
    """Make the table of fall-backs."""
    table = Table(
        "Codebook attack (L2), 20 pairs: success rate in percent by fall-back", ["set", "unit, pixels", *FALLBACKS]
    )
    for name in world.sets:
        for unit in (16, 2):
            disguise = Disguise("aes", 4, 0, unit)
            rates = [
                mean(codebook(world, name, n, disguise, 20, fallback)[0] for n in range(world.scale.folds))
                for fallback in FALLBACKS
            ]
            table.row(name, str(unit), *rates)
    table.direction(
        "the fall-back changes the success rate (by 5 points somewhere)",
        any(max(row[2:]) - min(row[2:]) > 5 for row in table.rows),
    )
    table.finish(world, "figure8_fallbacks")


if __name__ == "__main__":
    world = read_world(__doc__)
    pairs_table(world)
    fallbacks_table(world)
