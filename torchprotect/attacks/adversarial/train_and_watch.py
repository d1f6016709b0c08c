"""Training on released data, with countermeasures, watched epoch by epoch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchprotect.adversarial import PGDSettings
from torchprotect.adversarial.pgd import search
from torchprotect.attacks._inputs import generator_on, require_count, require_direction, require_labelled
from torchprotect.attacks.results import AttackResult, Level
from torchprotect.training import Batches, device_of, eval_mode, evaluate, fit, require_repeatable, scores_of


@dataclass(frozen=True, eq=False)
class TrainingCurve(AttackResult):
    """Accuracy on clean test images after each epoch.

    Attributes:
        accuracies: float64 ``[epochs]``.
        peak: the highest: what an attacker gets who knows when to stop.
        peak_epoch: the first epoch that has it, counted from 1.
        last: that of the last epoch.
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
    learning_rate: float = 2e-3,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingCurve:
    """Train on released data all the same: an attacker with public data (level L1), a few clean labelled images.

    These are needed to know the best epoch; without them (level L0) an attacker has ``last``. Plain training already is
    an attack, by stopping early; augmentation and adversarial training are others. The test images stand for those
    that the trained network would meet; the training does not see them.

    Cost: ``epochs``, ``images`` (training steps of one image), ``passes`` (gradients of one image in adversarial
    training; steps of the search each).

    Args:
        model: untrained, takes float images, returns scores ``[N, classes]``; trained in place and left in eval mode.
        data: released images in 0..1 and labels, two tensors or an iterable of batches.
        test: clean images and labels, likewise.
        epochs: passes over the data.
        augment: changes the images of each batch, on the model's device, see :func:`strong_augmentation`.
        adversarial: perturb the images of each batch, after ``augment``, so that the model as it is then mistakes them;
            the settings have ``targeted=False``.
        batch_size: for tensors.
        learning_rate: at the start.
        generator: shuffles tensors, draws random starts.
        progress: called with epochs done and in all.

    Raises:
        InputTypeError: ``data`` or ``test`` is an iterator, which gives its batches once, and there are several epochs.
        InputRangeError: a setting makes no sense, or there are no images.
        InputShapeError: images and labels do not fit.
        LabelError: a label is none of the model's classes.
        ModelError: the model returns something else than scores ``[N, classes]``.

    References:
        Early stopping: Sandoval-Segura et al., Poisons that are learned faster are more effective (arXiv 2204.08615).
        Adversarial training: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks; Qin et al.,
        APBench (arXiv 2308.03258).
    """
    require_count("epochs", epochs)
    require_count("batch_size", batch_size)
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
        accuracies.append(evaluate(model, test))
        if progress is not None:
            progress(done, total)

    fit(
        model,
        data,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
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
    """Checks the first batch, changes each batch, counts images."""

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
    """Return how many classes a model has, by its scores for one of the images."""
    with eval_mode(model):
        return scores_of(model, images[:1].to(device_of(model, images.device))).shape[1]


def peak_and_last(accuracies: list[float]) -> tuple[float, int, float]:
    """Return the highest accuracy, the first epoch that has it, counted from 1, and the last accuracy."""
    peak = max(accuracies)
    return peak, accuracies.index(peak) + 1, accuracies[-1]
