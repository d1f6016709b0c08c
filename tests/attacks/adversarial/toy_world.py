"""A tiny world where the truth is known: five classes with a strong, unreliable pattern and a weak, reliable one.

Nature as in the paper: networks rely on the weak pattern, perturbations carry it.
"""

import functools

import torch
from torch import Tensor, nn

from torchprotect.adversarial import PGDSettings, perturb_toward
from torchprotect.training import Recipe, fit

CLASSES, SIZE = 5, (3, 8, 8)
SETTINGS = PGDSettings(eps=0.5, step_size=0.1, steps=10)
MAP = torch.tensor([[3], [0], [4], [1], [2]])
PAIRS = torch.tensor([[3, 1], [0, 2], [4, 3], [1, 4], [2, 0]])


@functools.cache
def patterns() -> tuple[Tensor, Tensor]:
    draws = torch.randn(2 * CLASSES, 192, generator=torch.Generator().manual_seed(0))
    directions = torch.linalg.qr(draws.T)[0].T.reshape(2, CLASSES, *SIZE)
    return directions[0] * 1.0, directions[1] * 0.4


def nature(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw images in 0..1: the strong pattern is another class's in three images of ten."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    seen = torch.where(
        torch.rand(count, generator=generator) < 0.3,
        torch.randint(CLASSES, (count,), generator=generator),
        labels,
    )
    strong, weak = patterns()
    noise = torch.randn(count, *SIZE, generator=generator) * 0.03
    return (0.5 + strong[seen] + weak[labels] + noise).clamp(0, 1), labels


class Normalise(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return (images - 0.5) * 10


def network(seed: int, classes: int = CLASSES) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(Normalise(), nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Linear(32, classes))


def trained(images: Tensor, labels: Tensor, seed: int) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    return fit(network(seed), (images, labels), epochs=15, recipe=Recipe(learning_rate=5e-3), generator=generator)


@functools.cache
def surrogate() -> nn.Module:
    """Return the attacker's own clean classifier."""
    return trained(*nature(1000, 1), seed=1)


@functools.cache
def released(pairs: bool = False) -> tuple[Tensor, Tensor]:
    """Return what the owner releases, made with the owner's own base classifier."""
    base = trained(*nature(1000, 2), seed=2)
    images, labels = nature(1000, 3)
    plan = PAIRS if pairs else MAP
    shares = torch.full(plan.shape, 1 / plan.shape[1])
    return perturb_toward(base, images, plan[labels], shares[labels], SETTINGS).images, labels


@functools.cache
def victim(pairs: bool = False) -> nn.Module:
    return trained(*released(pairs), seed=4)


@functools.cache
def own_images() -> tuple[Tensor, Tensor]:
    return nature(200, 5)
