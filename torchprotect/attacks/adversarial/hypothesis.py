"""How well a supposed plan of perturbation fits a victim."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_tensor
from torchprotect.adversarial import PGDSettings, perturb_toward
from torchprotect.adversarial.combine import NEEDS_POSITIONS
from torchprotect.attacks._inputs import (
    class_means,
    generator_on,
    require_classes,
    require_count,
    require_direction,
    require_labelled,
)
from torchprotect.attacks.results import AttackResult, Level
from torchprotect.errors import InputShapeError, InputTypeError, LabelError
from torchprotect.training import device_of, predict


@dataclass(frozen=True, eq=False)
class HypothesisResult(AttackResult):
    """How a victim takes images perturbed by a supposed plan.

    Attributes:
        accuracy: of the victim on all perturbed images.
        class_accuracy: float64 ``[classes]``; NaN for a class with no image.
        clean_accuracy: of the victim on the images as they are.
        mean_distance: of the perturbed images to the plain ones, L2 in pixel units.
        max_distance: the largest.
    """

    accuracy: float
    class_accuracy: Tensor
    clean_accuracy: float
    mean_distance: float
    max_distance: float


def hypothesis_accuracy(
    victim: nn.Module,
    surrogate: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    targets: Tensor,
    shares: Tensor,
    settings: PGDSettings,
    way: str = "concat",
    places: Tensor | None = None,
    to_8bit: bool = True,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> HypothesisResult:
    """Test a supposed plan of perturbation on a victim: an attacker with public data and the algorithm (level L1).

    All images are perturbed as the plan says, also a class that the plan leads to itself. This probes plans with wrong
    shares, or with some of the targets only: how near to the release's own plan must an attacker come?

    Cost: ``trials`` (one), ``passes`` (gradients of one image by the surrogate), ``queries`` (images shown to the
    victim).

    Args:
        victim: a classifier trained on the released data.
        surrogate: a classifier trained on clean images, which leads images to targets.
        images: the attacker's own labelled images, floating point ``[N, C, H, W]`` within the settings' bounds.
        labels: int64 ``[N]``.
        targets: int64 ``[classes, K]``, the supposed targets of each class.
        shares: ``[classes, K]``, the supposed part of each; rows sum to 1, a target with share 0 costs nothing.
        settings: of the search.
        way: how versions are supposed to be combined, see :func:`torchprotect.adversarial.combine`.
        places: ``[N, 2]`` uniform numbers for the ways that paste somewhere; drawn if ``None``.
        to_8bit: round perturbed images to 256 levels of 0..1, as the released ones are.
        batch_size: images at once.
        generator: draws random starts and places.
        progress: called with images done and in all.

    Raises:
        InputShapeError: the plan is no ``[classes, K]``.
        InputRangeError: shares that do not sum to 1, or settings that are not targeted.
        LabelError: a label or a target is no class.
        ModelError: a model returns something else than scores ``[N, classes]``.

    References:
        Hu et al., Adversarial Data Encryption, sections 4.2 and 4.3, Tables 5 and 9.
    """
    classes = _require_plan(targets, shares)
    require_labelled(images, labels, classes)
    require_direction(settings, targeted=True)
    require_count("batch_size", batch_size)
    predict(surrogate, images[:1], classes=classes, batch_size=1)
    if places is None and way in NEEDS_POSITIONS:
        places = torch.rand(len(images), 2, generator=generator, device=generator.device if generator else None)
    device = device_of(surrogate, images.device)
    draws, answers, distances = generator_on(device, generator), [], []
    clean = predict(victim, images, classes=classes, batch_size=batch_size) == labels
    for part in torch.arange(len(images)).split(batch_size):
        kind = labels[part.to(labels.device)].to(targets.device)
        done = perturb_toward(
            surrogate,
            images[part.to(images.device)].to(device),
            targets[kind].to(device),
            shares[kind].to(device),
            settings,
            mix_mode=way,
            positions=None if places is None else places[part.to(places.device)].to(device),
            to_8bit=to_8bit,
            generator=draws,
        )
        answers.append(predict(victim, done.images, classes=classes, batch_size=batch_size).to(labels.device))
        distances.append(done.distances)
        if progress is not None:
            progress(int(part[-1]) + 1, len(images))
    right, far = torch.cat(answers) == labels, torch.cat(distances)
    wanted = int((shares.to(labels.device)[labels] > 0).sum())
    return HypothesisResult(
        Level.PUBLIC_DATA,
        {"trials": 1, "passes": settings.steps * wanted, "queries": 2 * len(images)},
        accuracy=float(right.double().mean()),
        class_accuracy=class_means(right, labels, classes).cpu(),
        clean_accuracy=float(clean.double().mean()),
        mean_distance=float(far.mean()),
        max_distance=float(far.max()),
    )


def _require_plan(targets: Tensor, shares: Tensor) -> int:
    """Check a plan and return its number of classes."""
    require_tensor("targets", targets)
    require_tensor("shares", shares)
    if targets.ndim != 2 or not targets.numel() or shares.shape != targets.shape:
        raise InputShapeError(
            f"a plan is targets [classes, K] and shares [classes, K], not {list(targets.shape)}, {list(shares.shape)}"
        )
    if targets.dtype != torch.int64 or not shares.is_floating_point():
        raise InputTypeError(f"targets are int64 and shares floating point, not {targets.dtype} and {shares.dtype}")
    classes = len(targets)
    require_classes(classes)
    if int(targets.min()) < 0 or int(targets.max()) >= classes:
        raise LabelError(f"targets must lie in 0..{classes - 1}")
    return classes
