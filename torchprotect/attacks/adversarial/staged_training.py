"""Train in stages, freezing shallow layers first."""

import contextlib
import itertools
from collections.abc import Callable, Iterator

import torch
from torch import nn

from torchprotect._inputs import require_int
from torchprotect.attacks.adversarial._released import own_for_tests, released
from torchprotect.attacks.adversarial.train_and_watch import (
    TrainingCurve,
    learned,
    peak_and_last,
    train_and_watch,
    training_attack,
)
from torchprotect.attacks.protocol import Seen
from torchprotect.attacks.results import Level, NetworkResult
from torchprotect.attacks.seeding import seeded
from torchprotect.errors import InputRangeError
from torchprotect.models import SmallAlexNet
from torchprotect.training import DEFAULT_RECIPE, Batches, Recipe

_STAGES = 4


def staged_training(
    model: nn.Module,
    data: Batches,
    test: Batches,
    *,
    epochs: int,
    stages: int = _STAGES,
    batch_size: int = 64,
    recipe: Recipe = DEFAULT_RECIPE,
    precision: torch.dtype | None = None,
    channels_last: bool = False,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingCurve:
    """Train on released data in stages that freeze more and more layers: an attacker with public data (level L1).

    Networks are said to learn images and perturbation alike at first, until their shallow layers adapt to the
    perturbation. Therefore the layers with weights, in order of registration, are divided into as many groups as there
    are stages. The first stage trains all of them. Each later stage freezes one more group, shallowest first, and
    restarts the learning-rate schedule.

    Cost: ``epochs``, ``images`` (training steps of one image).

    Args:
        model: as for :func:`train_and_watch`; with at least as many layers with weights as there are stages.
        data: released images in 0..1 and labels, as for :func:`train_and_watch`.
        test: clean images and labels, as for :func:`train_and_watch`; they determine the best epoch.
        epochs: total passes over the data, at least one per stage; the first stages take the remainder.
        stages: number of stages.
        batch_size: for tensors.
        recipe: recipe of each stage, as for :func:`train_and_watch`.
        precision: as for :func:`torchprotect.training.fit`.
        channels_last: as for :func:`torchprotect.training.fit`.
        generator: shuffles tensors.
        progress: called with epochs done and the total.

    Raises:
        InputRangeError: a setting is invalid: fewer epochs, or fewer layers, than stages.
        InputTypeError, InputShapeError, LabelError, ModelError: as for :func:`train_and_watch`.

    References:
        After the idea of Dang et al., Unlearnable Examples Give a False Sense of Data Privacy (arXiv 2306.02064), which
        slows shallow layers down when the authors' measure of clusters of activations says so. Here the plan is fixed.
    """
    require_int("stages", stages, at_least=1)
    require_int("epochs", epochs, at_least=stages)
    groups = _groups(model, stages)
    accuracies, images, done = [], 0, 0

    def tell(in_stage: int, _: int) -> None:
        if progress is not None:
            progress(done + in_stage, epochs)

    for stage in range(stages):
        length = epochs // stages + (stage < epochs % stages)
        with _frozen(groups[:stage]):
            curve = train_and_watch(
                model,
                data,
                test,
                epochs=length,
                batch_size=batch_size,
                recipe=recipe,
                precision=precision,
                channels_last=channels_last,
                generator=generator,
                progress=tell,
            )
        accuracies += curve.accuracies.tolist()
        images, done = images + curve.cost["images"], done + length
    return TrainingCurve(
        Level.PUBLIC_DATA,
        {"epochs": epochs, "images": images},
        torch.tensor(accuracies, dtype=torch.float64),
        *peak_and_last(accuracies),
    )


def _groups(model: nn.Module, stages: int) -> list[list[nn.Parameter]]:
    """Divide the layers with weights, and return the parameters of each group."""
    layers = [own for module in model.modules() if (own := list(module.parameters(recurse=False)))]
    if len(layers) < stages:
        raise InputRangeError(f"{stages} stages need as many layers with weights, but the model has {len(layers)}")
    edges = [len(layers) * number // stages for number in range(stages + 1)]
    return [
        [parameter for layer in layers[first:end] for parameter in layer] for first, end in itertools.pairwise(edges)
    ]


@contextlib.contextmanager
def _frozen(groups: list[list[nn.Parameter]]) -> Iterator[None]:
    """Exclude parameters from the training; on exit, restore which of them need gradients."""
    trained = [parameter for group in groups for parameter in group if parameter.requires_grad]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()


def _run(seen: Seen) -> NetworkResult:
    data, test, device = released(seen), own_for_tests(seen), torch.device(seen.device)
    channels, height, width = data.images.shape[1:]
    with seeded(device, seen.generator):
        curve = staged_training(
            SmallAlexNet(channels, seen.classes, (height, width)).to(device),
            (data.images, data.labels),
            (test.images, test.labels),
            epochs=max(seen.epochs, _STAGES),
            generator=seen.generator,
        )
    return learned(curve.level, curve.cost, curve.peak, curve.last, test.labels)


STAGED_TRAINING = training_attack(
    "staged_training",
    "Training in stages",
    "trains on the released images in stages, each of which freezes more of the shallow layers",
    _run,
)
