"""Attacks on "One Way Scrambling by Deconvolution" that the paper does not have, and a number of it checked.

* Re-identification (L2): the attacker knows some plain images and what they became, and links further scrambled images
  to plain ones among many. With the owner's encoder, which is public, and with another one.
* Labels (L2): a linear probe trained on a few known labels, on what the cloud sees anyhow.
* Distances (L0), equality (L0), and keys drawn from a seed (L2).
* "59 % of the neurons output zeros for any input": the share of zeros behind the generator's ReLUs, and the share of
  units that are zero for every image.

Usage: python owsd/attacks.py --source cifar10:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import time

import torch
from encoders import Encoder
from owsd_world import CLASSES, IMAGENET, OWN, Table, World, read_world
from torch import Tensor, nn

from torchprotect import attacks
from torchprotect.models import DCGANGenerator

PAPER_ZEROS = 59.0
TESTED, DISTANCES, REPEATED, PIXELS = 500, 500, 200, 32


def linking(world: World, scrambled: Tensor) -> None:
    """Link scrambled images to plain ones, by known pairs."""
    scale, truth = world.scale, torch.arange(world.scale.candidates)
    table = Table(
        f"Re-identification (L2) among {scale.candidates} images, percent",
        ["attacker's encoder", "pairs", "top-1", "low", "high", "top-10", "by chance: top-1", "top-10"],
    )
    found = {}
    for encoder in (world.encoder, scale.encoders[1]):
        embeddings = world.embeddings(encoder)
        candidates, known = embeddings[-scale.candidates :], embeddings[: -scale.candidates]
        for pairs in (each for each in scale.pairs if each <= len(known)):
            result = attacks.ridge_reidentification(
                known[:pairs], scrambled[:pairs], scrambled[-scale.candidates :], candidates
            )
            score = attacks.score_linkage(result, truth, (1, 10), candidates=scale.candidates)
            whose = "the owner's" if encoder == world.encoder else "another one"
            numbers = (score.shares[0], score.low[0], score.high[0], score.shares[1], *score.chance)
            table.row(f"{whose}: {encoder}", str(pairs), *(100 * number for number in numbers))
            found[encoder, pairs] = score
    most = max(pairs for _, pairs in found)
    few, many = (found[world.encoder, pairs] for pairs in (scale.pairs[0], most))
    table.direction("no more are linked than by chance, whatever the pairs", many.low[0] <= many.chance[0])
    table.direction("the more pairs, the more are linked (ours)", many.shares[0] > few.shares[0])
    table.finish(world, "attacks_linking")


def probing(world: World, scrambled: Tensor) -> None:
    """Guess labels from what the cloud sees."""
    labels = world.confidential.labels
    embeddings, seen = world.embeddings(world.encoder), {}
    for cloud, name in ((IMAGENET, "ImageNet's cloud"), (OWN, "cloud trained on CIFAR-10")):
        vectors = world.vectors(cloud, world.encoder)
        seen[f"answers, {name}"] = vectors
        seen[f"logarithms of answers, {name}"] = vectors.clamp_min(1e-30).log()
    name = ("inside", world.scale.cloud, world.scale.cloud_size, world.encoder, world.key.fingerprint)
    seen["last features, ImageNet's cloud"] = world.kept.tensor(name, lambda: _inside(world, scrambled))
    small = nn.functional.adaptive_avg_pool2d(scrambled.float() / 255, min(PIXELS, scrambled.shape[-1]))
    seen["pixels of scrambled images"] = small.flatten(1)
    seen["embeddings, which stay inside"] = embeddings
    known = [each for each in world.scale.known_labels if each <= len(labels) - world.scale.images // 4]
    tested = min(TESTED, world.scale.images // 4)
    table = Table(
        f"Labels guessed by a linear probe (L2), percent of {tested}",
        ["from", *(f"{each} labels known" for each in known)],
    )
    shares = {}
    for name, vectors in seen.items():
        results = [
            attacks.label_probe(vectors[:count], labels[:count], vectors[-tested:], classes=CLASSES) for count in known
        ]
        shares[name] = [100 * attacks.score_classes(result, labels[-tested:]).accuracy for result in results]
        table.row(name, *shares[name])
    chance = 100 * attacks.score_classes(results[0], labels[-tested:]).chance
    table.row("always the most frequent label", *(chance for _ in known))
    outside = [rows[-1] for name, rows in shares.items() if "inside" not in name]
    table.direction("what the cloud sees tells no labels (at most 5 points above chance)", max(outside) < chance + 5)
    table.finish(world, "attacks_labels")


def _inside(world: World, scrambled: Tensor) -> Tensor:
    """Return the last features of ImageNet's cloud, which whoever runs it can read."""
    network = Encoder(world.scale.cloud, world.scale.cloud_size).eval().to(world.device)
    with torch.no_grad():
        return torch.cat([network(part.to(world.device).float() / 255).cpu() for part in scrambled.split(16)])


def other(world: World, scrambled: Tensor) -> None:
    """Compare distances, find repeats, search seeds, count zeros."""
    table = Table("Further measurements", ["", "ours", "control", "paper"])
    embeddings = world.embeddings(world.encoder)
    some, count = scrambled[:DISTANCES], len(scrambled[:DISTANCES])
    kept = attacks.distance_correlation(embeddings[:count], some)
    mixed = attacks.distance_correlation(embeddings[:count].roll(1, 0), some)
    shown = f"L0, {count} images; control: of other images"
    table.row(f"distance correlation ({shown})", kept.distance_correlation, mixed.distance_correlation, None)
    table.row(f"Pearson correlation of distances ({shown})", kept.pearson, mixed.pearson, None)
    neighbours = (100 * each.neighbours for each in (kept, mixed))
    table.row(f"same nearest neighbour, percent ({shown})", *neighbours, None)
    again, others = repeats(world, scrambled)
    table.row(
        "repeated images that are seen to be the same, percent (L0; control: different ones)", again, others, None
    )
    zeros, dead = silent(world)
    table.row("zeros behind the generator's ReLUs, percent of units and images", zeros, None, PAPER_ZEROS)
    table.row("units that are zero for every image, percent", dead, None, PAPER_ZEROS)
    result, seconds = seeds(world)
    table.row(f"seeds of {world.scale.seeds} tried until the key is found (L2)", result.cost["trials"], None, None)
    table.row("milliseconds a seed", 1000 * seconds, None, None)
    table.row("days for all seeds of 32 bits, one core (calculated)", seconds * 2**32 / 86_400, None, None)
    table.direction("distances are lost (correlation under 0.5)", kept.distance_correlation < 0.5)
    table.direction("59 percent of outputs are zero (to 10 points)", abs(zeros - PAPER_ZEROS) < 10)
    table.direction("59 percent of units are zero for any input (to 10 points)", abs(dead - PAPER_ZEROS) < 10)
    table.finish(world, "attacks_other")


def repeats(world: World, scrambled: Tensor) -> tuple[float, float]:
    """Return how many repeated images differ by one grey level at most, and how many different ones do."""
    count = min(REPEATED, len(scrambled))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1))
    again = torch.cat([world.scramble(part, world.key) for part in world.embeddings(world.encoder)[order].split(7)])
    same = torch.stack([(scrambled[:count].int() - each.int()).abs().flatten(1).amax(1) <= 1 for each in again])
    own = same[torch.arange(count), order]
    return 100 * float(own.double().mean()), 100 * float(same.sum() - own.sum()) / (count * (count - 1))


def silent(world: World) -> tuple[float, float]:
    """Return the share of zeros behind ReLUs, and of units that are zero for every image, in percent."""
    active: dict[nn.Module, Tensor] = {}
    zeros = units = 0

    def look(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal zeros, units
        zeros, units = zeros + int((output == 0).sum()), units + output.numel()
        active[module] = active.get(module, False) | (output > 0).any(0)

    key = world.key
    network = DCGANGenerator(key.embedding_size, key.image_size, width=key.width, affine=False).eval()
    network.load_state_dict(dict(key.generator), strict=False)  # the number of batches seen is not kept
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(look)
    with torch.no_grad():
        for part in world.embeddings(world.encoder)[:DISTANCES].split(16):
            network(part)
    used = torch.cat([each.flatten() for each in active.values()])
    return 100 * zeros / units, 100 * float((~used).double().mean())


def seeds(world: World) -> tuple[attacks.SeedResult, float]:
    """Search the seed of a generator that was drawn from one; returns the result and the seconds a seed took."""
    embedding = world.embeddings(world.encoder)[:1]
    small = DCGANGenerator(embedding.shape[1], (16, 16), width=8, affine=False).eval()
    weights = [each for name, each in small.state_dict().items() if name.endswith("weight")]

    @torch.no_grad()
    def generate(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        for weight in weights:
            weight.normal_(0, (2 / weight[:, 0].numel()) ** 0.5, generator=generator)
        return small(embedding).mul(255).round().byte()

    secret = int(torch.randint(world.scale.seeds, ()))
    start = time.perf_counter()
    result = attacks.small_seed_search(generate(secret), generate, range(world.scale.seeds))
    return result, (time.perf_counter() - start) / (result.cost["trials"] + 1)


def main() -> None:
    """Make the tables."""
    world = read_world(__doc__)
    scrambled = world.scramble(world.embeddings(world.encoder), world.key)
    linking(world, scrambled)
    probing(world, scrambled)
    other(world, scrambled)


if __name__ == "__main__":
    main()
