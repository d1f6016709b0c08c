"""What the reproductions of "Image Disguising" (Sharma, Alam, Chen) share.

A :class:`World` holds plain images, cuts random folds from them, makes an owner with fresh keys for each fold and
disguise, and trains networks. Accuracies are kept in the folder given by ``--out``, so that figures that share a
setting train for it once, and a run that was stopped goes on.

Keys come from the operating system's entropy, so numbers do not repeat to the digit.
"""

import argparse
import functools
import hashlib
import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from _shared import Table as Table  # for the scripts of the figures
from _shared import test_split
from Crypto.Cipher import AES
from Crypto.Random import get_random_bytes
from torch import Tensor, nn

from torchprotect import attacks, data, functional, keys, transforms

SIZE, PADDED, CLASSES = 28, 32, 10
LEARNING = {"batch_size": 32, "learning_rate": 5e-4}  # of every training; larger steps miss AES-disguised images
MARGIN = (PADDED - SIZE) // 2


class Images(NamedTuple):
    """Images uint8 ``[N, 1, 28, 28]`` and their labels int64 ``[N]``."""

    images: Tensor
    labels: Tensor

    def first(self, count: int) -> "Images":
        """Return the first of them."""
        return Images(self.images[:count], self.labels[:count])


@dataclass(frozen=True)
class Scale:
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


@dataclass(frozen=True)
class Disguise:
    """A way to disguise images, without its keys.

    Attributes:
        kind: ``"none"``, ``"permute"``, ``"rmt"``, ``"aes"`` (ECB), ``"cbc"`` (one initial vector for all images), or
            ``"cbc-fresh"`` (new ones for each image).
        side: of the blocks, in pixels.
        noise: upper end of the noise in grey levels (RMT); share of salt and pepper (AES).
        unit_pixels: of AES-ECB.
        matrix: of RMT.
    """

    kind: str
    side: int = 7
    noise: float = 0.0
    unit_pixels: int = 16
    matrix: str = "orthogonal"

    @property
    def size(self) -> int:
        """Side of the images: AES needs blocks of whole units, so that images are padded for it."""
        return PADDED if self.kind in ("aes", "cbc", "cbc-fresh") else SIZE


PLAIN = Disguise("none")


class Owner:
    """Whoever has the keys of a disguise. More than one block is also moved, by one secret order."""

    def __init__(self, disguise: Disguise) -> None:
        self.disguise, self.block_size = disguise, (disguise.side, disguise.side)
        size = {"image_size": (disguise.size, disguise.size), "block_size": self.block_size}
        moved = disguise.kind == "permute" or disguise.side < disguise.size
        permutation = keys.PermutationKey.generate(**size) if moved and disguise.kind != "none" else None
        self.order = None if permutation is None else permutation.order
        self._apply = self._steps(size, permutation)

    def __call__(self, images: Tensor) -> Tensor:
        """Disguise uint8 images ``[N, 1, 28, 28]``."""
        return torch.cat([self._apply(part) for part in pad(images, self.disguise.size).split(1000)])

    def _steps(
        self, size: dict[str, tuple[int, int]], permutation: keys.PermutationKey | None
    ) -> Callable[[Tensor], Tensor]:
        disguise = self.disguise
        if disguise.kind == "rmt":
            key = keys.RMTKey.generate(**size, matrix=disguise.matrix)
            return lambda images: functional.rmt_disguise(
                images, key, disguise.noise * torch.rand(images.shape), permutation
            )
        if disguise.kind == "permute":
            return transforms.BlockPermute(permutation)
        if disguise.kind == "none":
            return lambda images: images
        table = keys.AESKey.generate(**size)
        if disguise.kind.startswith("cbc"):
            vectors = [get_random_bytes(16) for _ in range(table.positions)] if disguise.kind == "cbc" else None
            return functools.partial(_cbc, table=table, vectors=vectors, permutation=permutation)
        ecb = transforms.AESECBDisguise(table, permutation=permutation, unit_pixels=disguise.unit_pixels)
        pepper = transforms.SaltAndPepper(disguise.noise)
        return lambda images: ecb(pepper(images) if disguise.noise else images)


def _cbc(
    images: Tensor, *, table: keys.AESKey, vectors: list[bytes] | None, permutation: keys.PermutationKey | None
) -> Tensor:
    """Run AES-CBC along each block, row-major, with the key of its position; without vectors, each block has a new one.

    With one vector for all images, equal beginnings of a block stay equal; a block of 4 x 4 pixels is one unit, for
    which this is ECB of the unit combined with a constant.
    """
    side, out = table.block_size[0], images.clone()
    for position in range(table.positions):
        row, column = (side * part for part in divmod(position, PADDED // side))
        place = (..., slice(row, row + side), slice(column, column + side))
        key, done = bytes(table.keys[position, 0].tolist()), bytearray()
        for block in images[place].flatten(1).contiguous().numpy():
            vector = get_random_bytes(16) if vectors is None else vectors[position]
            done += AES.new(key, AES.MODE_CBC, vector).encrypt(block.tobytes())
        out[place] = torch.frombuffer(done, dtype=torch.uint8).reshape(images[place].shape)
    return out if permutation is None else functional.block_permute(out, permutation)


def pad(images: Tensor, size: int) -> Tensor:
    """Put black around images ``[N, 1, 28, 28]``."""
    return nn.functional.pad(images, ((size - SIZE) // 2,) * 4)


def crop(images: Tensor) -> Tensor:
    """Take what :func:`pad` put around away."""
    return images if images.shape[-1] == SIZE else images[..., MARGIN:-MARGIN, MARGIN:-MARGIN]


class World:
    """Sets, folds, owners and networks of one reproduction.

    Args:
        scale: how much work to do.
        sources: plain images by name of the set, as for ``torchprotect export``; ``None`` draws some.
        out: folder for what is kept.
        device: where networks run.
    """

    def __init__(self, scale: Scale, sources: dict[str, str | None], out: Path, device: str) -> None:
        self.scale, self.sources, self.out, self.device = scale, sources, out, device
        out.mkdir(parents=True, exist_ok=True)
        told = json.dumps([scale.train, scale.test, scale.epochs, LEARNING, sources], sort_keys=True)
        self._file = out / f"disguise-kept-{hashlib.sha256(told.encode()).hexdigest()[:8]}.json"
        self._kept: dict[str, float] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._owners: dict[tuple[str, int, Disguise], Owner] = {}
        self._examiners: dict[tuple[str, int], attacks.DNNExaminer] = {}

    @property
    def about(self) -> dict[str, object]:
        """Where the numbers come from."""
        shown = ["drawn" if source is None else f"{name}:ROOT" for name, source in self.sources.items()]
        return {"scale": asdict(self.scale), "source": ", ".join(shown), "device": self.device}

    @property
    def sets(self) -> list[str]:
        """Names of the sets."""
        return list(self.sources)

    @functools.cache  # noqa: B019 - there is one world, and it lives as long as the program
    def whole(self, name: str, split: str) -> Images:
        """Return a whole set."""
        source = self.sources[name]
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

        return self._keep(f"utility {name} {fold} {disguise}", measure)

    def _network(self, images: Images, size: int) -> attacks.DNNExaminer:
        """Train an AlexNet-like network behind a standardisation, on plain images or on disguised ones."""
        network = attacks.DNNExaminer(CLASSES, (size, size), device=self.device)
        generator = torch.Generator().manual_seed(23)
        return network.fit(images.images, images.labels, epochs=self.scale.epochs, generator=generator, **LEARNING)

    def _keep(self, name: str, measure: Callable[[], float]) -> float:
        if name not in self._kept:
            self._kept[name] = measure()
            self._file.write_text(json.dumps(self._kept, indent=1))
        return self._kept[name]


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


@functools.cache
def _world(scale: str, sources: tuple[str, ...], out: Path, device: str) -> World:
    named: dict[str, str | None] = {source.partition(":")[0]: source for source in sources}
    return World(SCALES[scale], named or {"mnist": None, "fashion-mnist": None}, out, device)


def read_world(description: str | None) -> World:
    """Read the command line; scripts that run in one process share what they make."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="smoke")
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        help="training images, mnist:ROOT and fashion-mnist:ROOT; once for each",
    )
    parser.add_argument("--out", type=Path, default=Path("reproductions"), help="folder for results and what is kept")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    if not given.source and given.scale != "check":
        parser.error("--source is needed at this scale")
    return _world(given.scale, tuple(given.source), given.out, given.device)
