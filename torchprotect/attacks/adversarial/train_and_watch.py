"""Train on released data, with or without countermeasures, and record the accuracy after each epoch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int
from torchprotect.adversarial import PGDSettings
from torchprotect.adversarial.pgd import search
from torchprotect.attacks._inputs import generator_on, require_direction, require_labelled
from torchprotect.attacks.adversarial._released import (
    FOR_PERTURBED,
    NEEDS,
    TRAINING,
    own_for_tests,
    released,
)
from torchprotect.attacks.protocol import Attack, Need, Seen
from torchprotect.attacks.results import AttackResult, Level, NetworkResult
from torchprotect.attacks.scores import USE
from torchprotect.attacks.seeding import seeded
from torchprotect.models import SmallAlexNet
from torchprotect.training import (
    DEFAULT_RECIPE,
    Batches,
    Recipe,
    device_of,
    eval_mode,
    evaluate,
    fit,
    require_repeatable,
    scores_of,
)


@dataclass(frozen=True, eq=False, repr=False)
class TrainingCurve(AttackResult):
    """Accuracy on clean test images after each epoch.

    Attributes:
        accuracies: float64 ``[epochs]``.
        peak: highest accuracy: what an attacker gets who knows when to stop.
        peak_epoch: first epoch that reaches it, counted from 1.
        last: accuracy after the last epoch.
    """

    accuracies: Tensor
    peak: float
    peak_epoch: int
    last: float


def train_and_watch(
    model: nn.Module,
    data: Batches,
    test: Batches,
    *,
    epochs: int,
    augment: Callable[[Tensor], Tensor] | None = None,
    adversarial: PGDSettings | None = None,
    batch_size: int = 64,
    recipe: Recipe = DEFAULT_RECIPE,
    precision: torch.dtype | None = None,
    channels_last: bool = False,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingCurve:
    """Train on released data and stop at the best epoch: an attacker with public data (level L1).

    The attacker needs a few clean labelled images to know the best epoch; without them (level L0) the result is
    ``last``. Plain training with early stopping is already an attack; augmentation and adversarial training are others.
    The test images stand for images that the trained network would meet; the training does not see them.

    Cost: ``epochs``, ``images`` (training steps of one image), ``passes`` (gradients of one image in adversarial
    training; as many for each as the search has steps).

    Args:
        model: untrained; takes float images and returns scores ``[N, classes]``. It is trained in place and left in
            eval mode.
        data: released images in 0..1 and labels: two tensors, or an iterable of batches.
        test: clean images and labels, in the same form.
        epochs: passes over the data.
        augment: changes the images of each batch, on the model's device, see :func:`strong_augmentation`.
        adversarial: adversarial training: perturb the images of each batch, after ``augment``, so that the current
            model misclassifies them. The settings have ``targeted=False``.
        batch_size: for tensors.
        recipe: optimizer, learning rate and loss; AdamW with a cosine schedule by default.
        precision: as for :func:`torchprotect.training.fit`; ``adversarial`` has its own.
        channels_last: as for :func:`torchprotect.training.fit`.
        generator: shuffles tensors, draws random starts.
        progress: called with epochs done and the total.

    Raises:
        InputTypeError: ``data`` or ``test`` is an iterator, which yields its batches only once, but there are several
            epochs.
        InputRangeError: a setting is invalid, or there are no images.
        InputShapeError: images and labels do not fit together.
        LabelError: a label is not a class of the model.
        ModelError: the model returns something other than scores ``[N, classes]``.

    References:
        Early stopping: Sandoval-Segura et al., Poisons that are learned faster are more effective (arXiv 2204.08615).
        Adversarial training: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks; Qin et al.,
        APBench (arXiv 2308.03258).
    """
    require_int("epochs", epochs, at_least=1)
    require_int("batch_size", batch_size, at_least=1)
    for name, batches in (("data", data), ("test", test)):
        require_repeatable(name, batches, epochs)
    if adversarial is not None:
        require_direction(adversarial, targeted=False)
    prepare = _Prepare(model, augment, adversarial, generator)
    for pictures in (data, test):
        if isinstance(pictures, tuple) and isinstance(pictures[0], Tensor):
            require_labelled(pictures[0], pictures[1], classes_of(model, pictures[0]))
    accuracies = []

    def watch(done: int, total: int) -> None:
        accuracies.append(evaluate(model, test, precision=precision, channels_last=channels_last))
        if progress is not None:
            progress(done, total)

    fit(
        model,
        data,
        epochs=epochs,
        batch_size=batch_size,
        recipe=recipe,
        precision=precision,
        channels_last=channels_last,
        prepare=prepare,
        generator=generator,
        progress=watch,
    )
    passes = 0 if adversarial is None else adversarial.steps * prepare.images
    cost = {"epochs": epochs, "images": prepare.images, "passes": passes}
    return TrainingCurve(
        Level.PUBLIC_DATA, cost, torch.tensor(accuracies, dtype=torch.float64), *peak_and_last(accuracies)
    )


class _Prepare:
    """Check the first batch, transform each batch, count images."""

    def __init__(
        self,
        model: nn.Module,
        augment: Callable[[Tensor], Tensor] | None,
        adversarial: PGDSettings | None,
        generator: torch.Generator | None,
    ) -> None:
        self.model, self.augment, self.adversarial, self.generator = model, augment, adversarial, generator
        self.images = 0

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        if not self.images:
            require_labelled(images, labels, classes_of(self.model, images))
        self.images += len(images)
        if self.augment is not None:
            images = self.augment(images)
        if self.adversarial is not None:
            draws = generator_on(images.device, self.generator)
            images = search(self.model, images, labels, self.adversarial, draws).images
        return images


@torch.no_grad()
def classes_of(model: nn.Module, images: Tensor) -> int:
    """Return the number of classes of a model, from its scores for one image."""
    with eval_mode(model):
        return scores_of(model, images[:1].to(device_of(model, images.device))).shape[1]


def peak_and_last(accuracies: list[float]) -> tuple[float, int, float]:
    """Return the highest accuracy, the first epoch that reaches it (counted from 1), and the last accuracy."""
    peak = max(accuracies)
    return peak, accuracies.index(peak) + 1, accuracies[-1]


def train_on(seen: Seen, images: Tensor, augment: Callable[[Tensor], Tensor] | None = None) -> NetworkResult:
    """Train a small network on released images, directly or after a countermeasure, and record its accuracy.

    Args:
        seen: what the attacker sees; their own plain images determine the best epoch.
        images: float ``[N, C, H, W]``, one for each of the released labels.
        augment: as for :func:`train_and_watch`.
    """
    channels, height, width = images.shape[1:]
    test, device = own_for_tests(seen), torch.device(seen.device)
    with seeded(device, seen.generator):
        curve = train_and_watch(
            SmallAlexNet(channels, seen.classes, (height, width)).to(device),
            (images, released(seen).labels),
            (test.images, test.labels),
            epochs=seen.epochs,
            augment=augment,
            generator=seen.generator,
        )
    return learned(curve.level, curve.cost, curve.peak, curve.last, test.labels)


def learned(level: Level, cost: dict[str, int], peak: float, last: float, labels: Tensor) -> NetworkResult:
    """Return the result of a training, measured on plain images with these labels."""
    return NetworkResult(level, cost, peak, last, float(labels.bincount().max()) / len(labels), len(labels))


def training_attack(
    name: str,
    title: str,
    about: str,
    run: Callable[[Seen], NetworkResult],
    *,
    level: Level = Level.PUBLIC_DATA,
    needs: frozenset[Need] = NEEDS,
    least_pairs: int = 1,
) -> Attack:
    """Make an attack on perturbed images whose result is a trained network."""
    return Attack(
        name=name,
        title=title,
        about=about,
        finds="use",
        level=level,
        run=run,
        score=USE,
        needs=needs,
        reason=FOR_PERTURBED,
        least_pairs=least_pairs,
        trains=True,
        long=TRAINING,
    )


def _run(seen: Seen) -> NetworkResult:
    return train_on(seen, released(seen).images)


TRAIN_AND_WATCH = training_attack(
    "train_and_watch",
    "Training on the release",
    "trains on the released images, and stops at the best epoch",
    _run,
)
