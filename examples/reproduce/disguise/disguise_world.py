"""What the reproductions of "Image Disguising" (Sharma, Alam, Chen) share.

A :class:`World` holds plain images, cuts random folds from them, makes an owner with fresh keys for each fold and
disguise, and trains networks. Accuracies are kept in the folder given by ``--out``, so that figures that share a
setting train for it once, and a run that was stopped goes on.

Keys come from the operating system's entropy, so numbers do not repeat to the digit.
"""

import functools
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent.parent))

import common.world
from common.images import Images, test_split
from common.table import Table as Table  # for the scripts of the figures
from common.world import CommandLine
from owner import CLASSES, PLAIN, SIZE, Disguise, Owner, crop

from torchprotect import attacks, data

LEARNING = {"batch_size": 32, "learning_rate": 5e-4}  # of every training; larger steps miss AES-disguised images
DRAWN = ("mnist", "fashion-mnist")  # without sources, sets of these names are drawn


@dataclass(frozen=True)
class Scale(common.world.Scale):
    """How much work to do.

    Attributes:
        folds: random samples of the sets, each with its own keys.
        train: training images of a fold; ``None`` takes all.
        test: test images of a fold; ``None`` takes all.
        epochs: of every training.
        aes_blocks: numbers of blocks of an AES-disguised image.
        rmt_sides: sides of the blocks of an RMT-disguised image, in pixels.
        noises: upper ends ``u`` of the noise, grey levels.
        amounts: shares of pixels that salt and pepper changes.
        codebook_pairs: numbers of known pairs of the codebook attack.
        regression_pairs: of the regression attack.
        attacked: disguised test images of a fold that are attacked.
        crowd: disguised images that the adaptive attacks choose from, and public ones they know.
        inversion_pairs: known pairs of the learned inversion.
        inversion_epochs: of its training.
    """

    folds: int
    train: int | None
    test: int | None
    epochs: int
    aes_blocks: tuple[int, ...] = (1, 4, 16, 64)
    rmt_sides: tuple[int, ...] = (4, 7, 14)
    noises: tuple[int, ...] = (0, 100, 200)
    amounts: tuple[float, ...] = (0.0, 0.02, 0.05)
    codebook_pairs: tuple[int, ...] = (1, 5, 20, 100, 1000, 5000)
    regression_pairs: tuple[int, ...] = (1, 2, 5, 20, 100)
    attacked: int = 500
    crowd: int = 5000
    inversion_pairs: int = 500
    inversion_epochs: int = 10


SCALES = {
    "check": Scale(
        folds=2,
        train=60,
        test=40,
        epochs=1,
        aes_blocks=(1, 64),
        rmt_sides=(7, 14),
        noises=(0, 200),
        amounts=(0.0, 0.02),
        codebook_pairs=(1, 20),
        regression_pairs=(1, 20),
        attacked=20,
        crowd=40,
        inversion_pairs=8,
        inversion_epochs=1,
    ),
    "smoke": Scale(3, 1500, 1000, 6),
    "paper": Scale(
        5,
        None,
        None,
        20,
        rmt_sides=(2, 4, 7, 14, 28),
        noises=(0, 25, 50, 100, 200),
        amounts=(0.0, 0.01, 0.02, 0.03, 0.05, 0.1),
        codebook_pairs=(1, 5, 10, 20, 50, 100, 1000, 10_000, 60_000),
        regression_pairs=(1, 2, 5, 10, 20, 50, 100),
        attacked=10_000,
        crowd=10_000,
        inversion_pairs=5000,
        inversion_epochs=50,
    ),
}


class World(common.world.World[Scale]):
    """Sets, folds, owners and networks of one reproduction.

    Args:
        scale: how much work to do.
        sources: plain images of each set, as for ``torchprotect export``, such as ``mnist:ROOT``; none: some are drawn.
        out: folder for results.
        device: where networks run.
    """

    def __init__(self, scale: Scale, sources: tuple[str, ...], out: Path, device: str) -> None:
        kept = (scale.train, scale.test, scale.epochs, LEARNING, sources)
        super().__init__(scale, sources, out, device, kept)
        self._by_name = {source.partition(":")[0]: source for source in sources} or dict.fromkeys(DRAWN)
        self._owners: dict[tuple[str, int, Disguise], Owner] = {}
        self._examiners: dict[tuple[str, int], attacks.DNNExaminer] = {}

    @property
    def sets(self) -> list[str]:
        """Names of the sets."""
        return list(self._by_name)

    @functools.cache  # noqa: B019 - there is one world, and it lives as long as the program
    def whole(self, name: str, split: str) -> Images:
        """Return a whole set."""
        source = self._by_name[name]
        if source is None:
            return _drawn_images(split)
        opened = data.open_source(source if split == "train" else test_split(source))
        images = torch.stack([opened[index].image for index in range(len(opened))])
        return Images(images, torch.tensor(opened.known_labels()))

    def sample(self, name: str, split: str, count: int | None, seed: int) -> Images:
        """Draw images of a set, or take all in a random order."""
        whole = self.whole(name, split)
        order = torch.randperm(len(whole.labels), generator=torch.Generator().manual_seed(seed))[:count]
        return Images(whole.images[order], whole.labels[order])

    def train(self, name: str, fold: int) -> Images:
        """Return the training images of a fold."""
        return self.sample(name, "train", self.scale.train, fold)

    def test(self, name: str, fold: int) -> Images:
        """Return the test images of a fold."""
        return self.sample(name, "test", self.scale.test, fold)

    def pairs(self, name: str, fold: int, count: int) -> Tensor:
        """Return training images that the attacker of a fold knows, of the whole set."""
        return self.sample(name, "train", count, fold).images

    def owner(self, name: str, fold: int, disguise: Disguise) -> Owner:
        """Return the owner of a fold, the same one each time in one run."""
        return self._owners.setdefault((name, fold, disguise), Owner(disguise))

    def utility(self, name: str, disguise: Disguise) -> list[float]:
        """Return, for each fold, the accuracy of a network trained and tested on disguised images, in percent."""
        return [self._accuracy(name, fold, disguise) for fold in range(self.scale.folds)]

    def examiner(self, name: str, fold: int) -> attacks.DNNExaminer:
        """Return the DNN examiner of a fold: the same network, trained on the plain training images."""
        if (name, fold) not in self._examiners:
            self._examiners[name, fold] = self._network(self.train(name, fold), SIZE)
        return self._examiners[name, fold]

    def success(self, name: str, fold: int, rebuilt: Tensor, labels: Tensor) -> float:
        """Return the attack success rate as the paper defines it, in percent."""
        baseline = self._accuracy(name, fold, PLAIN) / 100
        rate = attacks.examiner_score(self.examiner(name, fold), crop(rebuilt), labels, baseline).success_rate
        return 100 * (rate or 0.0)

    def _accuracy(self, name: str, fold: int, disguise: Disguise) -> float:
        def measure() -> float:
            torch.manual_seed(fold)  # of the noise
            owner, train, test = self.owner(name, fold, disguise), self.train(name, fold), self.test(name, fold)
            network = (
                self.examiner(name, fold)
                if disguise == PLAIN
                else self._network(Images(owner(train.images), train.labels), disguise.size)
            )
            accuracy = 100 * attacks.examiner_score(network, owner(test.images), test.labels).accuracy
            print(f"{name}, fold {fold}: {accuracy:.1f} % with {disguise}", flush=True)
            return accuracy

        return self.kept.number(("utility", name, fold, asdict(disguise)), measure)

    def _network(self, images: Images, size: int) -> attacks.DNNExaminer:
        """Train an AlexNet-like network behind a standardisation, on plain images or on disguised ones."""
        network = attacks.DNNExaminer(CLASSES, (size, size), device=self.device)
        generator = torch.Generator().manual_seed(23)
        return network.fit(images.images, images.labels, epochs=self.scale.epochs, generator=generator, **LEARNING)


def _drawn_images(split: str) -> Images:
    """Draw images whose classes differ in a coarse pattern on black."""
    patterns = torch.rand(CLASSES, 1, 7, 7, generator=torch.Generator().manual_seed(1)) > 0.5
    generator = torch.Generator().manual_seed(2 if split == "train" else 3)
    labels = torch.randint(0, CLASSES, (120,), generator=generator)
    whole = nn.functional.interpolate(patterns[labels].float(), scale_factor=4)
    return Images((whole * (100 + 155 * torch.rand(120, 1, 1, 1, generator=generator))).byte(), labels)


def mean(values: Iterable[float]) -> float:
    """Return the mean over folds."""
    return statistics.fmean(values)


def spread(values: list[float]) -> float | None:
    """Return the standard deviation over folds."""
    return statistics.stdev(values) if len(values) > 1 else None


_open = functools.cache(World)  # scripts that run in one process share what they make


def read_world(description: str | None) -> World:
    """Read the command line."""
    sources = "training images, mnist:ROOT and fashion-mnist:ROOT; once for each"
    given = CommandLine(description, SCALES, "disguise", sources).read(sources=2)
    return _open(SCALES[given.scale], given.source, given.out, given.device)
