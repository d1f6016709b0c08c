"""Scrambled images: compared, linked, guessed and rebuilt; by pixels, and by embeddings where the encoder is given."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torchprotect import attacks
from torchprotect.attacks import AttackResult, Level
from torchprotect.attacks._interval import wilson
from torchprotect.attacks.measures import Measure
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, NotApplicable, Reason, first, points, rebuild
from torchprotect.audit._encoder import SCRAMBLING
from torchprotect.audit._measures import of_guesses, of_linkage
from torchprotect.audit._small import small
from torchprotect.audit.report.finding import Finding, best_number

_SIDE = 16  # plain images are compared at this size
_WITHOUT = "without the encoder, which an attacker may well have: with it, embeddings take the place of pixels"
_WITH = "an attacker who can load the same encoder, such as a public one"
_NO_SCALE = "a measure rather than an attack: it needs plain images, and has no scale that counts"

Features = Callable[[Bench, Tensor], Tensor]
"""What plain images are compared by: floating point ``[N, D]``, of those of disguised images."""


def _needs_scrambled(bench: Bench) -> Reason:
    scheme = bench.evidence.scheme
    if scheme.name == SCRAMBLING:
        return None
    return NotApplicable(f"made for {SCRAMBLING}; these images went through {scheme.name}")


def _needs_truth(bench: Bench) -> Reason:
    """Ask for the plain image of each; plain and scrambled images differ in size."""
    if bench.evidence.plain is None:
        return "no plain images were given (--plain)"
    if bench.evidence.pairing is None:
        return "no key was given (--key): which plain image belongs to which disguised one is not known"
    return None


def _needs_pairs(bench: Bench) -> Reason:
    return None if len(bench.split.known) >= 3 else "no three images are left for known pairs"


def _needs_labels(bench: Bench) -> Reason:
    if bench.evidence.plain_labels is None or bench.evidence.classes < 2:
        return "the plain images have no labels, or one class"
    return None


def _needs_encoder(bench: Bench) -> Reason:
    if bench.encoder is not None:
        return None
    return (
        "embeddings need the encoder, which an attacker may well have: give it (--model package.module:factory and "
        "--weights file.safetensors; in Python, encoder=)"
    )


def _link(bench: Bench, *, check: str, features: Features, note: str) -> Finding:
    indices = bench.targets()
    counts = [each for each in bench.numbers_of_pairs() if each >= 3] or [len(bench.split.known)]
    known = bench.split.known[: counts[-1]]
    plain, disguised = features(bench, known), bench.disguised(known)
    candidates, target = features(bench, indices), bench.disguised(indices)
    found, curve = dict[int, AttackResult](), dict[int, tuple[Measure, ...]]()
    for count in counts:
        result = attacks.ridge_reidentification(
            plain[:count], disguised[:count], target, candidates, k=min(10, len(candidates))
        )
        found[count] = result
        curve[count] = of_linkage(result, torch.arange(len(target)), len(candidates), bench.identities(indices))
    best = best_number(curve)
    return Finding(
        check,
        result.level,
        "identity",
        curve[best],
        pairs=best,
        curve=points(curve),
        cost=found[best].cost,
        settings={"candidates": len(candidates), **_about(features, plain)},
        note=note,
    )


def _compare(bench: Bench, *, check: str, features: Features) -> Finding:
    """Compare distances; chance is what images put beside the wrong ones give, of which a few correlate too."""
    indices = bench.targets()
    plain, disguised = features(bench, indices), bench.disguised(indices)
    result = attacks.distance_correlation(plain, disguised)
    drawn = torch.randperm(len(plain), generator=bench.generator(check)).to(plain.device)
    shuffled = attacks.distance_correlation(plain[drawn], disguised)
    correlations = (
        ("distance correlation", result.distance_correlation, shuffled.distance_correlation),
        ("correlation of the distances", result.pearson, shuffled.pearson),
    )
    measures = tuple(
        Measure(name, value, math.nan, math.nan, chance, unit="correlation", about="distances")
        for name, value, chance in correlations
    )
    near, count = result.neighbours, len(plain)
    neighbours = Measure(
        "same nearest neighbour", near, *wilson(near, count), 1 / (count - 1), count=count, about="distances"
    )
    return Finding(
        check,
        result.level,
        "distances",
        (*measures, neighbours),
        cost=result.cost,
        settings={"images": count, **_about(features, plain)},
        note=_NO_SCALE,
    )


def _probe(bench: Bench) -> Finding:
    indices, count = bench.split.attacked, bench.numbers_of_pairs()[-1]
    known = bench.split.known[:count]
    labels = bench.plain_labels(bench.evidence.pairing[known])  # type: ignore[index]
    vectors, target = (small(bench.disguised(each), _SIDE) for each in (known, indices))
    result = attacks.label_probe(vectors, labels, target, classes=bench.evidence.classes)
    measures = of_guesses(bench, result, indices)
    return Finding(PROBE.name, result.level, "class", measures, pairs=count, cost=result.cost)


def _rebuild(bench: Bench) -> Finding:
    def attack(plain: Tensor, disguised: Tensor, target: Tensor, count: int) -> AttackResult:
        return attacks.autoencoder_attack(
            plain,
            disguised,
            target,
            epochs=bench.settings.inversion_epochs,
            generator=bench.generator(REBUILD.name),
            device=bench.settings.device,
        )

    return rebuild(bench, REBUILD.name, attack, [min(bench.settings.inversion_pairs, len(bench.split.known))])


def _pixels(bench: Bench, indices: Tensor) -> Tensor:
    return small(bench.truth(indices), _SIDE)


def _embeddings(bench: Bench, indices: Tensor) -> Tensor:
    return bench.embeddings(indices)


def _about(features: Features, plain: Tensor) -> dict[str, Any]:
    """Say what images were compared by; which encoder it was is for its owner to tell."""
    if features is _embeddings:
        return {"compared_by": "embeddings", "embedding_size": plain.shape[1]}
    return {"compared_by": "pixels"}


_TRUTH, _PAIRS = (_needs_scrambled, _needs_truth), (_needs_scrambled, _needs_truth, _needs_pairs)
_RIDGE, _DISTANCES = "ridge_reidentification", "distance_correlation"
_RIDGE_WITH, _DISTANCES_WITH = f"{_RIDGE} (embeddings)", f"{_DISTANCES} (embeddings)"

DISTANCES = Check(
    _DISTANCES, Level.CIPHERTEXT_ONLY, first(*_TRUTH), partial(_compare, check=_DISTANCES, features=_pixels)
)
DISTANCES_WITH_ENCODER = Check(
    _DISTANCES_WITH,
    Level.CIPHERTEXT_ONLY,
    first(*_TRUTH, _needs_encoder),
    partial(_compare, check=_DISTANCES_WITH, features=_embeddings),
)
LINK = Check(_RIDGE, Level.KNOWN_PAIRS, first(*_PAIRS), partial(_link, check=_RIDGE, features=_pixels, note=_WITHOUT))
LINK_WITH_ENCODER = Check(
    _RIDGE_WITH,
    Level.KNOWN_PAIRS,
    first(*_PAIRS, _needs_encoder),
    partial(_link, check=_RIDGE_WITH, features=_embeddings, note=_WITH),
)
PROBE = Check("label_probe", Level.KNOWN_PAIRS, first(*_PAIRS, _needs_labels), _probe)
REBUILD = Check("autoencoder_attack", Level.KNOWN_PAIRS, first(*_PAIRS), _rebuild)
