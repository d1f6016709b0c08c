"""Table 5 of "One Way Scrambling by Deconvolution": what a cloud says of plain and of scrambled images.

"By chance" compares with the answer for another image. The paper does not say how it counts labels in common, nor
whether the confidence falls in points or in shares; both are given. Photographs (``--photographs``) are what ImageNet's
cloud was made for, as in the paper; CIFAR-10's images are enlarged.

Usage: python owsd/table5.py --source cifar10:ROOT [--photographs SOURCE] [--scale check|smoke|paper] [--out DIR]
"""

import math

import torch
from owsd_world import IMAGENET, OWN, Table, World, read_world
from torch import Tensor

PAPER = {
    "first label the same": 0.07,
    "of five labels in common": 0.52,
    "confidence in plain's first label, points lost": 76.0,
    "confidence in plain's five labels, points lost": 87.0,
    "entropy plain, nats": 1.97,
    "entropy scrambled, nats": 4.3,
}


def entropy(vectors: Tensor) -> float:
    """Return the mean entropy in nats."""
    return float(torch.special.entr(vectors.double()).sum(1).mean())


def compare(plain: Tensor, scrambled: Tensor) -> dict[str, float]:
    """Compare answers, in percent where not said otherwise."""
    first, five = plain.argmax(1), plain.topk(5, 1).indices
    common = (five[:, :, None] == scrambled.topk(5, 1).indices[:, None]).any(2).double()
    before, after = (v.gather(1, five).double() for v in (plain, scrambled))
    lost, before_all, after_all = before - after, before.sum(1), after.sum(1)
    return {
        "first label the same": 100 * float((first == scrambled.argmax(1)).double().mean()),
        "of five labels in common": 100 * float(common.mean()),
        "any of five labels in common": 100 * float(common.any(1).double().mean()),
        "confidence in plain's first label, points lost": 100 * float(lost[:, 0].mean()),
        "confidence in plain's first label, share lost": 100 * float((lost[:, 0] / before[:, 0]).mean()),
        "confidence in plain's five labels, points lost": 100 * float((before_all - after_all).mean()),
        "confidence in plain's five labels, share lost": 100 * float((1 - after_all / before_all).mean()),
        "entropy plain, nats": entropy(plain),
        "entropy scrambled, nats": entropy(scrambled),
        "entropy plain, bits": entropy(plain) / math.log(2),
        "entropy scrambled, bits": entropy(scrambled) / math.log(2),
        "different first labels, plain": float(first.unique().numel()),
        "different first labels, scrambled": float(scrambled.argmax(1).unique().numel()),
    }


def answers(world: World) -> dict[str, tuple[Tensor, Tensor]]:
    """Return answers for plain and for scrambled images, by cloud and images."""
    found = {
        f"{name}, CIFAR-10": (world.plain_vectors(cloud), world.vectors(cloud, world.encoder))
        for cloud, name in ((IMAGENET, "ImageNet's cloud"), (OWN, "cloud trained on CIFAR-10"))
    }
    if world.photographs is not None:
        cloud, images = world.cloud(IMAGENET), world.photographs
        embeddings = world.embed(world.encoder, images)
        found["ImageNet's cloud, photographs"] = cloud(images), cloud(world.scramble(embeddings, world.key))
    return found


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    found = {name: compare(*pair) for name, pair in answers(world).items()}
    chance = {name: compare(plain, scrambled.roll(1, 0)) for name, (plain, scrambled) in answers(world).items()}
    columns = [column for name in found for column in (name, "by chance")]
    table = Table("Table 5: answers for plain and scrambled images, percent", ["", *columns, "paper"])
    for quantity in next(iter(found.values())):
        told = "common" in quantity or "same" in quantity
        cells = [c for name in found for c in (found[name][quantity], chance[name][quantity] if told else None)]
        table.row(quantity, *cells, PAPER.get(quantity))
    for name, ours in found.items():
        more = ours["entropy scrambled, nats"] > ours["entropy plain, nats"]
        table.direction(f"{name}: entropy is higher for scrambled images", more)
        if name.startswith("ImageNet"):
            table.direction(
                f"{name}: first labels are hardly ever the same (under 1 percent)", ours["first label the same"] < 1
            )
            table.direction(f"{name}: labels in common are few (under 2 percent)", ours["of five labels in common"] < 2)
    table.finish(world, "table5")


if __name__ == "__main__":
    main()
