"""Textbook PGD, one image at a time, and images for it; see ``nets.make_net``."""

import torch
from torch import Tensor, nn

CLASSES = 4
SIZE = (2, 6, 6)


def make_batch(count: int = 5, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return images that also touch the bounds, on the grid of 8-bit pixels, and a target for each."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(-40, 296, (count, *SIZE), generator=generator).clamp_(0, 255).to(dtype) / 255
    return images, torch.arange(count) % CLASSES


def losses_of(net: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    with torch.no_grad():
        return nn.functional.cross_entropy(net(images), targets, reduction="none")


def pgd_one_by_one(net, images, targets, *, eps, step_size, steps, bounds=(0.0, 1.0), keep_best=True, targeted=True):
    """Run textbook projected gradient descent for one image after the other; the net is in eval mode."""
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
