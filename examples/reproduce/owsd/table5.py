"""Table 5 of "One Way Scrambling by Deconvolution": what a cloud says of plain and of scrambled images; and Figure 3.

"By chance" compares with the answer for another image. The paper does not say how it counts labels in common, nor
whether the confidence falls in points or in shares; both are given. Photographs (``--photographs``) are what ImageNet's
cloud was made for, as in the paper; CIFAR-10's images are enlarged. Figure 3 says that scrambled images are grey; its
table has spreads in grey levels.

Usage: python owsd/table5.py --source cifar10:ROOT [--photographs SOURCE] [--scale check|smoke|full|paper] [--out DIR]
"""

import owsd_measures
from owsd_bench import IMAGENET, OWN
from owsd_world import Found, Table, World, mean, minus, numbers, read_world, shown

PAPER = {
    "first label the same": 0.07,
    "of five labels in common": 0.52,
    "confidence in plain's first label, points lost": 76.0,
    "confidence in plain's five labels, points lost": 87.0,
    "entropy plain, nats": 1.97,
    "entropy scrambled, nats": 4.3,
}
BY_CHANCE = ("first label the same", "of five labels in common", "any of five labels in common")
QUANTITIES = (
    *BY_CHANCE,
    *(
        f"confidence in plain's {which}, {how} lost"
        for which in ("first label", "five labels")
        for how in ("points", "share")
    ),
    *(f"entropy {which}, {unit}" for unit in ("nats", "bits") for which in ("plain", "scrambled")),
    *(f"different first labels, {which}" for which in ("plain", "scrambled")),
)
SEEN = ("contrast in an image", "differences between images", "differences between colours")


def tables(world: World) -> None:
    """Make both tables."""
    figure3(world)
    table5(world)


def figure3(world: World) -> None:
    """Say what there is to see in scrambled images."""
    table = Table("Figure 3: scrambled images, grey levels of 255", ["encoder", *SEEN])
    found = {each: world.each(owsd_measures.scrambled, encoder=each) for each in world.scale.sizes.encoders}
    for encoder, each in found.items():
        table.row(encoder, *(shown(numbers(each, name)) for name in SEEN))
    contrast, images, colours = (numbers(found[world.encoder], name) for name in SEEN)
    table.claim(
        "scrambled images are grey: colours differ less than pixels of an image do",
        minus(contrast, colours),
        ours=colours,
        paper="greyscale",
        reason="Each colour has random weights of its own.",
    )
    table.claim(
        "not in the paper: images differ less from each other than pixels of one image do",
        minus(contrast, images),
        ours=images,
    )
    table.finish(world, "figure3")


def table5(world: World) -> None:
    """Compare answers."""
    asked = {f"{name}, CIFAR-10": (cloud, None) for cloud, name in NAMES.items()}
    if world.photographs is not None:
        asked[f"{NAMES[IMAGENET]}, photographs"] = (IMAGENET, world.photographs)
    found = {name: _compare(world, *each, by_chance=False) for name, each in asked.items()}
    chance = {name: _compare(world, *each, by_chance=True) for name, each in asked.items()}
    columns = [column for name in found for column in (name, "by chance")]
    table = Table("Table 5: answers for plain and scrambled images, percent", ["", *columns, "paper"])
    for quantity in QUANTITIES:
        cells: list[float | None] = []
        for name in found:
            random = mean(numbers(chance[name], quantity)) if quantity in BY_CHANCE else None
            cells += [mean(numbers(found[name], quantity)), random]
        table.row(quantity, *cells, PAPER.get(quantity))
    for name, ours in found.items():
        hidden = numbers(ours, "entropy scrambled, nats")
        table.claim(
            f"{name}: entropy is higher for scrambled images",
            minus(hidden, numbers(ours, "entropy plain, nats")),
            ours=hidden,
            paper="4.3 to 1.97",
        )
        if name.startswith(NAMES[IMAGENET]):
            for quantity, most, paper in (("first label the same", 1, "0.07"), ("of five labels in common", 2, "0.52")):
                each = numbers(ours, quantity)
                table.claim(
                    f"{name}: {quantity}: under {most} percent", [most - n for n in each], ours=each, paper=paper
                )
    table.finish(world, "table5")


NAMES = {IMAGENET: "ImageNet's cloud", OWN: "cloud trained on CIFAR-10"}


def _compare(world: World, cloud: str, photographs: str | None, *, by_chance: bool) -> Found:
    settings = {"cloud": cloud, "encoder": world.encoder, "photographs": photographs}
    return world.each(owsd_measures.compare, **settings, by_chance=by_chance)


if __name__ == "__main__":
    read_world(__doc__).run(tables)
