"""What the tables of "Adversarial Data Encryption" (Hu et al.) share: how much work to do, and measured numbers."""

import functools
from dataclasses import asdict, dataclass, replace

import torch
from adversarial_bench import Bench, Sizes  # makes `common` importable

# isort: split
import common.world
from adversarial_measures import moved
from common.table import Table as Table  # this and the next ones for the scripts of the tables
from common.table import highest as highest
from common.table import lowest as lowest
from common.table import mean as mean
from common.table import minus as minus
from common.table import numbers as numbers
from common.table import spread as spread
from common.world import CommandLine, Given


@dataclass(frozen=True)
class Scale(common.world.Scale):
    """How much work to do.

    Attributes:
        sizes: of sets, trainings and perturbations.
        medical: the same for Table 12.
        victims: networks trained on the released data; the first one where one is enough.
        compared: those of them that are also trained on images perturbed toward random classes and by combined plans.
        medical_victims: of Table 12.
        strengths: radius and number of steps of further searches, for the question what they decide.
        searches: radius and number of steps, for the question how many images they move.
        attacked: test images that the attacker tries maps of classes with.
        adaptation_epochs: of domain adaptation.
        large_adaptation: whether it takes networks of the size of the paper.
        countermeasure_epochs: of the trainings on treated images.
    """

    sizes: Sizes
    medical: Sizes
    victims: tuple[str, ...]
    compared: tuple[str, ...]
    medical_victims: tuple[str, ...]
    strengths: tuple[tuple[float, int], ...]
    searches: tuple[tuple[float, int], ...]
    attacked: int
    adaptation_epochs: int
    large_adaptation: bool
    countermeasure_epochs: int


CHECK = Sizes(40, 40, 40, "small-vgg", "small-vgg", 1, 1, "adamw", 0.5, 0.1, 2)
# for Fashion-MNIST: small networks need a larger ball than the paper's ResNet-50
SMOKE = Sizes(4000, 4000, 1000, "small-resnet", "small-resnet", 10, 10, "adamw", 1.5, 0.3, 10)
# 20 steps instead of the paper's 100: search.py says how many images each number of steps moves
FULL = Sizes(None, 5000, 5000, "resnet9", "resnet9", 10, 60, "one-cycle", 0.5, 0.1, 20)
PAPER = Sizes(40_000, 10_000, 10_000, "resnet50", "resnet50", 250, 250, "paper", 0.5, 0.1, 100)
MRI = Sizes(4253, 0, 1061, "resnet18", "resnet18", 250, 250, "paper", 2.0, 0.1, 100, classes=5)  # the paper's sizes
PAPERS = ("densenet100bc", "preresnet110", "vgg19")


def _small(sizes: Sizes, victims: tuple[str, ...], folds: int, attacked: int, epochs: int) -> Scale:
    medical, one = replace(sizes, classes=5), victims[:1]
    strengths = tuple((factor * sizes.eps, sizes.steps) for factor in (1, 2))
    more_steps = tuple((sizes.eps, round(factor * sizes.steps)) for factor in (1, 2.5, 5))
    searches = (*more_steps, *((factor * sizes.eps, sizes.steps) for factor in (1.5, 2)))
    return Scale(folds, sizes, medical, victims, one, one, strengths, searches, attacked, epochs, False, epochs)


SCALES = {
    "check": _small(CHECK, ("small-vgg",), 1, 40, 1),
    "smoke": _small(SMOKE, ("small-vgg", "small-resnet", "small-alexnet"), 1, 1000, 10),
    "full": _small(FULL, ("resnet9", "vgg", "densenet"), 3, 1000, 10),
    "paper": Scale(
        1,
        PAPER,
        MRI,
        PAPERS,
        PAPERS,
        (*PAPERS, "preresnet20", "vgg11"),
        ((0.5, 100), (1.0, 100)),
        ((0.5, 100), (1.0, 100)),
        10_000,
        100,
        True,
        250,
    ),
}


class World(common.world.World[Scale]):
    """Measured numbers of one reproduction.

    Args:
        given: on the command line; one source at most.
        eps: radius of the ball, in place of the scale's.
        tests: test images; ``None``: they lie where the name of the source says.
    """

    def __init__(self, given: Given, eps: float | None = None, tests: str | None = None) -> None:
        scale = SCALES[given.scale]
        if eps is not None:
            scale = replace(scale, sizes=replace(scale.sizes, eps=eps), medical=replace(scale.medical, eps=eps))
        source = given.sources[0] if given.sources else None
        bench = Bench(scale.sizes, source, given.out / "kept", torch.device(given.device), tests)
        super().__init__(given, scale, bench, {**asdict(scale.sizes), "source": given.shown_sources})

    def moved(self, table: Table, plan: str) -> None:
        """Add a row with the share of released images that the base network itself takes for a target."""
        found = self.each(moved, plan=plan)
        share, columns = mean(numbers(found, "moved")), len(table.columns)
        table.row(f"{plan}: the base network takes for a target", share, *(None,) * (columns - 2))


@functools.cache  # scripts that run in one process share what they measure
def _open(given: Given, eps: float | None, tests: str | None) -> World:
    return World(given, eps, tests)


def read_world(description: str | None) -> World:
    """Read the command line."""
    options = CommandLine(description, SCALES, "adversarial", "training images, such as fashion-mnist:ROOT")
    options.parser.add_argument("--eps", type=float, help="radius of the ball, in pixel units, instead of the scale's")
    options.parser.add_argument("--tests", help="test images, if not named as the training images are")
    found, given = options.read(sources=1)
    return _open(given, found.eps, found.tests)
