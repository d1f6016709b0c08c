"""What the tables of "One Way Scrambling by Deconvolution" share: how much work to do, and measured numbers."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import scipy.stats
import torch
from owsd_bench import CLASSES, IMAGENET, OWN, Bench, Sizes  # makes `common` importable

# isort: split
import common.world
from common.images import without_folder
from common.table import Table as Table  # this and the next ones for the scripts of the tables
from common.table import mean as mean
from common.table import minus as minus
from common.table import numbers as numbers
from common.table import spread as spread
from common.world import CommandLine, Given

COLUMNS = ["top-1", "±", "top-5", "embedding only: top-1", "top-5", "p", "cloud only: top-1", "top-5"]
"""Of a table; the ablations always come along. ``p``: of a paired t-test over runs, that answers add to embeddings."""
CLOUDS = {OWN: "trained on CIFAR-10", IMAGENET: "ImageNet's, other labels"}
FUNCTION = "The answer is a function of the embedding: it can help the training where images are few, nothing else."

Found = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Scale(common.world.Scale):
    """How much work to do.

    Attributes:
        sizes: of images, networks and keys.
        encoders: networks by name; the first one is that of ``sizes``.
        images_per_label: of use case 5.
        pairs: known to the attacker, of the re-identification.
        candidates: among which it looks.
        known_labels: of the label probe.
        tested: images whose label is guessed.
        seeds: that the search tries.
        pixels: side of images that the autoencoder reads and writes.
        autoencoder_epochs: of its training.
        autoencoder_width: of its outermost layers.
        drawn: images of each kind in Figure 4.
    """

    sizes: Sizes
    encoders: tuple[str, ...]
    images_per_label: tuple[int, ...]
    pairs: tuple[int, ...]
    candidates: int
    known_labels: tuple[int, ...]
    tested: int
    seeds: int
    pixels: int
    autoencoder_epochs: int
    autoencoder_width: int
    drawn: int


LITE = ("efficientnet-lite0", "efficientnet-lite2", "efficientnet-lite1")
SCALES = {
    "check": Scale(
        folds=2,
        sizes=Sizes(100, "random:1", 32, "random:4", 32, "small-vgg", 100, 1, "adamw", 16, 4, 32),
        encoders=("random:1", "random:2", "random:3"),
        images_per_label=(2, 5),
        pairs=(5, 20),
        candidates=50,
        known_labels=(20, 50),
        tested=25,
        seeds=16,
        pixels=16,
        autoencoder_epochs=1,
        autoencoder_width=4,
        drawn=4,
    ),
    "smoke": Scale(
        folds=3,
        sizes=Sizes(2000, LITE[0], 128, LITE[2], 128, "small-resnet", 6000, 8, "adamw", 128, 32, 256),
        encoders=LITE,
        images_per_label=(5, 10, 20, 35, 45, 100, 150),
        pairs=(10, 30, 100, 300, 1000),
        candidates=1000,
        known_labels=(10, 50, 100, 500, 1000),
        tested=500,
        seeds=4096,
        pixels=32,
        autoencoder_epochs=15,
        autoencoder_width=16,
        drawn=33,
    ),
    "full": Scale(
        folds=3,
        sizes=Sizes(10_000, LITE[0], 128, LITE[2], 128, "vgg", 25_000, 6, "one-cycle", 128, 32, 1000),
        encoders=LITE,
        images_per_label=(5, 10, 15, 20, 25, 30, 35, 40, 45, 100, 300, 900),
        pairs=(10, 30, 100, 300, 1000, 3000, 9000),
        candidates=1000,
        known_labels=(10, 50, 100, 500, 1000, 5000),
        tested=2000,
        seeds=4096,
        pixels=32,
        autoencoder_epochs=15,
        autoencoder_width=32,
        drawn=33,
    ),
    "paper": Scale(
        folds=5,
        sizes=Sizes(
            10_000, "timm:resnetv2_50", 224, "inception_v3", 299, "vgg19", 49_000, 100, "one-cycle", 256, 32, 1000
        ),
        encoders=("timm:resnetv2_50", "resnet50", "resnet101"),
        images_per_label=(5, 10, 15, 20, 25, 30, 35, 40, 45, 100, 300, 900),
        pairs=(10, 30, 100, 300, 1000, 3000, 9000),
        candidates=1000,
        known_labels=(10, 50, 100, 500, 1000, 5000),
        tested=2000,
        seeds=65_536,
        pixels=128,
        autoencoder_epochs=50,
        autoencoder_width=32,
        drawn=20,
    ),
}


class World(common.world.World[Scale]):
    """Measured numbers of one reproduction.

    Args:
        given: on the command line; one source at most, with ten labels.
        scale: how much work to do.
        photographs: pictures with ImageNet's labels, as for ``torchprotect export``.
    """

    def __init__(self, given: Given, scale: Scale, photographs: str | None = None) -> None:
        source = given.sources[0] if given.sources else None
        bench = Bench(scale.sizes, source, photographs, given.out / "kept", torch.device(given.device))
        told = {"source": given.shown_sources, "photographs": photographs and without_folder(photographs)}
        super().__init__(given, scale, bench, {**asdict(scale.sizes), **told})
        self.has_photographs = photographs is not None or source is None

    @property
    def encoder(self) -> str:
        """The encoder where one is enough."""
        return self.scale.sizes.encoder

    def encoders_beside(self, cloud: str) -> list[str]:
        """Return the encoders that may be used with a cloud: it is none of them."""
        return [each for each in self.scale.encoders if cloud != IMAGENET or each != self.scale.sizes.cloud]


def cells(found: Found, classes: int = CLASSES) -> list[str | float | None]:
    """Return what stands in a row, for :data:`COLUMNS`; five guesses of five labels are always right."""
    both, embedding, cloud = (numbers(found, f"{inputs} 1") for inputs in ("both", "embedding", "cloud"))
    fives = [mean(numbers(found, f"{inputs} 5")) if classes > 5 else None for inputs in ("both", "embedding", "cloud")]
    gain = p_of(minus(both, embedding))
    return [mean(both), spread(both), fives[0], mean(embedding), fives[1], gain, mean(cloud), fives[2]]


def p_of(gains: Sequence[float]) -> str:
    """Return p of a paired t-test for no gain; the splits overlap, so p is too low."""
    if any(gain != gain for gain in gains):
        return "not run"
    p = float(scipy.stats.ttest_1samp(gains, 0, alternative="greater").pvalue) if len(set(gains)) > 1 else 1.0
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"


@functools.cache  # scripts that run in one process share what they measure
def _open(given: Given, scale: Scale, photographs: str | None) -> World:
    return World(given, scale, photographs)


def read_world(description: str | None) -> World:
    """Read the command line."""
    sources = "training images of CIFAR-10: cifar10:ROOT, or a pattern of shards"
    options = CommandLine(description, SCALES, "owsd", sources)
    options.parser.add_argument("--photographs", help="an image folder or a pattern of shards with ImageNet's labels")
    options.parser.add_argument("--encoder", action="append", help="network by name, once for each; not the scale's")
    options.parser.add_argument("--cloud", help="ImageNet network by name; not the scale's")
    found, given = options.read(sources=1)
    scale = SCALES[given.scale]
    encoders = tuple(found.encoder or scale.encoders)
    sizes = replace(scale.sizes, encoder=encoders[0], cloud=found.cloud or scale.sizes.cloud)
    return _open(given, replace(scale, encoders=encoders, sizes=sizes), found.photographs)
