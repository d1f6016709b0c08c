"""Test how well an assumed perturbation plan fits a victim."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int
from torchprotect.adversarial import PGDSettings, perturb_toward
from torchprotect.adversarial.combine import NEEDS_POSITIONS
from torchprotect.attacks._inputs import (
    class_means,
    generator_on,
    require_data,
    require_direction,
    require_labelled,
)
from torchprotect.attacks.adversarial._released import (
    FOR_PERTURBED,
    NEEDS,
    TRAINING,
    mix_mode_of,
    own_for_tests,
    search_settings,
    surrogate,
    victim,
)
from torchprotect.attacks.adversarial.correspondence_reading import run_on_data
from torchprotect.attacks.measures import Measure
from torchprotect.attacks.protocol import Attack, Seen
from torchprotect.attacks.results import AttackResult, Level
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.attacks.scores.truth import Score, Truth
from torchprotect.errors import InputShapeError, InputTypeError, LabelError
from torchprotect.training import device_of, predict


@dataclass(frozen=True, eq=False, repr=False)
class HypothesisResult(AttackResult):
    """How well a victim classifies images that were perturbed by an assumed plan.

    Attributes:
        accuracy: the victim's accuracy on all perturbed images.
        class_accuracy: float64 ``[classes]``; NaN for a class with no image.
        clean_accuracy: the victim's accuracy on the unperturbed images.
        mean_distance: mean L2 distance of the perturbed images to the plain ones, in pixel units.
        max_distance: largest such distance.
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
    weights: Tensor,
    settings: PGDSettings,
    mix_mode: str = "concat",
    positions: Tensor | None = None,
    to_8bit: bool = True,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> HypothesisResult:
    """Test an assumed perturbation plan on a victim: an attacker with public data (level L1).

    All images are perturbed as the plan says, including classes whose target is the class itself. The function can test
    plans with wrong weights, or with only some of the targets: how close to the release's own plan must an attacker
    come?

    Cost: ``trials`` (one), ``passes`` (gradients of one image by the surrogate), ``queries`` (images shown to the
    victim).

    Args:
        victim: a classifier trained on the released data.
        surrogate: a classifier trained on clean images, used to compute perturbations.
        images: the attacker's own labelled images, floating point ``[N, C, H, W]`` within the settings' bounds.
        labels: int64 ``[N]``.
        targets: int64 ``[classes, K]``, the assumed targets of each class.
        weights: ``[classes, K]``, the assumed weight of each target; rows sum to 1. A target with weight 0 costs
            nothing.
        settings: settings of the perturbation.
        mix_mode: how versions are assumed to be combined, see :func:`torchprotect.adversarial.combine`.
        positions: ``[N, 2]`` uniform numbers for the mix modes that paste at a position; drawn if ``None``.
        to_8bit: round perturbed images to 256 levels of 0..1, like released ones.
        batch_size: images per batch.
        generator: draws random starts and positions.
        progress: called with images done and the total.

    Raises:
        InputShapeError: the plan is not ``[classes, K]``.
        InputRangeError: weights do not sum to 1, or settings are not targeted.
        LabelError: a label or a target is not a class.
        ModelError: a model returns something other than scores ``[N, classes]``.

    References:
        Hu et al., Adversarial Data Encryption, sections 4.2 and 4.3, Tables 5 and 9.
    """
    classes = _require_plan(targets, weights)
    require_labelled(images, labels, classes)
    require_direction(settings, targeted=True)
    require_int("batch_size", batch_size, at_least=1)
    predict(surrogate, images[:1], classes=classes, batch_size=1)
    if positions is None and mix_mode in NEEDS_POSITIONS:
        positions = torch.rand(len(images), 2, generator=generator, device=generator.device if generator else None)
    device = device_of(surrogate, images.device)
    draws, answers, distances = generator_on(device, generator), [], []
    clean = predict(victim, images, classes=classes, batch_size=batch_size) == labels
    for part in torch.arange(len(images)).split(batch_size):
        kind = labels[part.to(labels.device)].to(targets.device)
        done = perturb_toward(
            surrogate,
            images[part.to(images.device)].to(device),
            targets[kind].to(device),
            weights[kind].to(device),
            settings,
            mix_mode=mix_mode,
            positions=None if positions is None else positions[part.to(positions.device)].to(device),
            to_8bit=to_8bit,
            generator=draws,
        )
        answers.append(predict(victim, done.images, classes=classes, batch_size=batch_size).to(labels.device))
        distances.append(done.distances)
        if progress is not None:
            progress(int(part[-1]) + 1, len(images))
    right, far = torch.cat(answers) == labels, torch.cat(distances)
    wanted = int((weights.to(labels.device)[labels] > 0).sum())
    return HypothesisResult(
        Level.PUBLIC_DATA,
        {"trials": 1, "passes": settings.steps * wanted, "queries": 2 * len(images)},
        accuracy=float(right.double().mean()),
        class_accuracy=class_means(right, labels, classes).cpu(),
        clean_accuracy=float(clean.double().mean()),
        mean_distance=float(far.mean()),
        max_distance=float(far.max()),
    )


def _require_plan(targets: Tensor, weights: Tensor) -> int:
    """Check a plan and return its number of classes."""
    require_data("targets", targets)
    require_data("weights", weights)
    if targets.ndim != 2 or not targets.numel() or weights.shape != targets.shape:
        raise InputShapeError(
            f"targets and weights must both be [classes, K], got {list(targets.shape)}, {list(weights.shape)}"
        )
    if targets.dtype != torch.int64 or not weights.is_floating_point():
        raise InputTypeError(
            f"targets must be int64 and weights floating point, got {targets.dtype} and {weights.dtype}"
        )
    classes = len(targets)
    require_int("classes", classes, at_least=2)
    if int(targets.min()) < 0 or int(targets.max()) >= classes:
        raise LabelError(f"targets must lie in 0..{classes - 1}")
    return classes


def _run(seen: Seen) -> HypothesisResult:
    targets = run_on_data(seen).guesses
    return hypothesis_accuracy(
        victim(seen),
        surrogate(seen),
        *own_for_tests(seen),
        targets=targets,
        weights=torch.full(targets.shape, 1 / targets.shape[1]),
        settings=search_settings(seen.scheme),
        mix_mode=mix_mode_of(seen.scheme),
        generator=seen.generator,
    )


def _measures(result: HypothesisResult, truth: Truth) -> tuple[Measure, ...]:
    """Return both accuracies of the victim; they have no leakage scale."""
    named = {"accuracy by the guessed plan": result.accuracy, "accuracy on plain images": result.clean_accuracy}
    count = result.cost["queries"] // len(named)
    return tuple(
        Measure(name, value, *wilson(value, count), scaled=False, count=count) for name, value in named.items()
    )


HYPOTHESIS = Attack(
    name="hypothesis_accuracy",
    title="Test of a guessed plan",
    about="perturbs plain images by a guessed plan and shows them to a network trained on the release",
    finds="key",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=Score((), _measures),
    needs=NEEDS,
    reason=FOR_PERTURBED,
    long=TRAINING,
    note="Under the right plan, the network is right more often than on plain images.",
)
