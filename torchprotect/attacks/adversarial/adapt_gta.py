"""Domain adaptation from released data to clean images without labels."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import require_labelled, require_pictures
from torchprotect.attacks.adversarial._released import (
    own_for_tests,
    own_for_training,
    released,
)
from torchprotect.attacks.adversarial.train_and_watch import learned, peak_and_last, training_attack
from torchprotect.attacks.protocol import Seen
from torchprotect.attacks.results import AttackResult, Level, NetworkResult
from torchprotect.attacks.seeding import seeded
from torchprotect.errors import InputRangeError, InputShapeError, ModelError
from torchprotect.models.gta import GTANetworks
from torchprotect.training import device_of, eval_mode, evaluate


@dataclass(frozen=True, eq=False, repr=False)
class DomainAdaptationResult(AttackResult):
    """Accuracy on clean test images, with domain adaptation and without.

    Attributes:
        source_only: accuracy of the same networks after as many epochs on the released images alone.
        source_accuracies: float64 ``[epochs]``: accuracy of these networks after each epoch.
        accuracies: float64 ``[epochs]``: accuracy of the adapted networks after each epoch.
        peak: highest accuracy of the adapted networks.
        peak_epoch: first epoch that reaches it, counted from 1.
        last: accuracy after the last epoch.
        losses: ``[epochs, 3]``, mean losses of each epoch: discriminator, generator, extractor with classifier.
    """

    source_only: float
    source_accuracies: Tensor
    accuracies: Tensor
    peak: float
    peak_epoch: int
    last: float
    losses: Tensor


def adapt_gta(
    source: Tensor,
    labels: Tensor,
    target: Tensor,
    test: tuple[Tensor, Tensor],
    *,
    networks: GTANetworks,
    epochs: int = 100,
    batch_size: int = 100,
    learning_rate: float = 5e-4,
    beta1: float = 0.8,
    adv_weight: float = 0.1,
    alpha: float = 0.3,
    generator: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DomainAdaptationResult:
    """Adapt a classifier from released to clean images with Generate To Adapt: an attacker with public data (level L1).

    The attacker has released images with labels, and clean images without. A generator turns embeddings of both into
    images. A discriminator tells whether such an image looks like a released one, and of which class. The feature
    extractor learns three things: to classify released images, to have the images generated from them recognised, and
    to have those generated from clean images pass for real.

    Cost: ``epochs`` (of each training, with adaptation and without), ``images`` (adaptation steps, each on one released
    and one clean image).

    Args:
        source: released images, floating point in 0..1 ``[N, C, H, W]``.
        labels: int64 ``[N]``, their released labels.
        target: clean images without labels ``[M, C, H, W]``.
        test: clean images and labels to measure accuracy on; the training does not see them.
        networks: untrained; trained in place and left in eval mode. For a repeatable run, seed torch before making
            them.
        epochs: passes over the released images; clean images are repeated or left over.
        batch_size: number of released images, and of clean ones, in a batch.
        learning_rate: of Adam, for all networks.
        beta1: of Adam.
        adv_weight: weight, in the extractor's loss, of the class that the discriminator assigns to images generated
            from released ones.
        alpha: weight of the real-or-generated loss of clean images, as a fraction of ``adv_weight``.
        generator: shuffles images and draws noise.
        progress: called with epochs done and the total, over both trainings.

    Raises:
        InputRangeError: a setting is invalid, or there are too few images.
        InputShapeError: the images do not fit each other.
        LabelError: a label is not a class of the networks.
        ModelError: losses are no longer finite, or the networks are made for other images.

    References:
        Sankaranarayanan et al., Generate To Adapt: Aligning Domains using Generative Adversarial Networks, CVPR 2018;
        used in Hu et al., Adversarial Data Encryption, section 4.4, Table 10. Default settings follow the program of
        the former; its slow decay of the learning rate is left out.
    """
    require_labelled(source, labels, networks.classes)
    require_labelled(*test, networks.classes)
    require_pictures(target)
    if not source.shape[1:] == target.shape[1:] == test[0].shape[1:]:
        raise InputShapeError(
            f"source, target and test images must be of one size, not {list(source.shape[1:])}, "
            f"{list(target.shape[1:])} and {list(test[0].shape[1:])}"
        )
    require_int("epochs", epochs, at_least=1)
    require_int("batch_size", batch_size, at_least=1)
    if min(batch_size, len(source)) < 2:
        raise InputRangeError("batch normalisation needs batches, and released images, of at least 2")
    _require_compatible(networks, source)
    rates = {"lr": learning_rate, "betas": (beta1, 0.999)}
    alone = _Training(copy.deepcopy(networks), rates, 0, 0, adapting=False)
    adapting = _Training(networks, rates, adv_weight, adv_weight * alpha, adapting=True)
    curves, means = [], []
    for turn, training in enumerate((alone, adapting)):
        accuracies = []
        for epoch in range(epochs):
            means.append(training.epoch(_batches(source, labels, target, batch_size, generator), generator))
            accuracies.append(evaluate(training.networks, test))
            if progress is not None:
                progress(turn * epochs + epoch + 1, 2 * epochs)
        curves.append(accuracies)
    networks.eval()
    return DomainAdaptationResult(
        Level.PUBLIC_DATA,
        {"epochs": epochs, "images": adapting.images},
        curves[0][-1],
        torch.tensor(curves[0], dtype=torch.float64),
        torch.tensor(curves[1], dtype=torch.float64),
        *peak_and_last(curves[1]),
        losses=torch.stack(means[epochs:]),
    )


class _Training:
    """The networks with their optimizers."""

    def __init__(
        self, networks: GTANetworks, rates: dict[str, object], kind_weight: float, real_weight: float, *, adapting: bool
    ) -> None:
        self.networks, self.kind_weight, self.real_weight, self.adapting = networks, kind_weight, real_weight, adapting
        parts = [networks.discriminator, networks.generator, nn.ModuleList([networks.extractor, networks.classifier])]
        self.optimizers = [torch.optim.Adam(part.parameters(), **rates) for part in parts]  # type: ignore[arg-type]
        self.images = 0

    def epoch(self, batches: Iterator[tuple[Tensor, Tensor, Tensor]], generator: torch.Generator | None) -> Tensor:
        """Train for an epoch and return the mean losses, float64 ``[3]``."""
        self.networks.train()
        losses = []
        for source, labels, target in batches:
            device = device_of(self.networks, source.device)
            losses.append(self._step(source.to(device), labels.to(device), target.to(device), generator))
            self.images += len(source)
        means = torch.stack(losses).double().mean(0).cpu()
        if not bool(means.isfinite().all()):
            raise ModelError("the losses are NaN or infinite; a lower learning rate may help")
        return means

    def _step(self, source: Tensor, labels: Tensor, target: Tensor, generator: torch.Generator | None) -> Tensor:
        nets = self.networks
        embedded = nets.extractor(source)
        loss = nn.functional.cross_entropy(nets.classifier(embedded), labels)
        nothing = loss.new_zeros(())
        if not self.adapting:
            return torch.stack([nothing, nothing, self._descend(2, loss)])
        nobody = torch.full_like(labels, nets.classes)
        clean = nets.extractor(target)
        noise = self._noise(source, generator), self._noise(source, generator)

        made = nets.generate(embedded.detach(), labels, noise[0])
        made_clean = nets.generate(clean.detach(), nobody, noise[1])
        real, kind = nets.discriminator(2 * source - 1)
        discriminating = _real(real, True) + nn.functional.cross_entropy(kind, labels)
        for each in (made, made_clean):
            discriminating = discriminating + _real(nets.discriminator(each.detach())[0], False)
        discriminating = self._descend(0, discriminating)

        real, kind = nets.discriminator(made)
        generating = self._descend(1, _real(real, True) + nn.functional.cross_entropy(kind, labels))

        kind = nets.discriminator(nets.generate(embedded, labels, noise[0]))[1]
        real = nets.discriminator(nets.generate(clean, nobody, noise[1]))[0]
        loss = (
            loss + self.kind_weight * nn.functional.cross_entropy(kind, labels) + self.real_weight * _real(real, True)
        )
        return torch.stack([discriminating, generating, self._descend(2, loss)])

    def _descend(self, part: int, loss: Tensor) -> Tensor:
        self.networks.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers[part].step()
        return loss.detach()

    def _noise(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        device = like.device if generator is None else generator.device
        return torch.randn(len(like), self.networks.noise, generator=generator, device=device).to(like)


def _real(scores: Tensor, real: bool) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(real)))


def _batches(
    source: Tensor, labels: Tensor, target: Tensor, batch_size: int, generator: torch.Generator | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield equally many clean and released images, both shuffled; a final batch of one image is left out."""

    def shuffled(count: int) -> Tensor:
        device = None if generator is None else generator.device
        return torch.randperm(count, generator=generator, device=device).cpu()

    order = shuffled(len(source))
    rounds = -(-len(source) // len(target))
    others = torch.cat([shuffled(len(target)) for _ in range(rounds)])[: len(source)]
    for mine, theirs in zip(order.split(batch_size), others.split(batch_size), strict=True):
        if len(mine) > 1:
            yield source[mine], labels[mine], target[theirs]


@torch.no_grad()
def _require_compatible(networks: GTANetworks, source: Tensor) -> None:
    """Check that the networks take images of this size, and generate such images."""
    device = device_of(networks, source.device)
    try:
        with eval_mode(networks):
            embedded = networks.extractor(source[:1].to(device))
            nobody = torch.zeros(1, dtype=torch.int64, device=device)
            made = networks.generate(embedded, nobody, embedded.new_zeros(1, networks.noise))
            networks.discriminator(made)
            networks.classifier(embedded)
    except RuntimeError as error:
        raise ModelError(f"the networks do not take images of {list(source.shape[1:])}: {error}") from error
    if made.shape[1:] != source.shape[1:]:
        raise ModelError(f"the networks make images of {list(made.shape[1:])}, not {list(source.shape[1:])}")


def _run(seen: Seen) -> NetworkResult:
    (images, labels), test, device = released(seen), own_for_tests(seen), torch.device(seen.device)
    channels, height, width = images.shape[1:]
    with seeded(device, seen.generator):
        networks = GTANetworks(channels, seen.classes, (height, width)).to(device)
        found = adapt_gta(
            images,
            labels,
            own_for_training(seen).images,
            (test.images, test.labels),
            networks=networks,
            epochs=seen.epochs,
            generator=seen.generator,
        )
    return learned(found.level, found.cost, found.peak, found.last, test.labels)


GTA = training_attack(
    "adapt_gta",
    "Domain adaptation",
    "adapts a network from the release to plain images without labels, by Generate To Adapt",
    _run,
)
