"""The paper's attacks on one fold: on disguised test images, with training images as known pairs."""

import math
from typing import Any

import torch
from disguise_world import World
from owner import Disguise, pad

from torchprotect import attacks

FALLBACKS = ("zeros", "most-likely", "random-patch")


def codebook(
    world: World, name: str, fold: int, disguise: Disguise, pairs: int, fallback: Any = "random-patch"
) -> tuple[float, tuple[float, float, float]]:
    """Return success rate, and hit rates over all units, over non-constant ones, and one to one, in percent."""
    torch.manual_seed(fold)  # of salt and pepper
    owner, test = world.owner(name, fold, disguise), world.test(name, fold).first(world.scale.attacked)
    known = world.pairs(name, fold, pairs)
    result = attacks.codebook_attack(
        pad(known, disguise.size),
        owner(known),
        owner(test.images),
        scheme=owner.scheme,
        fallback=fallback,
        order=owner.order,
        generator=torch.Generator().manual_seed(fold),
    )
    rates = (result.hit_rate, result.hit_rate_non_constant, result.one_to_one_rate)
    shown = tuple(0.0 if math.isnan(rate) else 100 * rate for rate in rates)
    return world.success(name, fold, result.images, test.labels), (shown[0], shown[1], shown[2])


def regression(world: World, name: str, fold: int, noise: float, pairs: int, *, as_paper: bool) -> tuple[float, float]:
    """Return success rate in percent and error in grey levels; as in the paper, or with an intercept."""
    torch.manual_seed(fold)
    owner = world.owner(name, fold, Disguise("rmt", noise=noise))
    known, test = world.pairs(name, fold, pairs), world.test(name, fold).first(world.scale.attacked)
    result = attacks.regression_attack(
        known,
        owner(known),
        owner(test.images),
        scheme=owner.scheme,
        order=owner.order,
        intercept=not as_paper,
        solve_for="matrix" if as_paper else "plain",
    )
    error = attacks.score_reconstruction(result, test.images).mean_rmse
    return world.success(name, fold, result.images, test.labels), error


def reidentification(world: World, name: str, fold: int, disguise: Disguise) -> float:
    """Return the success rate of an examiner that is shown disguised images as they are, in percent."""
    torch.manual_seed(fold)
    test = world.test(name, fold)
    return world.success(name, fold, world.owner(name, fold, disguise)(test.images).float(), test.labels)
