"""Attacks on scrambled images: rebuilding, linking, guessing labels, comparing distances, searching seeds."""

import time

import torch
from encoders import Encoder
from owsd_bench import AT_ONCE, CLASSES, IMAGENET, OWN, Bench
from owsd_measures import Split, split_by_share
from torch import Tensor, nn

from torchprotect import attacks
from torchprotect.models import DCGANGenerator

DISTANCES, REPEATED, PIXELS = 500, 200, 32
SEEN = {
    "answers, ImageNet's cloud": (IMAGENET, False),
    "logarithms of answers, ImageNet's cloud": (IMAGENET, True),
    "answers, cloud trained on CIFAR-10": (OWN, False),
    "logarithms of answers, cloud trained on CIFAR-10": (OWN, True),
}


def autoencoder(bench: Bench, *, fold: int, read: str, side: int, epochs: int, width: int) -> dict[str, float]:
    """Rebuild plain images by an autoencoder from nine tenths as known pairs: squared error in thousandths.

    Args:
        bench: images and their scrambled versions.
        fold: decides the split and the seed.
        read: what it reads: ``"plain"`` or ``"scrambled"`` images; ``"mean image"``: always the mean of known images.
        side: of the images that it reads, in pixels.
        epochs: of its training.
        width: of its outermost layers.
    """
    plain = bench.confidential.images
    split = split_by_share(bench.confidential.labels, 0.9, fold)
    if read == "mean image":
        mean = plain[split.train].double().mean(0)
        return {"error": squared_error(mean.expand(len(split.test), -1, -1, -1), plain[split.test])}
    rebuilt = rebuild(bench, split, fold, read, side, epochs, width)
    bench.kept.tensor(("rebuilt", fold, read, side, epochs, width), lambda: rebuilt)
    return {"error": squared_error(rebuilt, plain[split.test])}


def rebuild(bench: Bench, split: Split, fold: int, read: str, side: int, epochs: int, width: int) -> Tensor:
    """Run the autoencoder attack; return rebuilt test images."""
    plain = bench.confidential.images
    seen = resized(plain if read == "plain" else scrambled(bench, side), side)
    return attacks.autoencoder_attack(
        plain[split.train],
        seen[split.train],
        seen[split.test],
        epochs=epochs,
        width=width,
        generator=torch.Generator().manual_seed(fold),
        device=bench.device,
    ).images


def scrambled(bench: Bench, side: int) -> Tensor:
    """Return all scrambled images, brought to a size."""

    def make() -> Tensor:
        parts = bench.embeddings(bench.sizes.encoder).split(16 * AT_ONCE)
        return torch.cat([resized(bench.scramble(part, bench.key), side) for part in parts])

    return bench.kept.tensor(("scrambled", side, bench.key.fingerprint), make)


def resized(images: Tensor, side: int) -> Tensor:
    """Bring uint8 images to a size."""
    floats = nn.functional.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    return floats.round().clamp(0, 255).byte()


def squared_error(rebuilt: Tensor, truth: Tensor) -> float:
    """Return the mean squared error of pixels in 0..1, in thousandths."""
    return 1000 * float((rebuilt.double() - truth.double()).div(255).square().mean())


def linking(bench: Bench, *, fold: int, encoder: str, pairs: int, candidates: int) -> dict[str, float]:
    """Link scrambled images to plain ones by known pairs (L2): right answers in percent, first and first ten guesses.

    Pairs and candidates of each repetition are drawn anew.
    """
    order = torch.randperm(bench.sizes.images, generator=torch.Generator().manual_seed(fold))
    wanted, known = order[:candidates], order[candidates : candidates + pairs]
    seen = bench.scramble(bench.embeddings(bench.sizes.encoder)[torch.cat([known, wanted])], bench.key)
    embeddings = bench.embeddings(encoder)
    result = attacks.ridge_reidentification(embeddings[known], seen[:pairs], seen[pairs:], embeddings[wanted])
    score = attacks.score_linkage(result, torch.arange(candidates), (1, 10), candidates=candidates)
    names = ("top-1", "top-10", "top-1 by chance", "top-10 by chance")
    return dict(zip(names, (100 * share for share in (*score.shares, *score.chance)), strict=True))


def probe(bench: Bench, *, fold: int, seen: str, known: int, tested: int) -> dict[str, float]:
    """Guess labels from what the cloud sees by a linear probe (L2): right answers in percent, and chance."""
    labels = bench.confidential.labels
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(fold))
    some, others = order[:known], order[known : known + tested]
    vectors = _seen(bench, seen)
    result = attacks.label_probe(vectors[some], labels[some], vectors[others], classes=CLASSES)
    score = attacks.score_classes(result, labels[others])
    return {"right": 100 * score.accuracy, "chance": 100 * score.chance}


def _seen(bench: Bench, seen: str) -> Tensor:
    if seen in SEEN:
        cloud, logarithms = SEEN[seen]
        vectors = bench.vectors(cloud, bench.sizes.encoder)
        return vectors.clamp_min(1e-30).log() if logarithms else vectors
    if seen == "last features, ImageNet's cloud":
        return bench.kept.tensor(("inside", bench.key.fingerprint), lambda: _inside(bench))
    if seen == "pixels of scrambled images":
        return scrambled(bench, min(PIXELS, bench.sizes.key_size)).flatten(1).float() / 255
    return bench.embeddings(bench.sizes.encoder)


@torch.no_grad()
def _inside(bench: Bench) -> Tensor:
    """Return the last features of ImageNet's cloud, which whoever runs it can read."""
    network = Encoder(bench.sizes.cloud, bench.sizes.cloud_size).eval().to(bench.device)
    parts = bench.embeddings(bench.sizes.encoder).split(AT_ONCE)
    return torch.cat([network(bench.scramble(each, bench.key).to(bench.device).float() / 255).cpu() for each in parts])


def distances(bench: Bench, *, fold: int) -> dict[str, float]:
    """Compare distances of scrambled images with those of embeddings (L0), beside those of other images."""
    embeddings = bench.embeddings(bench.sizes.encoder)
    order = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(fold))[:DISTANCES]
    some, seen = embeddings[order], bench.scramble(embeddings[order], bench.key)
    found = {}
    for name, given in (("", some), (", control", some.roll(1, 0))):
        score = attacks.distance_correlation(given, seen)
        found[f"distance correlation{name}"] = score.distance_correlation
        found[f"Pearson{name}"] = score.pearson
        found[f"neighbours{name}"] = 100 * score.neighbours
    return found


def repeats(bench: Bench, *, fold: int) -> dict[str, float]:
    """Scramble images twice: how many repeats differ by one grey level at most, and how many other images, percent."""
    embeddings = bench.embeddings(bench.sizes.encoder)[:REPEATED]
    count = len(embeddings)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(fold))
    first = bench.scramble(embeddings, bench.key)
    again = torch.cat([bench.scramble(part, bench.key) for part in embeddings[order].split(7)])
    same = torch.stack([(first.int() - each.int()).abs().flatten(1).amax(1) <= 1 for each in again])
    own = same[torch.arange(count), order]
    others = 100 * float(same.sum() - own.sum()) / (count * (count - 1))
    return {"repeated": 100 * float(own.double().mean()), "different": others}


def silent(bench: Bench, *, fold: int) -> dict[str, float]:
    """Return the share of zeros behind the generator's ReLUs, and of units that are zero for every image, percent."""
    active: dict[nn.Module, Tensor] = {}
    zeros = units = 0

    def look(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal zeros, units
        zeros, units = zeros + int((output == 0).sum()), units + output.numel()
        active[module] = active.get(module, False) | (output > 0).any(0)

    key = bench.make_key(bench.sizes.key_size, number=fold)
    network = DCGANGenerator(key.embedding_size, key.image_size, width=key.width, affine=False).eval()
    network.load_state_dict(dict(key.generator), strict=False)  # the number of batches seen is not kept
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(look)
    with torch.no_grad():
        for part in bench.embeddings(bench.sizes.encoder)[:DISTANCES].split(AT_ONCE):
            network(part)
    used = torch.cat([each.flatten() for each in active.values()])
    return {"zeros": 100 * zeros / units, "dead": 100 * float((~used).double().mean())}


def seeds(bench: Bench, *, fold: int, count: int) -> dict[str, float]:
    """Search the seed of a generator that was drawn from one: trials, and milliseconds that a seed took."""
    embedding = bench.embeddings(bench.sizes.encoder)[:1]
    small = DCGANGenerator(embedding.shape[1], (16, 16), width=8, affine=False).eval()
    weights = [each for name, each in small.state_dict().items() if name.endswith("weight")]

    @torch.no_grad()
    def generate(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        for weight in weights:
            weight.normal_(0, (2 / weight[:, 0].numel()) ** 0.5, generator=generator)
        return small(embedding).mul(255).round().byte()

    secret = int(torch.randint(count, (), generator=torch.Generator().manual_seed(fold)))
    start = time.perf_counter()
    result = attacks.small_seed_search(generate(secret), generate, range(count))
    trials = result.cost["trials"]
    return {"trials": float(trials), "milliseconds": 1000 * (time.perf_counter() - start) / (trials + 1)}
