"""Table 5 of "One Way Scrambling by Deconvolution": what a cloud says of plain and of scrambled images.

"By chance" compares with the answer for another image. The paper does not say how it counts labels in common, nor
whether the confidence falls in points or in shares; both are given. Photographs (``--photographs``) are what ImageNet's
cloud was made for, as in the paper; CIFAR-10's images are enlarged.

Usage: python owsd/table5.py --source cifar10:ROOT [--photographs SOURCE] [--scale SCALE] [--out DIR]
"""

import owsd_measures as measures
from owsd_bench import IMAGENET, OWN
from owsd_world import Table, World, mean, minus, numbers, read_world

PAPER = {
    "first label the same": 0.07,
    "of five labels in common": 0.52,
    "confidence in plain's first label, points lost": 76.0,
    "confidence in plain's five labels, points lost": 87.0,
    "entropy plain, nats": 1.97,
    "entropy scrambled, nats": 4.3,
}
QUANTITIES = (
    "first label the same",
    "of five labels in common",
    "any of five labels in common",
    "confidence in plain's first label, points lost",
    "confidence in plain's first label, share lost",
    "confidence in plain's five labels, points lost",
    "confidence in plain's five labels, share lost",
    "entropy plain, nats",
    "entropy scrambled, nats",
    "entropy plain, bits",
    "entropy scrambled, bits",
    "different first labels, plain",
    "different first labels, scrambled",
)
CLOUDS = {
    IMAGENET: "ImageNet's cloud, CIFAR-10",
    OWN: "cloud trained on CIFAR-10, CIFAR-10",
    "photographs": "ImageNet's cloud, photographs",
}


def tables(world: World) -> None:
    """Make the table."""
    shown = {cloud: name for cloud, name in CLOUDS.items() if cloud != "photographs" or world.has_photographs}
    found = {cloud: world.each(measures.answers, folds=world.scale.folds, cloud=cloud) for cloud in shown}
    columns = [column for name in shown.values() for column in (name, "by chance")]
    table = Table("Table 5: answers for plain and scrambled images, percent", ["", *columns, "paper"])
    for quantity in QUANTITIES:
        told = "common" in quantity or "same" in quantity
        row: list[float | None] = []
        for each in found.values():
            chance = mean(numbers(each, f"{quantity}, by chance")) if told else None
            row += [mean(numbers(each, quantity)), chance]
        table.row(quantity, *row, PAPER.get(quantity))
    for cloud, name in shown.items():
        plain, scrambled = (numbers(found[cloud], f"entropy {what}, nats") for what in ("plain", "scrambled"))
        says = f"{name}: entropy is higher for scrambled images"
        table.claim(says, minus(scrambled, plain), ours=scrambled, paper="4.3 against 1.97")
        if cloud != OWN:
            for quantity, most in (("first label the same", 1), ("of five labels in common", 2)):
                each = numbers(found[cloud], quantity)
                says = f"{name}: {quantity}: under {most} percent"
                table.claim(says, [most - share for share in each], ours=each, paper=str(PAPER[quantity]))
    table.finish(world, "table5")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
