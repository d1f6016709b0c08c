"""Learn a purifier of released images from known pairs."""

from collections.abc import Callable

import torch
from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import require_plain, require_same_count, require_same_size
from torchprotect.attacks.adversarial._released import NEEDS, in_unit_range, released
from torchprotect.attacks.adversarial.train_and_watch import train_on, training_attack
from torchprotect.attacks.corrector import Corrector
from torchprotect.attacks.protocol import Need, Seen
from torchprotect.attacks.results import Level, NetworkResult, Reconstruction
from torchprotect.errors import InputRangeError

FEWEST_PAIRS = 10
"""A tenth of them is held out, at least one pair."""


def purify_by_pairs(
    plain: Tensor,
    disguised: Tensor,
    images: Tensor,
    *,
    epochs: int = 20,
    batch_size: int = 20,
    learning_rate: float = 3e-3,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Reconstruction:
    """Learn from known pairs to remove the perturbation from released images: an attacker with known pairs (level L2).

    A small U-Net learns the difference between a released image and the plain one. A tenth of the pairs is held out, to
    fit by least squares how much of the correction is added. Then train on the purified images with the released
    labels.

    Cost: ``pairs``, ``images`` (training steps of one image), ``passes`` (images purified).

    Args:
        plain: known images, uint8 or floating point in 0..1, ``[P, C, H, W]``; at least 10.
        disguised: the same images as released, in the same order.
        images: released images to be purified, ``[N, C, H, W]``.
        epochs: passes over the pairs; few pairs need more of them.
        batch_size: pairs in a step.
        learning_rate: peak learning rate.
        generator: draws the initial weights and the order of training.
        progress: called with epochs done and the total.

    Returns:
        Purified images, float32 in 0..1.

    Raises:
        InputRangeError: there are fewer than 10 pairs, or a setting is invalid.
        InputShapeError: pairs, or pairs and images, do not fit together.
        InputTypeError: images are neither uint8 nor floating point.

    References:
        After the idea of BridgePure (arXiv 2412.21061), which trains a diffusion bridge on such pairs; this is a
        network of one step, small enough for a CPU.
    """
    for name, each in (("plain images", plain), ("released images of pairs", disguised), ("released images", images)):
        require_plain(name, each)
        require_same_size("plain images", plain, name, each)
    require_same_count("plain images", plain, "released ones", disguised)
    require_int("epochs", epochs, at_least=1)
    require_int("batch_size", batch_size, at_least=1)
    if len(plain) < FEWEST_PAIRS:
        raise InputRangeError(f"at least {FEWEST_PAIRS} pairs are needed to learn a purifier, not {len(plain)}")
    known, seen, wanted = (in_unit_range(each.detach()) for each in (plain, disguised, images))
    purifier = Corrector(seen, known, generator)
    steps = purifier.train(epochs, batch_size, learning_rate, generator, progress)
    cost = {"pairs": len(plain), "images": steps, "passes": len(images)}
    return Reconstruction(Level.KNOWN_PAIRS, cost, purifier(wanted).clamp(0, 1))


def _run(seen: Seen) -> NetworkResult:
    plain, disguised, _ = seen.need(Need.PAIRS)
    purified = purify_by_pairs(plain, disguised, released(seen).images, epochs=seen.epochs, generator=seen.generator)
    found = train_on(seen, purified.images)
    cost = {**found.cost, "pairs": len(plain), "purifier_images": purified.cost["images"]}
    return NetworkResult(Level.KNOWN_PAIRS, cost, found.accuracy, found.last, found.chance, found.count)


PURIFIER = training_attack(
    "purify_by_pairs",
    "Training after a learned purifier",
    "learns from known pairs to remove the perturbation from the released images, then trains",
    _run,
    level=Level.KNOWN_PAIRS,
    needs=NEEDS | {Need.PAIRS},
    least_pairs=FEWEST_PAIRS,
)
