"""What measurements on "Adversarial Data Encryption" (Hu et al., 2020) need: sets, networks, perturbed sets.

All are made when they are asked for, and kept: networks after every epoch, perturbed sets part by part.
"""

import random
import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

from common.digest import code_digest
from common.images import Images, draw_images, test_split
from common.kept import Kept
from common.networks import make_network
from common.trainings import fit

from torchprotect import adversarial, data, keys, training
from torchprotect.adversarial import PGDSettings

BATCH, PART = 250, 2500  # images of a forward pass, and of a file of perturbed images


@dataclass(frozen=True)
class Sizes:
    """What decides every number.

    Attributes:
        train: images of the owner's training set; ``None`` takes the whole training set of the source.
        other: images of the attacker's own set, which has none in common with any other: of the training set behind
            the owner's, or of the test set behind the test images if the owner takes the whole training set.
        test: images of the test set.
        base: the owner's network, which the perturbations are computed with.
        surrogate: the attacker's network, trained on clean images of its own.
        epochs: of every training, but that of the surrogate.
        other_epochs: of the surrogate.
        training: how, see :mod:`common.trainings`.
        eps: radius of the ball, in pixel units.
        step: of the search.
        steps: of the search.
        classes: only images of classes below this number are taken.
    """

    train: int | None
    other: int
    test: int
    base: str
    surrogate: str
    epochs: int
    other_epochs: int
    training: str
    eps: float
    step: float
    steps: int
    classes: int = 10


class Bench:
    """Sets, networks and perturbed sets of each repetition; repetitions differ in all seeds.

    Args:
        sizes: of sets, trainings and perturbations.
        source: plain images, as for ``torchprotect export``; none: some are drawn.
        folder: for networks and perturbed sets.
        device: where networks run.
        tests: test images; ``None``: they lie where the name of the source says.
    """

    def __init__(
        self, sizes: Sizes, source: str | None, folder: Path, device: torch.device, tests: str | None = None
    ) -> None:
        self.sizes, self.source, self.device, self._folder = sizes, source, device, folder
        self._tests = tests or (source and test_split(source))
        digest = code_digest(Path(__file__))
        self._kept = Kept(folder, asdict(sizes), source, digest)
        # networks trained on clean images do not depend on the search
        self._kept_clean = Kept(folder, asdict(replace(sizes, eps=0.0, step=0.0, steps=0)), source, digest)
        self._sets: dict[tuple[str, int, int | None], Images] = {}

    def resized(self, sizes: Sizes) -> "Bench":
        """Return a bench of other sizes on the same source."""
        return Bench(sizes, self.source, self._folder, self.device, self._tests)

    # clean sets

    @property
    def train(self) -> Images:
        """The owner's training set; of a folder, which has no test set, what the others leave."""
        first = self.sizes.test + self.sizes.other if self._test_split == "train" else 0
        return self._clean("train", first, self.sizes.train)

    @property
    def other(self) -> Images:
        """The attacker's own clean set, from the same distribution."""
        if self.sizes.train is None or self._test_split == "train":
            return self._clean(self._test_split, self.sizes.test, self.sizes.other)
        return self._clean("train", self.sizes.train, self.sizes.other)

    @property
    def test(self) -> Images:
        """The test set."""
        return self._clean(self._test_split, 0, self.sizes.test)

    @property
    def _test_split(self) -> str:
        is_folder = self.source is not None and Path(self.source).is_dir()
        return "train" if is_folder else "test"

    def _clean(self, split: str, first: int, count: int | None) -> Images:
        name = split, first, count
        if name not in self._sets:
            self._sets[name] = self._read(*name)
        return self._sets[name]

    def _read(self, split: str, first: int, count: int | None) -> Images:
        if self.source is None or self._tests is None:
            generator = torch.Generator().manual_seed(2 + first if split == "train" else 3 + first)
            labels = torch.randint(0, self.sizes.classes, (count or 40,), generator=generator)
            return draw_images(labels, self.sizes.classes, generator)
        source = data.open_source(self.source if split == "train" else self._tests)
        labels = torch.tensor(source.known_labels())
        order = torch.randperm(len(source), generator=torch.Generator().manual_seed(23))  # folders are sorted by class
        order = order[labels[order] < self.sizes.classes]
        chosen = order[first:] if count is None else order[first : first + count]
        if count is not None and len(chosen) < count:
            raise SystemExit(
                f"{self.source} has {len(order)} images for {split}, but {first + count} are needed at this scale"
            )
        return Images(torch.stack([source[index].image for index in chosen.tolist()]), labels[chosen])

    # networks

    def base(self, fold: int) -> nn.Module:
        """Return the owner's network, trained on the owner's clean set."""
        return self._trained(self._kept_clean, ("base",), self.sizes.base, self.train, fold)

    def surrogate(self, fold: int) -> nn.Module:
        """Return the attacker's network, trained on the attacker's clean set."""
        sizes = self.sizes
        return self._trained(self._kept_clean, ("surrogate",), sizes.surrogate, self.other, fold, sizes.other_epochs)

    def clean(self, network: str, fold: int) -> nn.Module:
        """Return a network trained on the owner's clean set by somebody else, from another seed than the base."""
        return self._trained(self._kept_clean, ("clean", network), network, self.train, fold)

    def victim(self, network: str, plan: str, fold: int, target_source: str = "label") -> nn.Module:
        """Return a network trained on the owner's set as released under a plan."""
        name = ("victim", network, plan, target_source)
        return self._trained(self._kept, name, network, self.released(plan, fold, target_source), fold)

    def _trained(
        self, kept: Kept, name: tuple[str, ...], network: str, images: Images, fold: int, epochs: int | None = None
    ) -> nn.Module:
        """Train a network, or read its weights if it was trained before."""
        height, width = images.images.shape[-2:]

        def make() -> nn.Module:
            return make_network(network, images.images.shape[1], self.sizes.classes, (height, width)).to(self.device)

        def weights() -> dict[str, Tensor]:
            torch.manual_seed(zlib.crc32(repr((name, fold)).encode()))  # each network has its own
            checkpoint = kept.path("training", *name, fold).with_suffix(".checkpoint")
            return fit(make(), images, self.sizes.training, epochs or self.sizes.epochs, checkpoint).state_dict()

        model = make()
        model.load_state_dict(kept.tensors((*name, fold), weights))
        return model.to(memory_format=torch.channels_last).eval()

    # perturbed sets

    def released(self, plan: str, fold: int, target_source: str = "label") -> Images:
        """Return the owner's training set perturbed by a preset plan; ``"random"``: each toward a random class."""
        return self.perturbed("train", self.train, plan, fold, target_source)

    def released_test(self, plan: str, fold: int, target_source: str) -> Images:
        """Return the test set perturbed by a preset plan, from true labels or from the base network's answers."""
        return self.perturbed("test", self.test, plan, fold, target_source)

    def perturbed(self, name: str, plain: Images, plan: str, fold: int, target_source: str) -> Images:
        """Perturb a set, or read what was perturbed before.

        Plans share targets: the first of each class is that of ``basic`` in all of them. So each version of an image,
        perturbed toward one target, is searched once and kept, and a plan mixes versions.
        """
        key = keys.CorrespondenceKey.preset(plan)
        maps = ["random"] if target_source == "random" else [tuple(column) for column in key.targets.T.tolist()]
        versions = [self._searched(name, plain, targets, fold, target_source) for targets in maps]
        done = []
        for start in range(0, len(plain.labels), PART):
            parts = torch.stack([version[start : start + PART] for version in versions])
            _, weights = key.of(plain.labels[start : start + PART])  # the same for all classes
            mixed = parts[0] if len(maps) == 1 else adversarial.combine(key.mix_mode, parts, weights)
            done.append(mixed.mul(255).round().byte())
        return Images(torch.cat(done), plain.labels)

    def _searched(
        self, name: str, plain: Images, targets: Sequence[int] | str, fold: int, target_source: str
    ) -> Tensor:
        """Return float images, each perturbed toward the target of its class, on the CPU."""
        parts = [Images(*part) for part in zip(plain.images.split(PART), plain.labels.split(PART), strict=True)]
        found = {}
        for number in random.sample(range(len(parts)), len(parts)):  # several processes share the work

            def make(number: int = number) -> Tensor:
                return self._search(parts[number], targets, fold, target_source, number)

            found[number] = self._kept.tensor(("searched", name, targets, target_source, fold, number), make)
        return torch.cat([found[number] for number in sorted(found)])

    def _search(self, plain: Images, targets: Sequence[int] | str, fold: int, target_source: str, part: int) -> Tensor:
        base, done = self.base(fold), []
        generator = torch.Generator().manual_seed(1000 * fold + part)  # of random targets
        for images, labels in batches(plain, self.device):
            if isinstance(targets, str):
                away = torch.randint(1, self.sizes.classes, labels.shape, generator=generator).to(labels.device)
                wanted = (labels + away) % self.sizes.classes
            else:
                classes = predict(base, images) if target_source == "predicted" else labels
                wanted = torch.tensor(targets, device=labels.device)[classes]
            done.append(adversarial.pgd_l2(base, images, wanted, **asdict(self.settings)).images.cpu())
        return torch.cat(done)

    @property
    def settings(self) -> PGDSettings:
        """Of every search."""
        precision = training.fast_precision(self.device)
        sizes = self.sizes
        return PGDSettings(sizes.eps, sizes.step, sizes.steps, precision=precision, channels_last=True)


def batches(images: Images, device: torch.device, size: int = BATCH) -> Iterator[tuple[Tensor, Tensor]]:
    """Return images in 0..1 and labels, part by part."""
    for part, labels in zip(images.images.split(size), images.labels.split(size), strict=True):
        yield part.to(device).float() / 255, labels.to(device)


def as_floats(images: Images) -> tuple[Tensor, Tensor]:
    """Return images in 0..1 and labels."""
    return images.images.float() / 255, images.labels


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Return the class that a network takes each float image for."""
    predicted: Tensor = model(images.contiguous(memory_format=torch.channels_last)).argmax(1)
    return predicted


def predictions(model: nn.Module, images: Images, device: torch.device) -> Tensor:
    """Return the class that a network takes each image of a set for, on the CPU."""
    return torch.cat([predict(model, part).cpu() for part, _ in batches(images, device)])


def accuracy(model: nn.Module, images: Images, device: torch.device) -> float:
    """Return the share of right answers in percent."""
    return 100 * float((predictions(model, images, device) == images.labels).float().mean())
