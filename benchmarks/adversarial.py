"""Perturbing a batch toward target classes, beside the bare passes through the network and beside torchattacks.

ResNet-18 of torchvision with 10 classes on float32 64x3x32x32; the weights are random, which changes nothing about the
time. On the CPU the times are the processor's, not the wall clock's. torchattacks is compared with where it can be
imported; it pins old versions of what it needs, so install it apart (tests/adversarial/generate_pgd.py says how) and
set PYTHONPATH.

Usage: python benchmarks/adversarial.py [--threads N] [--rounds N] [--quick] [--device cpu|cuda] [--out FILE]
"""

import importlib.util
import time
from functools import partial
from importlib.metadata import version

import _cases
import torch
from _cases import Builder, Case, Contestant, Goal, Setup, benchmark
from _common import Action
from torch import Tensor, nn
from torchvision.models import resnet18

from torchprotect.adversarial import pgd_l2

STEPS, BATCH = 10, 64
EPS, STEP_SIZE = 0.5, 0.1
LAST, BEST = "ours, last iterate", "ours, keep_best"
BARE, PEER = "forward and backward alone", "torchattacks.PGDL2"


class World:
    """A network, images and targets, and what can be done with them."""

    def __init__(self, setup: Setup, steps: int) -> None:
        count = 2 if setup.quick else BATCH
        self.model = resnet18(num_classes=10).eval().to(setup.device)
        self.images = torch.rand(count, 3, 32, 32, device=setup.device)
        self.targets = torch.randint(0, 10, (count,), device=setup.device)
        self.steps = steps

    @property
    def passes(self) -> int:
        """Images that go through the network forward and backward."""
        return len(self.images) * self.steps

    def ours(self, **options: bool | torch.dtype) -> Tensor:
        """Perturb."""
        how = {"eps": EPS, "step_size": STEP_SIZE, "steps": self.steps, **options}
        return pgd_l2(self.model, self.images, self.targets, **how).images

    def bare(self) -> Tensor:
        """Compute the gradient to the images alone, as often as there are steps, and do nothing with it."""
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        for _ in range(self.steps):
            here = self.images.detach().requires_grad_()
            loss = nn.functional.cross_entropy(self.model(here), self.targets, reduction="sum")
            (slope,) = torch.autograd.grad(loss, here)
        for parameter in self.model.parameters():
            parameter.requires_grad_()
        return slope

    def peer(self) -> Tensor:
        """Perturb with torchattacks."""
        import torchattacks

        attack = torchattacks.PGDL2(self.model, eps=EPS, alpha=STEP_SIZE, steps=self.steps, random_start=False)
        attack.set_mode_targeted_by_label(quiet=True)
        return attack(self.images, self.targets)


def step(setup: Setup) -> Case:
    """Compare a step with the passes it cannot do without."""
    world = World(setup, STEPS)
    contestants = [
        Contestant(LAST, partial(world.ours, keep_best=False), "ours"),
        Contestant(BEST, world.ours, "ours"),
        Contestant(BARE, world.bare, "other"),
    ]
    goals = [
        Goal("x the time of the passes", 1.05, [BARE], at_most=True, ours=LAST),
        Goal("x the time of the passes, with one forward more", None, [BARE], at_most=True, ours=BEST),
    ]
    return Case(f"{STEPS} steps, passes of one image", contestants, goals, world.passes, "kimages/s")


def whole(setup: Setup) -> Case:
    """Compare a whole perturbation with that of torchattacks, which returns the last iterate."""
    world = World(setup, 2 if setup.quick else STEPS)
    contestants = [
        Contestant(LAST, partial(world.ours, keep_best=False), "ours"),
        Contestant(BEST, world.ours, "ours"),
        Contestant(f"{BEST}, channels_last", partial(world.ours, channels_last=True), "ours"),
    ]
    if setup.cuda:
        options = {"channels_last": True, "precision": torch.bfloat16}
        contestants.append(Contestant(f"{BEST}, channels_last, bfloat16", partial(world.ours, **options), "ours"))
    goals = []
    if importlib.util.find_spec("torchattacks"):
        peer = f"{PEER} {version('torchattacks')}"
        contestants.append(Contestant(peer, world.peer))
        bound = 2.0 if setup.cuda else 1.0
        goals = [Goal("of the speed of torchattacks", bound, [peer], ours=c.name) for c in contestants[:-1]]
    name = f"whole perturbation of {len(world.images)} images, {world.steps} steps"
    return Case(name, contestants, goals, len(world.images), "kimages/s", tolerance=1e-5)


def cases(setup: Setup) -> list[Builder]:
    """List all cases."""
    return [partial(step, setup), partial(whole, setup)]


def processor_clock(action: Action, count: int) -> float:
    """Return the processor seconds that ``count`` calls take, on all threads: others may share the machine."""
    start = time.process_time()
    for _ in range(count):
        action()
    return time.process_time() - start


if __name__ == "__main__":
    _cases.wall_clock = processor_clock
    benchmark(__doc__, "adversarial", cases)
