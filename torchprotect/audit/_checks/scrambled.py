"""Scrambled images: linked, guessed and rebuilt from known pairs. The attacker has pixels, not the encoder."""

import torch
from torch import Tensor, nn

from torchprotect import attacks
from torchprotect.attacks import AttackResult, Level
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, Reason, first, rebuild
from torchprotect.audit._finding import Finding, Point
from torchprotect.audit._measures import of_classes, of_linkage

_SIDE = 16  # plain images are compared at this size
_NOTE = "without the encoder, which an attacker may well have: with it, embeddings take the place of pixels"


def _needs_scrambled(bench: Bench) -> Reason:
    scheme = bench.evidence.scheme
    return None if scheme.name == "OWSDScramble" else f"made for OWSDScramble; these images went through {scheme.name}"


def _needs_pairs(bench: Bench) -> Reason:
    """Ask for known pairs; plain and scrambled images differ in size."""
    if bench.evidence.plain is None:
        return "no plain images were given (--plain)"
    if bench.evidence.pairing is None:
        return "no key was given (--key): which plain image belongs to which disguised one is not known"
    return None if len(bench.split.known) >= 3 else "no three images are left for known pairs"


def _needs_labels(bench: Bench) -> Reason:
    if bench.evidence.plain_labels is None or bench.evidence.classes < 2:
        return "the plain images have no labels, or one class"
    return None


def _link(bench: Bench) -> Finding:
    indices = bench.targets()
    candidates, target = _pixels(bench.truth(indices)), bench.disguised(indices)
    curve, counts = [], [each for each in bench.numbers_of_pairs() if each >= 3] or [len(bench.split.known)]
    for count in counts:
        plain, disguised = bench.pairs(count)
        result = attacks.ridge_reidentification(
            _pixels(plain), disguised, target, candidates, k=min(10, len(candidates))
        )
        measures = of_linkage(result, torch.arange(len(target)), len(candidates))
        curve.append(Point(count, measures[0]))
    return Finding(
        LINK.name,
        result.level,
        "identity",
        measures,
        pairs=counts[-1],
        curve=tuple(curve) if len(curve) > 1 else (),
        cost=result.cost,
        settings={"candidates": len(candidates)},
        note=_NOTE,
    )


def _probe(bench: Bench) -> Finding:
    indices, count = bench.split.attacked, bench.numbers_of_pairs()[-1]
    known = bench.split.known[:count]
    labels = bench.plain_labels(bench.evidence.pairing[known])  # type: ignore[index]
    vectors, target = (_pixels(bench.disguised(each)) for each in (known, indices))
    result = attacks.label_probe(vectors, labels, target, classes=bench.evidence.classes)
    measures = (of_classes(bench, result, indices),)
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


def _pixels(images: Tensor) -> Tensor:
    floats = images.float() / (255 if images.dtype == torch.uint8 else 1)
    return nn.functional.adaptive_avg_pool2d(floats, _SIDE).flatten(1)


LINK = Check("ridge_reidentification", Level.KNOWN_PAIRS, first(_needs_scrambled, _needs_pairs), _link)
PROBE = Check("label_probe", Level.KNOWN_PAIRS, first(_needs_scrambled, _needs_pairs, _needs_labels), _probe)
REBUILD = Check("autoencoder_attack", Level.KNOWN_PAIRS, first(_needs_scrambled, _needs_pairs), _rebuild)
