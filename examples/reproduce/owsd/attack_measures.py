"""Attacks on one fold: by known pairs, by known labels, by what scrambled images show; and zeros of the generator."""

import time

import torch
from owsd_bench import CLASSES, IMAGENET, INSIDE, OWN, SMALL, Bench, resized
from owsd_measures import Split, Task, split
from torch import Tensor, nn

from torchprotect import attacks
from torchprotect.models import DCGANGenerator

NEAR, PIXELS, THOUSANDTHS, SHOWN = 500, 32, 1000, 12
TINY = 1e-30


def link(bench: Bench, *, fold: int, encoder: str, pairs: int, candidates: int) -> dict[str, float]:
    """Link scrambled images to plain ones by known pairs; the attacker may have another encoder than the owner.

    Returns:
        Right first guesses, right ones among ten, their 95 percent interval and chance, in percent.
    """
    owner, key = bench.sizes.encoders[0], bench.key(fold)
    embeddings, mine = bench.embeddings(owner), bench.embeddings(encoder)
    known, wanted = (bench.scramble(part, key) for part in (embeddings[:pairs], embeddings[-candidates:]))
    result = attacks.ridge_reidentification(mine[:pairs], known, wanted, mine[-candidates:])
    score = attacks.score_linkage(result, torch.arange(candidates), (1, 10), candidates=candidates)
    numbers = (*score.shares, score.low[0], score.high[0], *score.chance)
    names = ("top-1", "top-10", "low", "high", "chance", "chance, top-10")
    return dict(zip(names, (100 * number for number in numbers), strict=True))


def probe(bench: Bench, *, fold: int, seen: str, known: int, tested: int) -> dict[str, float]:
    """Guess labels by a linear probe on one of :data:`PROBED`, with some labels known: right ones in percent."""
    vectors, labels = PROBED[seen](bench, fold), bench.confidential.labels
    result = attacks.label_probe(vectors[:known], labels[:known], vectors[-tested:], classes=CLASSES)
    score = attacks.score_classes(result, labels[-tested:])
    return {"right": 100 * score.accuracy, "chance": 100 * score.chance}


def _answers(bench: Bench, fold: int, cloud: str) -> Tensor:
    return bench.answers(bench.sizes.encoders[0], fold)[cloud]


def _pixels(bench: Bench, fold: int) -> Tensor:
    small = _answers(bench, fold, SMALL)
    return nn.functional.adaptive_avg_pool2d(small.float() / 255, min(PIXELS, small.shape[-1])).flatten(1)


PROBED = {
    "answers, ImageNet's cloud": lambda bench, fold: _answers(bench, fold, IMAGENET),
    "logarithms of answers, ImageNet's cloud": lambda bench, fold: (
        _answers(bench, fold, IMAGENET).clamp_min(TINY).log()
    ),
    "answers, cloud trained on CIFAR-10": lambda bench, fold: _answers(bench, fold, OWN),
    "logarithms of answers, cloud trained on CIFAR-10": lambda bench, fold: (
        _answers(bench, fold, OWN).clamp_min(TINY).log()
    ),
    "last features, ImageNet's cloud": lambda bench, fold: _answers(bench, fold, INSIDE),
    "pixels of scrambled images": _pixels,
    "embeddings, which stay inside": lambda bench, fold: bench.embeddings(bench.sizes.encoders[0]),
}


def distances(bench: Bench, *, fold: int, control: bool) -> dict[str, float]:
    """Compare distances between embeddings with those between scrambled images, or, as a control, of other images."""
    embeddings = bench.embeddings(bench.sizes.encoders[0])[:NEAR]
    seen = bench.scramble(embeddings, bench.key(fold))
    found = attacks.distance_correlation(embeddings.roll(1, 0) if control else embeddings, seen)
    return {
        "distance correlation": found.distance_correlation,
        "Pearson correlation of distances": found.pearson,
        "same nearest neighbour, percent": 100 * found.neighbours,
    }


def repeats(bench: Bench, *, fold: int, count: int) -> dict[str, float]:
    """Send images again, in other batches: how many differ by one grey level at most, and how many others do."""
    embeddings, key = bench.embeddings(bench.sizes.encoders[0])[:count], bench.key(fold)
    scrambled, order = (
        bench.scramble(embeddings, key),
        torch.randperm(count, generator=torch.Generator().manual_seed(1)),
    )
    again = torch.cat([bench.scramble(part, key) for part in embeddings[order].split(7)])
    same = torch.stack([(scrambled.int() - each.int()).abs().flatten(1).amax(1) <= 1 for each in again])
    own = same[torch.arange(count), order]
    others = 100 * float(same.sum() - own.sum()) / (count * (count - 1))
    return {"the same": 100 * float(own.double().mean()), "others": others}


def silent(bench: Bench, *, fold: int) -> dict[str, float]:
    """Return the share of zeros behind ReLUs, and of units that are zero for every image, in percent."""
    active: dict[nn.Module, Tensor] = {}
    zeros = units = 0

    def look(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        nonlocal zeros, units
        zeros, units = zeros + int((output == 0).sum()), units + output.numel()
        active[module] = active.get(module, False) | (output > 0).any(0)

    key = bench.key(fold)
    network = DCGANGenerator(key.embedding_size, key.image_size, width=key.width, affine=False).eval()
    network.load_state_dict(dict(key.generator), strict=False)  # the number of batches seen is not kept
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(look)
    with torch.no_grad():
        for part in bench.embeddings(bench.sizes.encoders[0])[:NEAR].split(16):
            network(part)
    used = torch.cat([each.flatten() for each in active.values()])
    return {"zeros": 100 * zeros / units, "never active": 100 * float((~used).double().mean())}


def search_seed(bench: Bench, *, fold: int, seeds: int) -> dict[str, float]:
    """Search the seed of a small generator that was drawn from one: how many were tried, and how long each took."""
    embedding = bench.embeddings(bench.sizes.encoders[0])[:1]
    small = DCGANGenerator(embedding.shape[1], (16, 16), width=8, affine=False).eval()
    weights = [each for name, each in small.state_dict().items() if name.endswith("weight")]

    @torch.no_grad()
    def generate(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        for weight in weights:
            weight.normal_(0, (2 / weight[:, 0].numel()) ** 0.5, generator=generator)
        return small(embedding).mul(255).round().byte()

    secret = int(torch.randint(seeds, (), generator=torch.Generator().manual_seed(fold)))
    start = time.perf_counter()
    result = attacks.small_seed_search(generate(secret), generate, range(seeds))
    tried = result.cost["trials"]
    seconds = time.perf_counter() - start
    return {"found": float(result.seed == secret), "tried": float(tried), "milliseconds a seed": 1000 * seconds / tried}


def rebuild(bench: Bench, *, fold: int, read: str, epochs: int, width: int) -> dict[str, float]:
    """Rebuild plain images by an autoencoder that reads plain or scrambled ones, nine tenths of which are known pairs.

    Args:
        bench: with the images.
        fold: repetition.
        read: ``"plain"``, ``"scrambled"``, or ``"mean image"``: the mean of the known images for all.
        epochs: of the training.
        width: of the outermost layers.

    Returns:
        The mean squared error of pixels in 0..1, in thousandths, and the number of pairs. Some rebuilt images are kept
        for the picture.
    """
    plain, parts = bench.confidential.images, pairs_of(bench, fold)
    if read == "mean image":
        rebuilt = plain[parts.train].double().mean(0).expand(len(parts.test), -1, -1, -1)
    else:
        rebuilt = _autoencoder(bench, fold, seen_by(bench, fold, read), epochs, width)
    bench.kept.tensor(rebuilt_name(fold, read, epochs, width), lambda: rebuilt[shown(parts)].round().byte())
    error = (rebuilt.double() - plain[parts.test].double()).div(255).square().mean()
    return {"error": THOUSANDTHS * float(error), "pairs": float(len(parts.train))}


def _autoencoder(bench: Bench, fold: int, seen: Tensor, epochs: int, width: int) -> Tensor:
    parts = pairs_of(bench, fold)
    return attacks.autoencoder_attack(
        bench.confidential.images[parts.train],
        seen[parts.train],
        seen[parts.test],
        epochs=epochs,
        width=width,
        generator=torch.Generator().manual_seed(fold),
        device=bench.device,
    ).images


def pairs_of(bench: Bench, fold: int) -> Split:
    """Return which pairs are known, and which images are rebuilt."""
    return split(bench.confidential.labels, Task(), fold)


def seen_by(bench: Bench, fold: int, read: str) -> Tensor:
    """Return what the autoencoder reads, uint8 ``[N, 3, pixels, pixels]``."""
    if read == "plain":
        return resized(bench.confidential.images, bench.sizes.pixels)
    return _answers(bench, fold, SMALL)


def rebuilt_name(fold: int, read: str, epochs: int, width: int) -> tuple[str | int, ...]:
    """Name the kept rebuilt images."""
    return "rebuilt", fold, read, epochs, width


def shown(parts: Split) -> Tensor:
    """Return which rebuilt images are shown; they are sorted by label."""
    return torch.linspace(0, len(parts.test) - 1, SHOWN).long()
