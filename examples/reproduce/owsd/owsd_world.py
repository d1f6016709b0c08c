"""What the tables of "One Way Scrambling by Deconvolution" (Savransky et al.) share: how much work to do, and numbers.

Keys come from the operating system's entropy, so numbers do not repeat to the digit with another ``--out``.
"""

import functools
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path

import owsd_bench
import scipy.special
import torch
from owsd_bench import IMAGENET, OWN, Bench, Sizes, Sources  # makes `common` importable

# isort: split
import common.world
import owsd_measures
from common.digest import code_digest
from common.images import test_split, without_folder
from common.kept import Kept
from common.table import Table as Table  # this and the next ones for the scripts of the tables
from common.table import highest as highest
from common.table import mean as mean
from common.table import minus as minus
from common.table import shown as shown
from common.table import spread as spread
from common.world import CommandLine, Given
from owsd_measures import Task

from torchprotect import owsd

COLUMNS = ["top-1", "±", "top-5", "embedding only: top-1", "top-5", "p", "cloud only: top-1", "top-5"]
"""Of a table; the ablations always come along. ``p``: of a paired t-test over folds, that answers add to embeddings."""
CLOUDS = {IMAGENET: "ImageNet's", OWN: "trained on CIFAR-10"}
FUNCTION = "The answer is a function of the embedding, so it says nothing that the embedding does not hold."
Found = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Scale(common.world.Scale):
    """How much work to do.

    Attributes:
        sizes: of sets and networks.
        inference: how inference networks are trained.
        images_per_label: of use case 5.
        pairs: known to the attacker, of the re-identification.
        candidates: among which it looks.
        known_labels: of the label probe.
        tested: images of which it guesses the labels.
        repeated: images that are sent twice.
        seeds: that the search tries.
        autoencoder_epochs: of its training.
        autoencoder_width: of its outermost layers.
    """

    sizes: Sizes
    inference: owsd.InferenceSettings
    images_per_label: tuple[int, ...]
    pairs: tuple[int, ...]
    candidates: int
    known_labels: tuple[int, ...]
    tested: int
    repeated: int
    seeds: int
    autoencoder_epochs: int
    autoencoder_width: int


_TWO_CORES = Sizes(
    images=2000,
    encoders=("efficientnet-lite0", "efficientnet-lite2", "efficientnet-lite1"),
    encoder_size=128,
    cloud="efficientnet-lite1",
    cloud_size=128,
    own_cloud="small-resnet",
    own_images=6000,
    own_epochs=8,
    key_size=128,
    width=16,
    calibration=256,
    pixels=32,
)

SCALES = {
    "check": Scale(
        folds=2,
        sizes=Sizes(
            images=100,
            encoders=("random:1", "random:2", "random:3"),
            encoder_size=32,
            cloud="random:3",
            cloud_size=32,
            own_cloud="small-resnet",
            own_images=60,
            own_epochs=1,
            key_size=16,
            width=4,
            calibration=32,
            pixels=16,
        ),
        inference=owsd.InferenceSettings(epochs=1),
        images_per_label=(2, 5),
        pairs=(5, 20),
        candidates=50,
        known_labels=(20,),
        tested=25,
        repeated=20,
        seeds=16,
        autoencoder_epochs=1,
        autoencoder_width=4,
    ),
    "smoke": Scale(
        folds=3,
        sizes=_TWO_CORES,
        inference=owsd.InferenceSettings(),
        images_per_label=(5, 10, 20, 35, 45, 100, 150),
        pairs=(10, 30, 100, 300, 1000),
        candidates=1000,
        known_labels=(10, 50, 100, 500, 1000),
        tested=500,
        repeated=200,
        seeds=4096,
        autoencoder_epochs=15,
        autoencoder_width=16,
    ),
    "full": Scale(
        folds=3,
        sizes=replace(_TWO_CORES, images=9000, own_images=40_000),
        # batches four times those of the package, at four times the paper's rate, for the time that it takes
        inference=owsd.InferenceSettings(batch_size=128, learning_rate=4e-4),
        images_per_label=(5, 10, 20, 35, 45, 100, 300, 800),
        pairs=(10, 30, 100, 300, 1000),
        candidates=1000,
        known_labels=(10, 50, 100, 500, 1000, 5000),
        tested=1000,
        repeated=200,
        seeds=4096,
        autoencoder_epochs=15,
        autoencoder_width=16,
    ),
    "paper": Scale(
        folds=5,
        sizes=Sizes(
            images=10_000,
            encoders=("timm:resnetv2_50", "resnet50", "resnet101"),
            encoder_size=224,
            cloud="inception_v3",
            cloud_size=299,
            own_cloud="vgg19",
            own_images=49_000,
            own_epochs=100,
            key_size=256,
            width=32,
            calibration=1000,
            pixels=128,
        ),
        inference=owsd.InferenceSettings(),
        images_per_label=(5, 10, 15, 20, 25, 30, 35, 40, 45, 100, 300, 900),
        pairs=(10, 30, 100, 300, 1000, 3000, 9000),
        candidates=1000,
        known_labels=(10, 50, 100, 500, 1000, 5000),
        tested=1000,
        repeated=200,
        seeds=65_536,
        autoencoder_epochs=50,
        autoencoder_width=32,
    ),
}


class World(common.world.World[Scale]):
    """Measured numbers of one reproduction.

    Args:
        given: on the command line; the source are the training images of one set with ten labels.
        scale: how much work to do.
        photographs: with ImageNet's labels, as for ``torchprotect export``; ``None``: there are none.
        confidential: test images of the set; ``None``: they lie where the name of the training images says.
    """

    def __init__(
        self, given: Given, scale: Scale, photographs: str | None = None, confidential: str | None = None
    ) -> None:
        public = given.sources[0] if given.sources else None
        sources = Sources(public, confidential or (public and test_split(public)), photographs)
        sizes: dict[str, object] = asdict(scale.sizes)
        sizes["confidential"] = sources.confidential and without_folder(sources.confidential)
        sizes |= {"source": given.shown_sources, "photographs": photographs and without_folder(photographs)}
        kept = Kept(given.out / "kept", sizes, *astuple(sources), code_digest(Path(owsd_bench.__file__)))
        bench = Bench(scale.sizes, sources, kept, torch.device(given.device))
        super().__init__(given, scale, bench, sizes)
        self.photographs = None if photographs is None else without_folder(photographs)

    @property
    def encoder(self) -> str:
        """The encoder where one is enough."""
        return self.scale.sizes.encoders[0]

    def infer(self, cloud: str, task: Task, encoders: tuple[str, ...] = ()) -> Found:
        """Return what inference networks get right on each fold, by inputs and number of guesses, in percent."""
        used, settings = encoders or (self.encoder,), self.scale.inference
        return self.each(owsd_measures.infer, cloud=cloud, encoders=used, task=task, settings=settings)


def numbers(found: Found, name: str = "both 1") -> list[float]:
    """Return one number of each fold."""
    return [each[name] for each in found]


def p_value(gains: Sequence[float]) -> float:
    """Return p of a paired t-test over folds for no gain; training images of folds overlap, so p is too low."""
    if any(map(math.isnan, gains)):
        return math.nan
    if len(set(gains)) < 2:
        return 0.0 if gains[0] > 0 else 1.0
    t = statistics.fmean(gains) / (statistics.stdev(gains) / math.sqrt(len(gains)))
    return float(scipy.special.stdtr(len(gains) - 1, -t))


def shown_p(gains: Sequence[float]) -> str:
    """Write the p of gains with the digits it has."""
    p = p_value(gains)
    return "not run" if math.isnan(p) else f"{p:.3f}" if p >= 0.001 else "below 0.001"


def adds(found: Found) -> list[float]:
    """Return by how much answers and embeddings do better than embeddings, on each fold."""
    return minus(numbers(found), numbers(found, "embedding 1"))


def row(found: Found, labels: int) -> list[str | float | None]:
    """Return what stands in a row, for :data:`COLUMNS`; five guesses of five labels are always right."""
    both, embedding, cloud = (mean(numbers(found, f"{inputs} 1")) for inputs in ("both", "embedding", "cloud"))
    fives = [mean(numbers(found, f"{i} 5")) if labels > 5 else None for i in ("both", "embedding", "cloud")]
    return [both, spread(numbers(found)), fives[0], embedding, fives[1], shown_p(adds(found)), cloud, fives[2]]


_open = functools.cache(World)  # scripts that run in one process share what they measure


def read_world(description: str | None) -> World:
    """Read the command line."""
    sources = "training images of CIFAR-10: cifar10:ROOT, or a pattern of shards"
    options = CommandLine(description, SCALES, "owsd", sources)
    options.parser.add_argument("--confidential", help="test images, if not named as the training images are")
    options.parser.add_argument("--photographs", help="with ImageNet's labels, for Table 5 and Figure 4")
    options.parser.add_argument("--encoder", action="append", help="network by name, once for each; not the scale's")
    options.parser.add_argument("--cloud", help="ImageNet network by name; not the scale's")
    found, given = options.read(sources=1)
    scale = SCALES[given.scale]
    sizes = scale.sizes
    sizes = replace(sizes, encoders=tuple(found.encoder or sizes.encoders), cloud=found.cloud or sizes.cloud)
    return _open(given, replace(scale, sizes=sizes), found.photographs, found.confidential)
