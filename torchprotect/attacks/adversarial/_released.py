"""Classifiers that an attacker trains on released or on their own plain images, and the settings of a release."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torchprotect.adversarial import PGDSettings
from torchprotect.attacks._inputs import require_labelled, require_plain, require_same_size
from torchprotect.attacks.disguise.examiner import DNNExaminer
from torchprotect.attacks.protocol import Need, Seen, only_for
from torchprotect.attacks.scheme import Scheme
from torchprotect.errors import InputShapeError, InputTypeError

FOR_PERTURBED = only_for("AdversarialEncrypt")
"""Gives the reason against all other disguises."""

TRAINING = "trains networks, which takes long: ask for it by name (--attack; in Python, attacks=)"
"""Why an audit runs an attack only on request."""

NEEDS = frozenset({Need.PUBLIC, Need.LABELS, Need.RELEASED_LABELS})
"""Requirements of attacks on perturbed images: the release with its labels, and the attacker's own labelled plain
images."""


class Labelled(NamedTuple):
    """Float images in 0..1 ``[N, C, H, W]`` and their labels, int64 ``[N]``."""

    images: Tensor
    labels: Tensor


def released(seen: Seen) -> Labelled:
    """Return the images under attack with their labels as released."""
    return _labelled("released images", seen.disguised, seen.need(Need.RELEASED_LABELS), seen.classes)


def own_for_training(seen: Seen) -> Labelled:
    """Return a random half of the attacker's own plain images."""
    return _half(seen, 0)


def own_for_tests(seen: Seen) -> Labelled:
    """Return the other half."""
    return _half(seen, 1)


def victim(seen: Seen) -> nn.Module:
    """Train a classifier on the release: float images in 0..1 to scores."""
    return _trained(seen, released(seen))


def surrogate(seen: Seen) -> nn.Module:
    """Train a classifier on the attacker's own plain images."""
    return _trained(seen, own_for_training(seen))


def search_settings(scheme: Scheme) -> PGDSettings:
    """Return the settings of the search that perturbed a release.

    Raises:
        InputTypeError: the scheme does not contain them.
    """
    step = _described(scheme)
    return PGDSettings(
        eps=step["eps"], step_size=step["step_size"], steps=step["steps"], bounds=(step["bounds"][0], step["bounds"][1])
    )


def targets_per_class(scheme: Scheme) -> int:
    """Return the number of target classes of each class."""
    count: int = _described(scheme)["targets"]
    return count


def mix_mode_of(scheme: Scheme) -> str:
    """Return how versions for several targets were combined into one image."""
    mode: str = _described(scheme)["way"]
    return mode


def in_unit_range(images: Tensor) -> Tensor:
    """Return images as float32 in 0..1."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _half(seen: Seen, which: int) -> Labelled:
    images, labels = _labelled("public images", seen.need(Need.PUBLIC), seen.need(Need.LABELS), seen.classes)
    require_same_size("public images", images, "released images", seen.disguised)
    drawn = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))  # the same halves each time
    half = drawn[which::2].to(images.device)
    if not len(half):
        raise InputShapeError(f"at least 2 public images are needed, not {len(images)}")
    return Labelled(images[half], labels[half])


def _labelled(name: str, images: Tensor, labels: Tensor, classes: int) -> Labelled:
    require_plain(name, images)
    unit = in_unit_range(images)
    require_labelled(unit, labels, classes)
    return Labelled(unit, labels)


def _described(scheme: Scheme) -> dict[str, Any]:
    step = dict(scheme.steps[-1]) if scheme.steps else {}
    if not {"eps", "step_size", "steps", "bounds", "targets", "way"} <= set(step):
        raise InputTypeError("scheme does not tell the settings of the search: make it with Scheme.of(...)")
    return step


def _trained(seen: Seen, data: Labelled) -> nn.Module:
    channels, height, width = data.images.shape[1:]
    untrained = DNNExaminer(seen.classes, (height, width), channels, device=seen.device)
    return untrained.fit(*data, epochs=seen.epochs, generator=seen.generator).classifier
