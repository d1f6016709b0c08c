"""Recover the secret map from classes to targets by trying candidates."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int
from torchprotect.adversarial import PGDSettings, combine, round_to_8bit
from torchprotect.adversarial.pgd import search
from torchprotect.attacks._inputs import (
    generator_on,
    require_direction,
    require_every_class,
    require_labelled,
)
from torchprotect.attacks.adversarial._released import (
    FOR_PERTURBED,
    NEEDS,
    TRAINING,
    own_for_tests,
    search_settings,
    surrogate,
    targets_per_class,
    victim,
)
from torchprotect.attacks.protocol import Attack, Seen
from torchprotect.attacks.results import CorrespondenceResult, Level
from torchprotect.attacks.scores import CORRESPONDENCE
from torchprotect.errors import InputRangeError
from torchprotect.training import device_of, predict


@dataclass(frozen=True, eq=False, repr=False)
class EnumerationResult(CorrespondenceResult):
    """Result of :func:`recover_correspondence`. Its scores are the victim's accuracies over all the images.

    Attributes:
        class_scores: ``[classes, candidates]``, the victim's accuracy on the images of the probed class alone.
        clean_accuracy: the victim's accuracy when no image is perturbed.
    """

    class_scores: Tensor
    clean_accuracy: float


def recover_correspondence(
    victim: nn.Module,
    surrogate: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    classes: int,
    settings: PGDSettings,
    targets: int = 1,
    weights: Sequence[float] = (0.5, 0.5),
    to_8bit: bool = True,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EnumerationResult:
    """Recover a correspondence by trying every target: an attacker with public data (level L1).

    For one class at a time, its images are perturbed toward each candidate target while all other images stay clean.
    The guess is the candidate with which the victim classifies most images correctly. Any map can come out, not only a
    permutation. The class itself is a candidate too: with one target, it stands for unperturbed images; with two, for
    images perturbed toward their own class.

    Cost: ``trials`` (classes x candidates: m x m or m x m^2), ``passes`` (gradients of one image by the surrogate: at
    most m for each image and step, also for pairs, which are composed of single targets), ``queries`` (images shown to
    the victim). Memory grows with the batch, not with the images.

    Args:
        victim: a classifier trained on the released data.
        surrogate: a classifier trained on clean images, used to compute perturbations; normalisation belongs inside.
        images: the attacker's own labelled images, floating point ``[N, C, H, W]`` within the settings' bounds.
        labels: int64 ``[N]``, at least one image of each class.
        classes: number of classes.
        settings: settings of the perturbation; an export's manifest states those of the release.
        targets: assumed number of targets of a class, 1 or 2; two are set side by side.
        weights: for two targets, the fraction of the width that each is assumed to have.
        to_8bit: round perturbed images to 256 levels of 0..1, like released ones.
        batch_size: images per batch.
        generator: draws random starts.
        progress: called with trials done and the total.

    Raises:
        InputRangeError: a class has no image, settings are not targeted, or the number of targets is not 1 or 2.
        LabelError: a label is not a class.
        ModelError: a model returns something other than scores ``[N, classes]``.

    References:
        Hu et al., Adversarial Data Encryption, sections 3.4 and 4.3, Tables 3 and 8.
    """
    require_int("classes", classes, at_least=2)
    require_labelled(images, labels, classes)
    require_every_class(labels, classes)
    require_direction(settings, targeted=True)
    require_int("batch_size", batch_size, at_least=1)
    if targets not in (1, 2):
        raise InputRangeError(
            f"targets must be 1 or 2 to be enumerated, got {targets!r}: the trials grow as classes ** targets"
        )
    predict(surrogate, images[:1], classes=classes, batch_size=1)
    probe = _Probe(
        victim, surrogate, classes, settings, targets, torch.tensor([weights]), to_8bit, batch_size, generator
    )
    clean = predict(victim, images, classes=classes, batch_size=batch_size) == labels
    right = probe.count_right(images, labels, progress).double()
    total = labels.bincount(minlength=classes).cpu().double()
    clean_right = labels[clean].bincount(minlength=classes).cpu().double()
    scores = (clean_right.sum() - clean_right[:, None] + right) / total.sum()
    order = rank(scores)
    best = order[:, :1]
    cost = {
        "trials": classes * probe.candidates,
        "passes": settings.steps * len(images) * (classes - 1 if targets == 1 else classes),
        "queries": len(images) * (1 + probe.candidates),
    }
    return EnumerationResult(
        Level.PUBLIC_DATA,
        cost,
        guesses=best if targets == 1 else torch.cat([best // classes, best % classes], 1),
        scores=scores,
        ranking=order,
        margins=margin(scores, order),
        class_scores=right / total[:, None],
        clean_accuracy=float(clean.double().mean()),
    )


@dataclass(frozen=True, eq=False)
class _Probe:
    """Everything that is the same for all classes."""

    victim: nn.Module
    surrogate: nn.Module
    classes: int
    settings: PGDSettings
    targets: int
    weights: Tensor
    to_8bit: bool
    batch_size: int
    generator: torch.Generator | None

    @property
    def candidates(self) -> int:
        return self.classes**self.targets

    def count_right(self, images: Tensor, labels: Tensor, progress: Callable[[int, int], None] | None) -> Tensor:
        """Count the images of each class that the victim classifies correctly: int64 ``[classes, candidates]``."""
        counts = torch.zeros(self.classes, self.candidates, dtype=torch.int64)
        for label in range(self.classes):
            plain, done = images[labels == label], 0
            for part in plain.split(self.batch_size):
                for candidate, tried in enumerate(self._tries(part, label)):
                    answers = predict(self.victim, tried, classes=self.classes, batch_size=self.batch_size)
                    counts[label, candidate] += int((answers == label).sum())
                done += len(part)
                if progress is not None:
                    progress(label * self.candidates + self.candidates * done // len(plain), counts.numel())
        return counts

    def _tries(self, plain: Tensor, label: int) -> Iterator[Tensor]:
        return self._singles(plain, label) if self.targets == 1 else self._pairs(plain)

    def _singles(self, plain: Tensor, label: int) -> Iterator[Tensor]:
        for target in range(self.classes):
            yield plain if target == label else self._stored(self._led_to(plain, target), plain)

    def _pairs(self, plain: Tensor) -> Iterator[Tensor]:
        versions = [self._led_to(plain, target) for target in range(self.classes)]
        weights = self.weights.to(plain.device).expand(len(plain), -1)
        for first in versions:
            for second in versions:
                yield self._stored(combine("concat", torch.stack([first, second]), weights), plain)

    def _led_to(self, plain: Tensor, target: int) -> Tensor:
        device = device_of(self.surrogate, plain.device)
        wanted = torch.full((len(plain),), target, device=device)
        draws = generator_on(device, self.generator)
        return search(self.surrogate, plain.to(device), wanted, self.settings, draws).images.to(plain.device)

    def _stored(self, images: Tensor, plain: Tensor) -> Tensor:
        return round_to_8bit(images, plain) if self.to_8bit else images


def rank(scores: Tensor) -> Tensor:
    """Return the candidates of each row, best first, without those that are NaN (equally many in each row)."""
    considered = int(scores[0].isfinite().sum())
    return scores.nan_to_num(-torch.inf).argsort(dim=1, descending=True, stable=True)[:, :considered]


def margin(scores: Tensor, order: Tensor, taken: int = 1) -> Tensor:
    """Return how far the last accepted candidate is ahead of the next one; NaN if all are accepted."""
    if order.shape[1] <= taken:
        return scores.new_full((len(scores),), torch.nan)
    ahead, behind = scores.gather(1, order[:, taken - 1 : taken + 1]).unbind(1)
    return ahead - behind


_MOST_IMAGES = 500  # of the attacker's own, in the attack of the table; each is perturbed toward each class


def _run(seen: Seen) -> EnumerationResult:
    images, labels = own_for_tests(seen)
    return recover_correspondence(
        victim(seen),
        surrogate(seen),
        images[:_MOST_IMAGES],
        labels[:_MOST_IMAGES],
        classes=seen.classes,
        settings=search_settings(seen.scheme),
        targets=targets_per_class(seen.scheme),
        generator=seen.generator,
    )


ENUMERATION = Attack(
    name="recover_correspondence",
    title="Correspondence by enumeration",
    about="tries every target for every class on a network trained on the release",
    finds="key",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=CORRESPONDENCE,
    needs=NEEDS,
    reason=FOR_PERTURBED,
    long=TRAINING,
)
