"""Networks for the tests of perturbations, and PGD written down for one image at a time."""

import torch
from torch import Tensor, nn

CLASSES = 4
SIZE = (2, 6, 6)


def make_net(dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Sequential:
    """Return a small network with all that has a mode: batch-norm and dropout; in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Conv2d(6, 6, 3, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, CLASSES),
        )
        net[1].running_mean.uniform_(-0.1, 0.1)
        net[1].running_var.uniform_(0.05, 0.2)
    return net.to(dtype).eval()


def make_batch(count: int = 5, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return images that also touch the bounds, on the grid of 8-bit pixels, and a target for each."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(-40, 296, (count, *SIZE), generator=generator).clamp_(0, 255).to(dtype) / 255
    return images, torch.arange(count) % CLASSES


def losses_of(net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        return nn.functional.cross_entropy(net(images), targets, reduction="none")


def pgd_one_by_one(net, images, targets, *, eps, step_size, steps, bounds=(0.0, 1.0), keep_best=True, targeted=True):
    """Do projected gradient descent for one image after the other, as the textbook has it; the net is in eval mode."""
    sign = 1 if targeted else -1
    results = []
    for image, target in zip(images, targets, strict=True):
        iterates, losses, here = [], [], image.clone()
        for step in range(steps + 1):
            here = here.clone().requires_grad_()
            loss = sign * nn.functional.cross_entropy(net(here[None]), target[None])
            iterates.append(here.detach())
            losses.append(float(loss.detach()))
            if step < steps:
                (slope,) = torch.autograd.grad(loss, here)
                there = here.detach() - step_size * slope / (slope.norm() + 1e-10)
                away = there - image
                if away.norm() > eps:
                    away = eps * away / away.norm()
                here = (image + away).clamp(*bounds)
        best = min(range(steps + 1), key=lambda i: losses[i]) if keep_best else steps
        results.append(iterates[best])
    return torch.stack(results)
