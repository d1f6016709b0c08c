"""Training of inference networks."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int, require_number
from torchprotect.errors import InputRangeError, ModelError
from torchprotect.models import InferenceNetwork


@dataclass(frozen=True)
class InferenceSettings:
    """Training settings of an inference network; learning rate, decay and epochs are the paper's.

    Attributes:
        hidden: width of the hidden layer.
        dropout: probability of dropping a hidden unit.
        learning_rate: initial learning rate of Adam.
        decay: factor of the learning rate after each epoch.
        epochs: largest number of epochs.
        patience: number of epochs without a better validation loss after which training stops; the best epoch is kept.
        validation: fraction of the images held out for validation.
        batch_size: images per step; at least 2, because of batch normalisation.

    References:
        Savransky et al., One Way Scrambling by Deconvolution, section 4.1; width, dropout, rate of decay and patience
        are not given there.
    """

    hidden: int = 512
    dropout: float = 0.5
    learning_rate: float = 1e-4
    decay: float = 0.95
    epochs: int = 40
    patience: int = 5
    validation: float = 0.1
    batch_size: int = 32

    def __post_init__(self) -> None:
        for name, least in (("hidden", 1), ("epochs", 1), ("patience", 1), ("batch_size", 2)):
            require_int(name, getattr(self, name), at_least=least)
        require_number("dropout", self.dropout, at_least=0, below=1)
        require_number("learning_rate", self.learning_rate, above=0)
        require_number("decay", self.decay, above=0, at_most=1)
        require_number("validation", self.validation, above=0, below=1)


def fit_network(
    features: Tensor,
    labels: Tensor,
    classes: int,
    settings: InferenceSettings,
    generator: torch.Generator | None,
    progress: Callable[[int, int], None] | None,
) -> nn.Module:
    """Train with Adam until the validation loss no longer falls, and keep the best epoch."""
    held = max(1, round(len(features) * settings.validation))
    if len(features) - held < 2:
        raise InputRangeError(f"{len(features)} images are too few: {held} are held out, and two more are needed")
    order = torch.randperm(len(features), generator=generator)
    validation, training = order[:held], order[held:]
    with torch.random.fork_rng(devices=[]), torch.enable_grad():  # weights and dropout draw from the global generator
        torch.default_generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        network = InferenceNetwork(features.shape[1], classes, hidden=settings.hidden, dropout=settings.dropout)
        network.to(features.dtype)
        optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, settings.decay)
        best, kept, waited = float("inf"), copy.deepcopy(network.state_dict()), 0
        for epoch in range(settings.epochs):
            _epoch(network, optimizer, features[training], labels[training], settings.batch_size, generator)
            schedule.step()
            loss = _loss(network, features[validation], labels[validation])
            waited = 0 if loss < best else waited + 1
            if loss < best:
                best, kept = loss, copy.deepcopy(network.state_dict())
            if progress is not None:
                progress(epoch + 1, settings.epochs)
            if waited >= settings.patience:
                break
    if not math.isfinite(best):
        raise ModelError("the validation loss of the inference network was never finite: lower the learning rate")
    network.load_state_dict(kept)
    return network.eval()


def _epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    features: Tensor,
    labels: Tensor,
    batch_size: int,
    generator: torch.Generator | None,
) -> None:
    network.train()
    for part in torch.randperm(len(features), generator=generator).split(batch_size):
        if len(part) < 2:
            continue  # batch normalisation needs at least two images
        optimizer.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(features[part]), labels[part]).backward()
        optimizer.step()


@torch.no_grad()
def _loss(network: nn.Module, features: Tensor, labels: Tensor) -> float:
    network.eval()
    return float(nn.functional.cross_entropy(network(features), labels))
