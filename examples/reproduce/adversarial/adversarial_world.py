"""What the reproductions of "Adversarial Data Encryption" (Hu et al., 2020) share.

A :class:`World` makes what the tables need when they need it, and keeps it in the folder given by ``--out``: networks
trained on clean sets, perturbed sets, networks trained on those. So a second table starts where the first ended.
"""

import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import common.world
from common.images import Images, draw_images, test_split
from common.networks import make_network
from common.table import Table as Table  # for the scripts of the tables
from common.world import CommandLine
from recipes import fit

from torchprotect import adversarial, data, keys
from torchprotect.adversarial import PGDSettings

BATCH, CLASSES = 250, 10


@dataclass(frozen=True)
class Scale(common.world.Scale):
    """How much work to do.

    Attributes:
        train: images of the owner's training set.
        other: images of the attacker's own set; both have no image in common.
        test: images of the test set.
        base: the owner's network, which the perturbations are computed with.
        surrogate: the attacker's network, trained on clean images of its own.
        victims: networks trained on the released data.
        epochs: of every training.
        eps: radius of the ball, in pixel units.
        steps: of the search.
        recipe: ``"adamw"``: :func:`torchprotect.training.fit`; ``"sgd"``: the paper's.
    """

    train: int
    other: int
    test: int
    base: str
    surrogate: str
    victims: tuple[str, ...]
    epochs: int
    eps: float
    steps: int
    recipe: str = "adamw"


SCALES = {
    "check": Scale(40, 40, 40, "small-vgg", "small-vgg", ("small-vgg",), 1, 0.5, 2),
    # for Fashion-MNIST: small networks need a larger ball than the paper's ResNet-50
    "smoke": Scale(
        4000, 4000, 1000, "small-resnet", "small-resnet", ("small-vgg", "small-resnet", "small-alexnet"), 10, 1.5, 10
    ),
    "paper": Scale(
        40_000, 10_000, 10_000, "resnet50", "resnet50", ("densenet100bc", "preresnet110", "vgg19"), 250, 0.5, 100, "sgd"
    ),
}


class World(common.world.World[Scale]):
    """Sets and networks of one reproduction, made when they are asked for and kept on disk.

    Args:
        scale: how much work to do.
        sources: one source of plain images, as for ``torchprotect export``; none: some are drawn.
        out: folder for results.
        device: where networks run.
        classes: only images of classes below this number are taken.
    """

    def __init__(self, scale: Scale, sources: tuple[str, ...], out: Path, device: str, classes: int) -> None:
        super().__init__(scale, sources, out, device, kept=(asdict(scale), sources, classes))
        self.source, self.classes = sources[0] if sources else None, classes
        self._sets: dict[str, Images] = {}

    # clean sets

    @property
    def train(self) -> Images:
        """The owner's training set."""
        return self._clean("train", 0, self.scale.train)

    @property
    def other(self) -> Images:
        """The attacker's own clean set, from the same distribution."""
        return self._clean("train", self.scale.train, self.scale.other)

    @property
    def test(self) -> Images:
        """The test set: the source's own, or of a folder what the training sets leave."""
        if self.source is not None and Path(self.source).is_dir():
            return self._clean("train", self.scale.train + self.scale.other, self.scale.test)
        return self._clean("test", 0, self.scale.test)

    def _clean(self, split: str, first: int, count: int) -> Images:
        name = f"{split} {first} {count}"
        if name not in self._sets:
            self._sets[name] = self._read(split, first, count)
        return self._sets[name]

    def _read(self, split: str, first: int, count: int) -> Images:
        if self.source is None:
            generator = torch.Generator().manual_seed(2 + first if split == "train" else 3)
            labels = torch.randint(0, self.classes, (count,), generator=generator)
            return draw_images(labels, self.classes, generator)
        source = data.open_source(self.source if split == "train" else test_split(self.source))
        found = []
        order = torch.randperm(len(source), generator=torch.Generator().manual_seed(23))  # folders are sorted by class
        for index in order.tolist():
            sample = source[index]
            if sample.label is not None and sample.label < self.classes:
                found.append(sample)
            if len(found) == first + count:
                break
        if len(found) < first + count:
            raise SystemExit(f"{self.source} has {len(found)} images for {split}, but {first + count} are needed")
        taken = found[first:]
        return Images(torch.stack([s.image for s in taken]), torch.tensor([s.label for s in taken]))

    # networks

    @property
    def base(self) -> nn.Module:
        """The owner's network, trained on the owner's clean set."""
        return self.trained(f"base {self.scale.base}", self.scale.base, self.train)

    @property
    def surrogate(self) -> nn.Module:
        """The attacker's network, trained on the attacker's clean set."""
        return self.trained(f"surrogate {self.scale.surrogate}", self.scale.surrogate, self.other)

    def victim(self, network: str, plan: str, target_source: str = "label") -> nn.Module:
        """A network trained on the owner's set as released under a plan."""
        return self.trained(f"victim {network} {plan} {target_source}", network, self.released(plan, target_source))

    def trained(self, name: str, network: str, images: Images) -> nn.Module:
        """Train a network, or read its weights if it was trained before."""
        height, width = images.images.shape[-2:]
        model = make_network(network, images.images.shape[1], self.classes, (height, width)).to(self.device)

        def weights() -> dict[str, Tensor]:
            print(f"training: {name}", flush=True)
            torch.manual_seed(23)  # the paper's; results are not expected to repeat to the digit on other machines
            fit(model, images, self.scale.recipe, self.scale.epochs)
            return model.state_dict()

        model.load_state_dict(self.kept.tensors((name,), weights))
        return model.eval()

    # perturbed sets

    def released(self, plan: str, target_source: str = "label") -> Images:
        """The owner's training set perturbed by a preset plan; with ``"random"``, each image toward a random class."""
        return self.perturbed("train", self.train, plan, target_source)

    def released_test(self, plan: str, target_source: str) -> Images:
        """The test set perturbed by a preset plan, from true labels or from what the base network takes images for."""
        return self.perturbed("test", self.test, plan, target_source)

    def perturbed(self, name: str, plain: Images, plan: str, target_source: str) -> Images:
        """Perturb a set, or read it if it was perturbed before."""

        def images() -> Tensor:
            base = self.base
            print(f"perturbing: {name}, plan {plan}, targets by {target_source}", flush=True)
            start = time.monotonic()
            images, farthest = self._perturb(base, plain, keys.CorrespondenceKey.preset(plan), target_source)
            print(f"  {time.monotonic() - start:.0f} s, largest L2 distance after rounding {farthest:.3f}", flush=True)
            return images

        return Images(self.kept.tensor((f"perturbed {name} {plan} {target_source}",), images), plain.labels)

    def _perturb(
        self, base: nn.Module, plain: Images, key: keys.CorrespondenceKey, target_source: str
    ) -> tuple[Tensor, float]:
        generator = torch.Generator().manual_seed(23)
        done, farthest = [], 0.0
        for images, labels in _batches(plain, self.device):
            targets, weights = self._targets(base, images, labels, key, target_source, generator)
            found = adversarial.perturb_toward(base, images, targets, weights, self.settings, mix_mode=key.mix_mode)
            done.append(found.images.mul(255).round().byte().cpu())
            farthest = max(farthest, found.max_distance)
        return torch.cat(done), farthest

    def _targets(
        self,
        base: nn.Module,
        images: Tensor,
        labels: Tensor,
        key: keys.CorrespondenceKey,
        target_source: str,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        if target_source == "random":
            away = torch.randint(1, self.classes, labels.shape, generator=generator).to(labels.device)
            return ((labels + away) % self.classes)[:, None], torch.ones(len(labels), 1, device=labels.device)
        if target_source == "predicted":
            labels = predict(base, images)
        return key.of(labels)

    @property
    def settings(self) -> PGDSettings:
        """Of every search."""
        step = 0.1 if self.scale.recipe == "sgd" else self.scale.eps / 5  # the paper's, whatever eps is
        return PGDSettings(self.scale.eps, step, self.scale.steps)


def _batches(images: Images, device: torch.device, size: int = BATCH) -> Iterator[tuple[Tensor, Tensor]]:
    for part, labels in zip(images.images.split(size), images.labels.split(size), strict=True):
        yield part.to(device).float() / 255, labels.to(device)


def as_floats(images: Images) -> tuple[Tensor, Tensor]:
    """Return images in 0..1 and labels."""
    return images.images.float() / 255, images.labels


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the class that a network takes each float image for."""
    predicted: Tensor = model(images).argmax(1)
    return predicted


def predictions(model: nn.Module, images: Images, device: torch.device) -> Tensor:
    """Return the class that a network takes each image of a set for, on the CPU."""
    return torch.cat([predict(model, part).cpu() for part, _ in _batches(images, device)])


def accuracy(model: nn.Module, images: Images, device: torch.device) -> float:
    """Return the share of right answers in percent."""
    return 100 * float((predictions(model, images, device) == images.labels).float().mean())


_open = functools.cache(World)  # scripts that run in one process share what they make


def read_world(
    description: str | None, classes: int = CLASSES, adapt: Callable[[Scale], Scale] = lambda scale: scale
) -> World:
    """Read the command line; a table may adapt the scale."""
    options = CommandLine(description, SCALES, "adversarial", "training images, such as fashion-mnist:ROOT")
    options.parser.add_argument("--eps", type=float, help="radius of the ball, in pixel units, instead of the scale's")
    given = options.read(sources=1)
    scale = adapt(SCALES[given.scale])
    scale = scale if given.eps is None else replace(scale, eps=given.eps)
    return _open(scale, given.source, given.out, given.device, classes)
