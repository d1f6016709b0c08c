"""Optimizer, learning rate and loss of a training."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from torchprotect.errors import InputRangeError

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["cosine", "one-cycle", "steps"]

_WARM_UP = 0.25  # of the batches, in "one-cycle"
_MILESTONES = (0.4, 0.6, 0.8)  # of the epochs, in "steps"


@dataclass(frozen=True)
class Recipe:
    """Optimizer, learning rate and loss of a training.

    Args:
        optimizer: ``"adamw"``, or ``"sgd"`` with Nesterov momentum 0.9.
        learning_rate: highest learning rate.
        weight_decay: of all weights.
        schedule: ``"cosine"`` lowers the learning rate epoch by epoch along half a cosine. ``"one-cycle"`` raises it
            linearly from 0 over the first quarter of all batches and lowers it linearly to 0 over the rest; each batch
            has the rate of its middle. ``"steps"`` divides it by 10 after 40, 60 and 80 percent of the epochs.
        label_smoothing: of the cross-entropy, 0..1.

    References:
        Smith and Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates", 2018,
        arXiv:1708.07120, for ``"one-cycle"``.
    """

    optimizer: Optimizer = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    schedule: Schedule = "cosine"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("optimizer", get_args(Optimizer)), ("schedule", get_args(Schedule))):
            if getattr(self, name) not in known:
                raise InputRangeError(f"{name} must be one of {', '.join(known)}, not {getattr(self, name)!r}")
        for name, most in (("learning_rate", math.inf), ("weight_decay", math.inf), ("label_smoothing", 1.0)):
            value = getattr(self, name)
            if not (0 <= value <= most and math.isfinite(value)):
                raise InputRangeError(f"{name} must be a finite number from 0 to {most:g}, not {value}")

    @property
    def by_batch(self) -> bool:
        """Whether the learning rate changes with every batch instead of every epoch."""
        return self.schedule == "one-cycle"

    def make_optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return a new optimizer for these parameters."""
        if self.optimizer == "sgd":
            return torch.optim.SGD(
                parameters, self.learning_rate, momentum=0.9, nesterov=True, weight_decay=self.weight_decay
            )
        return torch.optim.AdamW(parameters, self.learning_rate, weight_decay=self.weight_decay)

    def rate_at(self, done: float) -> float:
        """Return the learning rate at a point of the training, given as the fraction done, 0..1."""
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * done)) / 2
        if self.schedule == "steps":
            return self.learning_rate * 0.1 ** sum(done >= milestone for milestone in _MILESTONES)
        return self.learning_rate * max(min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP)), 0)


DEFAULT_RECIPE = Recipe()
"""AdamW with a cosine schedule."""
