"""Train a linear classifier on the features of a pretrained network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import require_labelled, require_same_size
from torchprotect.attacks.adversarial._released import NEEDS, own_for_tests, released
from torchprotect.attacks.adversarial.train_and_watch import TrainingCurve, learned, train_and_watch, training_attack
from torchprotect.attacks.protocol import Need, Seen
from torchprotect.attacks.results import NetworkResult
from torchprotect.attacks.seeding import seeded
from torchprotect.errors import InputTypeError, ModelError
from torchprotect.training import DEFAULT_RECIPE, Recipe, device_of, eval_mode

_LEAST_DEVIATION = 1e-6  # constant features are divided by this, and stay 0


def pretrained_probe(
    images: Tensor,
    labels: Tensor,
    test: tuple[Tensor, Tensor],
    *,
    encoder: Callable[[Tensor], Tensor],
    classes: int,
    epochs: int = 10,
    batch_size: int = 64,
    recipe: Recipe = DEFAULT_RECIPE,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingCurve:
    """Train a linear classifier on features of released images: an attacker with a pretrained network (level L1).

    The network was trained on other images, so it has not learned the perturbation, and it stays frozen. Features are
    standardised with the means and standard deviations of the released images' features. The test images determine the
    best epoch, as in :func:`train_and_watch`.

    Cost: ``epochs`` and ``images`` (training steps of one feature vector), ``passes`` (images through the encoder: each
    released and each test image once).

    Args:
        images: released images, floating point in 0..1 ``[N, C, H, W]``.
        labels: int64 ``[N]``, their released labels.
        test: clean images and labels to measure accuracy on; the training does not see them.
        encoder: takes float images in 0..1 and returns features ``[N, E]``; resizing and normalisation happen inside
            it. A module is run in eval mode, without gradients, on its own device.
        classes: number of classes.
        epochs: passes over the features.
        batch_size: images in a step, and images per forward pass of the encoder.
        recipe: optimizer, learning rate and loss; AdamW with a cosine schedule by default.
        generator: shuffles the features.
        progress: called with epochs done and the total.

    Raises:
        InputTypeError: the encoder cannot be called.
        InputRangeError: a setting is invalid.
        InputShapeError: images and labels, or released and test images, do not fit together.
        LabelError: a label is not a class.
        ModelError: the encoder does not take the images, or returns something other than finite features ``[N, E]``.

    References:
        Linear probes of frozen features: Alain and Bengio, Understanding intermediate layers using linear classifier
        probes (arXiv 1610.01644).
    """
    require_int("batch_size", batch_size, at_least=1)
    if not callable(encoder):
        raise InputTypeError(f"encoder must be a function of images, got {type(encoder).__name__}")
    for each in ((images, labels), test):
        require_labelled(*each, classes)
    require_same_size("released images", images, "test images", test[0])
    features, clean = (_features(encoder, each, batch_size) for each in (images, test[0]))
    mean, deviation = features.mean(0), features.std(0, correction=0).clamp(min=_LEAST_DEVIATION)
    probe = nn.Sequential(nn.Flatten(), nn.Linear(features.shape[1], classes)).to(features.device)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.zero_()  # a convex loss needs no random initialisation
    curve = train_and_watch(
        probe,
        (_as_pictures((features - mean) / deviation), labels),
        (_as_pictures((clean - mean) / deviation), test[1]),
        epochs=epochs,
        batch_size=batch_size,
        recipe=recipe,
        generator=generator,
        progress=progress,
    )
    cost = {"epochs": epochs, "images": curve.cost["images"], "passes": len(images) + len(test[0])}
    return TrainingCurve(curve.level, cost, curve.accuracies, curve.peak, curve.peak_epoch, curve.last)


@torch.no_grad()
def _features(encoder: Callable[[Tensor], Tensor], images: Tensor, batch_size: int) -> Tensor:
    """Return float32 ``[N, E]`` on the images' device."""
    if not isinstance(encoder, nn.Module):
        return torch.cat([_of_batch(encoder, part) for part in images.float().split(batch_size)]).to(images.device)
    device = device_of(encoder, images.device)
    with eval_mode(encoder):
        made = [_of_batch(encoder, part.to(device)) for part in images.float().split(batch_size)]
    return torch.cat(made).to(images.device)


def _of_batch(encoder: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    try:
        features = encoder(images.clone())
    except RuntimeError as error:
        raise ModelError(f"the pretrained network does not take images of {list(images.shape)}: {error}") from error
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(images):
        received = list(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise ModelError(f"the pretrained network must return features [{len(images)}, E], not {received}")
    features = features.float()
    if not bool(features.isfinite().all()):
        raise ModelError("the features of the pretrained network are NaN or infinite for some images")
    return features


def _as_pictures(features: Tensor) -> Tensor:
    return features[:, :, None, None]


def _run(seen: Seen) -> NetworkResult:
    test, device = own_for_tests(seen), torch.device(seen.device)
    with seeded(device, seen.generator):
        curve = pretrained_probe(
            *released(seen),
            (test.images, test.labels),
            encoder=seen.need(Need.PRETRAINED),
            classes=seen.classes,
            epochs=seen.epochs,
            generator=seen.generator,
        )
    return learned(curve.level, curve.cost, curve.peak, curve.last, test.labels)


PRETRAINED_PROBE = training_attack(
    "pretrained_probe",
    "Linear probe of pretrained features",
    "trains a linear classifier on the features that a pretrained network finds in the released images",
    _run,
    needs=NEEDS | {Need.PRETRAINED},
)
