"""Attacks on "One Way Scrambling by Deconvolution" that the paper does not have, and a number of it checked.

* Re-identification (L2): the attacker knows some plain images and what they became, and links further scrambled images
  to plain ones among many. With the owner's encoder, which is public, and with another one.
* Labels (L2): a linear probe trained on a few known labels, on what the cloud sees anyhow.
* Distances (L0), equality (L0), and keys drawn from a seed (L2).
* "59 % of the neurons output zeros for any input": the share of zeros behind the generator's ReLUs, and the share of
  units that are zero for every image.

Usage: python owsd/attacks.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import attack_measures
from owsd_world import Table, World, highest, mean, minus, numbers, read_world, shown

PAPER_ZEROS = 59.0
DISTANCES = ("distance correlation", "Pearson correlation of distances", "same nearest neighbour, percent")
INSIDE = "embeddings, which stay inside"


def tables(world: World) -> None:
    """Make the tables."""
    linking(world)
    probing(world)
    other(world)


def linking(world: World) -> None:
    """Link scrambled images to plain ones, by known pairs."""
    scale = world.scale
    columns = ["attacker's encoder", "pairs", "top-1", "low", "high", "top-10", "by chance: top-1", "top-10"]
    table = Table(f"Re-identification (L2) among {scale.candidates} images, percent", columns)
    found = {}
    for encoder in scale.sizes.encoders[:2]:
        whose = "the owner's" if encoder == world.encoder else "another one"
        for pairs in scale.pairs:
            each = world.each(attack_measures.link, encoder=encoder, pairs=pairs, candidates=scale.candidates)
            names = ("top-1", "low", "high", "top-10", "chance", "chance, top-10")
            table.row(f"{whose}: {encoder}", str(pairs), *(mean(numbers(each, name)) for name in names))
            found[encoder, pairs] = each
    few, many = (found[world.encoder, pairs] for pairs in (scale.pairs[0], scale.pairs[-1]))
    table.claim(
        "no more are linked than by chance, whatever the pairs",
        minus(numbers(many, "chance"), numbers(many, "low")),
        ours=numbers(many, "top-1"),
        reason="Scrambled images are a smooth function of embeddings, which a few pairs are enough to learn.",
    )
    table.claim(
        "not in the paper: the more pairs, the more are linked",
        minus(numbers(many, "top-1"), numbers(few, "top-1")),
        ours=numbers(many, "top-1"),
    )
    table.finish(world, "attacks_linking")


def probing(world: World) -> None:
    """Guess labels from what the cloud sees."""
    known, tested = world.scale.known_labels, world.scale.tested
    columns = ["from", *(f"{each} labels known" for each in known)]
    table = Table(f"Labels guessed by a linear probe (L2), percent of {tested}", columns)
    found = {}
    for seen in attack_measures.PROBED:
        each = [world.each(attack_measures.probe, seen=seen, known=count, tested=tested) for count in known]
        table.row(seen, *(mean(numbers(one, "right")) for one in each))
        found[seen] = each[-1]
    chance = numbers(found[INSIDE], "chance")
    table.row("always the most frequent label", *(mean(chance) for _ in known))
    outside = [numbers(each, "right") for seen, each in found.items() if seen != INSIDE]
    best = [highest(fold) for fold in zip(*outside, strict=True)]
    table.claim(
        "what the cloud sees tells no labels (at most 5 points above chance)",
        minus(chance, best, -5),
        ours=best,
        reason="The pixels of scrambled images tell nearly as much as the embeddings.",
    )
    table.finish(world, "attacks_labels")


def other(world: World) -> None:
    """Compare distances, find repeats, search seeds, count zeros."""
    table = Table("Further measurements", ["", "ours", "control", "paper"])
    kept, mixed = (world.each(attack_measures.distances, control=control) for control in (False, True))
    for name in DISTANCES:
        row = f"{name} (L0, up to {attack_measures.NEAR} images; control: of other images)"
        table.row(row, mean(numbers(kept, name)), mean(numbers(mixed, name)), None)
    again = world.each(attack_measures.repeats, count=world.scale.repeated)
    same, others = (mean(numbers(again, name)) for name in ("the same", "others"))
    table.row("repeated images that are seen to be the same, percent (L0; control: different ones)", same, others, None)
    silent = world.each(attack_measures.silent)
    zeros, dead = (numbers(silent, name) for name in ("zeros", "never active"))
    table.row("zeros behind the generator's ReLUs, percent of units and images", mean(zeros), None, PAPER_ZEROS)
    table.row("units that are zero for every image, percent", mean(dead), None, PAPER_ZEROS)
    _seeds(world, table)
    correlation = numbers(kept, DISTANCES[0])
    table.claim("distances are lost (correlation under 0.5)", [0.5 - each for each in correlation], ours=correlation)
    _zeros(table, zeros, dead)
    table.finish(world, "attacks_other")


def _seeds(world: World, table: Table) -> None:
    found = world.each(attack_measures.search_seed, seeds=world.scale.seeds)
    milliseconds = mean(numbers(found, "milliseconds a seed"))
    table.row(
        f"of {world.scale.seeds} seeds tried until the key is found (L2)", shown(numbers(found, "tried")), None, None
    )
    table.row("keys found, percent", 100 * mean(numbers(found, "found")), None, None)
    table.row("milliseconds a seed", milliseconds, None, None)
    table.row("days for all seeds of 32 bits, one core (calculated)", milliseconds * 2**32 / 86_400_000, None, None)


def _zeros(table: Table, zeros: list[float], dead: list[float]) -> None:
    reason = "Zero-mean weights with calibrated batch normalisation give about 50 percent, others for each image."
    for what, ours in (("outputs are zero", zeros), ("units are zero for any input", dead)):
        margins = [10 - abs(share - PAPER_ZEROS) for share in ours]
        table.claim(f"59 percent of {what} (to 10 points)", margins, ours=ours, paper="59", reason=reason)


if __name__ == "__main__":
    read_world(__doc__).run(tables)
