"""Attacks on "One Way Scrambling by Deconvolution" that the paper does not have, and a number of it checked.

* Re-identification (L2): the attacker knows some plain images and what they became, and links further scrambled images
  to plain ones among many. With the owner's encoder, which is public, and with another one.
* Labels (L2): a linear probe trained on a few known labels, on what the cloud sees anyhow.
* Distances (L0), equality (L0), and keys drawn from a seed (L2).
* "59 % of the neurons output zeros for any input": the share of zeros behind the generator's ReLUs, and the share of
  units that are zero for every image.

Usage: python owsd/attacks.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import owsd_attack_measures as measures
from owsd_world import Table, World, mean, minus, numbers, read_world, spread

PAPER_ZEROS = 59.0
INSIDE = "embeddings, which stay inside"
SEEN = (*measures.SEEN, "last features, ImageNet's cloud", "pixels of scrambled images", INSIDE)


def linking(world: World) -> None:
    """Link scrambled images to plain ones, by known pairs."""
    scale = world.scale
    columns = ["attacker's encoder", "pairs", "top-1", "±", "top-10", "by chance: top-1", "top-10"]
    table = Table(f"Re-identification (L2) among {scale.candidates} images, percent", columns)
    possible = [pairs for pairs in scale.pairs if pairs <= scale.sizes.images - scale.candidates]
    found = {}
    for encoder in scale.encoders[:2]:
        whose = "the owner's" if encoder == world.encoder else "another one"
        for pairs in possible:
            runs = world.each(measures.linking, encoder=encoder, pairs=pairs, candidates=scale.candidates)
            first, ten, chance, ten_chance = (
                numbers(runs, name) for name in ("top-1", "top-10", "top-1 by chance", "top-10 by chance")
            )
            rest = (mean(ten), mean(chance), mean(ten_chance))
            table.row(f"{whose}: {encoder}", str(pairs), mean(first), spread(first), *rest)
            found[encoder, pairs] = first, chance
    few, (many, chance) = found[world.encoder, possible[0]][0], found[world.encoder, possible[-1]]
    says = f"with {possible[-1]} pairs, no more are linked than 2 points above chance"
    table.claim(says, [2 - difference for difference in minus(many, chance)], ours=many)
    table.claim(f"{possible[-1]} pairs link more than {possible[0]} (ours)", minus(many, few), ours=many)
    table.finish(world, "attacks_linking")


def probing(world: World) -> None:
    """Guess labels from what the cloud sees."""
    tested = world.scale.tested
    known = [each for each in world.scale.known_labels if each <= world.scale.sizes.images - tested]
    columns = ["from", *(f"{each} labels known" for each in known)]
    table = Table(f"Labels guessed by a linear probe (L2), percent of {tested}", columns)
    right = {}
    for seen in SEEN:
        runs = [world.each(measures.probe, seen=seen, known=count, tested=tested) for count in known]
        table.row(seen, *(mean(numbers(each, "right")) for each in runs))
        right[seen], chance = numbers(runs[-1], "right"), numbers(runs[-1], "chance")
    table.row("always the most frequent label", *(mean(chance) for _ in known))
    outside = [max(each) for each in zip(*(right[seen] for seen in SEEN if seen != INSIDE), strict=True)]
    says = "what the cloud sees tells no labels (at most 5 points above chance)"
    table.claim(says, [5 - difference for difference in minus(outside, chance)], ours=outside)
    table.finish(world, "attacks_labels")


def other(world: World) -> None:
    """Compare distances, find repeats, search seeds, count zeros."""
    table = Table("Further measurements", ["", "ours", "±", "control", "paper"])
    away = world.each(measures.distances)
    for name, shown in (
        ("distance correlation", "distance correlation (L0; control: of other images)"),
        ("Pearson", "Pearson correlation of distances (L0; control: of other images)"),
        ("neighbours", "same nearest neighbour, percent (L0; control: of other images)"),
    ):
        ours, control = numbers(away, name), numbers(away, f"{name}, control")
        table.row(shown, mean(ours), spread(ours), mean(control), None)
    twice = world.each(measures.repeats)
    again, different = numbers(twice, "repeated"), numbers(twice, "different")
    shown = "repeated images that are seen to be the same, percent (L0; control: different ones)"
    table.row(shown, mean(again), spread(again), mean(different), None)
    silent = world.each(measures.silent)
    zeros, dead = numbers(silent, "zeros"), numbers(silent, "dead")
    shown = "zeros behind the generator's ReLUs, percent of units and images"
    table.row(shown, mean(zeros), spread(zeros), None, PAPER_ZEROS)
    table.row("units that are zero for every image, percent", mean(dead), spread(dead), None, PAPER_ZEROS)
    searched = world.each(measures.seeds, count=world.scale.seeds)
    trials, milliseconds = numbers(searched, "trials"), numbers(searched, "milliseconds")
    shown = f"seeds of {world.scale.seeds} tried until the key is found (L2)"
    table.row(shown, mean(trials), spread(trials), None, None)
    table.row("milliseconds a seed", mean(milliseconds), spread(milliseconds), None, None)
    days = [each / 1000 * 2**32 / 86_400 for each in milliseconds]
    table.row("days for all seeds of 32 bits, one core (calculated)", mean(days), spread(days), None, None)
    kept = numbers(away, "distance correlation")
    table.claim("distances are lost (correlation under 0.5)", [0.5 - each for each in kept], ours=kept)
    table.claim(
        "59 percent of outputs are zero (to 10 points)",
        [10 - abs(each - PAPER_ZEROS) for each in zeros],
        ours=zeros,
        paper=str(PAPER_ZEROS),
    )
    table.claim(
        "59 percent of units are zero for any input (to 10 points)",
        [10 - abs(each - PAPER_ZEROS) for each in dead],
        ours=dead,
        paper=str(PAPER_ZEROS),
        reason="Weights of mean zero before a calibrated batch norm make half of all outputs zero, not the same ones.",
    )
    table.finish(world, "attacks_other")


def tables(world: World) -> None:
    """Make the tables."""
    linking(world)
    probing(world)
    other(world)


if __name__ == "__main__":
    read_world(__doc__).run(tables)
