"""What the reproductions of "Adversarial Data Encryption" (Hu et al., 2020) share.

A :class:`World` makes what the tables need when they need it, and keeps it in the folder given by ``--out``: networks
trained on clean sets, perturbed sets, networks trained on those. So a second table starts where the first ended.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
from _networks import make_network
from _shared import Table as Table  # for the scripts of the tables
from _shared import test_split
from torch import Tensor, nn

from torchprotect import adversarial, data, keys, training
from torchprotect.adversarial import PGDSettings

BATCH = 250


class Images(NamedTuple):
    """Images uint8 ``[N, C, H, W]`` and their labels int64 ``[N]``."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Scale:
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
    "check": Scale(60, 60, 60, "small-vgg", "small-vgg", ("small-vgg",), 1, 0.5, 2),
    # for Fashion-MNIST: small networks need a larger ball than the paper's ResNet-50
    "smoke": Scale(
        4000, 4000, 1000, "small-resnet", "small-resnet", ("small-vgg", "small-resnet", "small-alexnet"), 10, 1.5, 10
    ),
    "paper": Scale(
        40_000, 10_000, 10_000, "resnet50", "resnet50", ("densenet100bc", "preresnet110", "vgg19"), 250, 0.5, 100, "sgd"
    ),
}


class World:
    """Sets and networks of one reproduction, made when they are asked for and kept on disk.

    Args:
        scale: how much work to do.
        source: plain images, as for ``torchprotect export``; ``None`` draws some, to see that everything runs.
        out: folder for what is kept.
        device: where networks run.
        classes: only images of classes below this number are taken.
    """

    def __init__(self, scale: Scale, source: str | None, out: Path, device: str, classes: int = 10) -> None:
        self.scale, self.source, self.out, self.device, self.classes = scale, source, out, torch.device(device), classes
        self._sets: dict[str, Images] = {}
        out.mkdir(parents=True, exist_ok=True)

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
            return _drawn_images(split, first, count, self.classes)
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
        channels, size = images.images.shape[1], tuple(images.images.shape[-2:])
        model = make_network(network, channels, self.classes, (size[0], size[1]))
        path = self._path(name)
        if path.exists():
            model.load_state_dict(safetensors.torch.load_file(path))
            return model.to(self.device).eval()
        print(f"training: {name}", flush=True)
        torch.manual_seed(23)  # the paper's; results are not expected to repeat to the digit on other machines
        fit(model.to(self.device), images, self.scale)
        _keep({name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}, path)
        return model

    # perturbed sets

    def released(self, plan: str, target_source: str = "label") -> Images:
        """The owner's training set perturbed by a preset plan; with ``"random"``, each image toward a random class."""
        return self.perturbed("train", self.train, plan, target_source)

    def released_test(self, plan: str, target_source: str) -> Images:
        """The test set perturbed by a preset plan, from true labels or from what the base network takes images for."""
        return self.perturbed("test", self.test, plan, target_source)

    def perturbed(self, name: str, plain: Images, plan: str, target_source: str) -> Images:
        """Perturb a set, or read it if it was perturbed before."""
        path = self._path(f"perturbed {name} {plan} {target_source}")
        if not path.exists():
            base = self.base
            print(f"perturbing: {name}, plan {plan}, targets by {target_source}", flush=True)
            start = time.monotonic()
            images, farthest = self._perturb(base, plain, keys.CorrespondenceKey.preset(plan), target_source)
            print(f"  {time.monotonic() - start:.0f} s, largest L2 distance after rounding {farthest:.3f}", flush=True)
            _keep({"images": images}, path)
        return Images(safetensors.torch.load_file(path)["images"], plain.labels)

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
    def about(self) -> dict[str, object]:
        """Where the numbers come from."""
        return {"scale": asdict(self.scale), "source": self.source, "device": str(self.device)}

    @property
    def settings(self) -> PGDSettings:
        """Of every search."""
        step = 0.1 if self.scale.recipe == "sgd" else self.scale.eps / 5  # the paper's, whatever eps is
        return PGDSettings(self.scale.eps, step, self.scale.steps)

    def _path(self, name: str) -> Path:
        """Name a file after what decides its content."""
        told = json.dumps([name, asdict(self.scale), self.source, self.classes], sort_keys=True)
        return self.out / f"{name.replace(' ', '-')}-{hashlib.sha256(told.encode()).hexdigest()[:8]}.safetensors"


def _keep(tensors: dict[str, Tensor], path: Path) -> None:
    """Write a file whole or not at all: a run that is stopped leaves none that the next would trip over."""
    temporary = path.with_suffix(".part")
    safetensors.torch.save_file(tensors, temporary)
    temporary.replace(path)


def _drawn_images(split: str, first: int, count: int, classes: int) -> Images:
    """Draw images whose classes differ in a coarse pattern."""
    patterns = torch.rand(classes, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2 + first if split == "train" else 3)
    labels = torch.randint(0, classes, (count,), generator=generator)
    noise = torch.rand(count, 3, 32, 32, generator=generator)
    images = nn.functional.interpolate(patterns, scale_factor=8)[labels] * 0.6 + noise * 0.4
    return Images(images.mul(255).byte(), labels)


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


# Training


class Augmented:
    """Batches of a set, shuffled anew each epoch; colour images are shifted by up to an eighth and mirrored."""

    def __init__(self, images: Images, batch: int) -> None:
        self.images, self.batch = images, batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for part in torch.randperm(len(self.images.labels)).split(self.batch):
            batch = self.images.images[part].float() / 255
            yield (self._moved(batch) if batch.shape[1] == 3 else batch), self.images.labels[part]

    def _moved(self, batch: Tensor) -> Tensor:
        count, _, height, width = batch.shape
        margin = height // 8
        padded = nn.functional.pad(batch, (margin,) * 4)
        rows = torch.randint(0, 2 * margin + 1, (count, 1)) + torch.arange(height)
        columns = torch.randint(0, 2 * margin + 1, (count, 1)) + torch.arange(width)
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
        each = torch.arange(count)[:, None, None]
        return padded.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def fit(model: nn.Module, images: Images, scale: Scale, progress: Callable[[int, int], None] | None = None) -> None:
    """Train by the scale's recipe."""
    if scale.recipe == "adamw":
        training.fit(model, Augmented(images, 64), epochs=scale.epochs, progress=progress)
        return
    device = next(model.parameters()).device
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [100, 150, 200], 0.1)
    for epoch in range(scale.epochs):
        model.train()
        for part, labels in Augmented(images, 128):
            optimizer.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(part.to(device)), labels.to(device)).backward()
            optimizer.step()
        schedule.step()
        if progress is not None:
            progress(epoch + 1, scale.epochs)
    model.eval()


# Command line


def read_world(description: str | None, classes: int = 10) -> World:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="smoke")
    parser.add_argument("--source", help="training images, such as fashion-mnist:ROOT; without it some are drawn")
    parser.add_argument("--out", type=Path, default=Path("reproductions"), help="folder for results and what is kept")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--eps", type=float, help="radius of the ball, in pixel units, instead of the scale's")
    given = parser.parse_args()
    scale = SCALES[given.scale] if given.eps is None else replace(SCALES[given.scale], eps=given.eps)
    if given.source is None and given.scale != "check":
        parser.error("--source is needed at this scale")
    return World(scale, given.source, given.out, given.device, classes)
