"""What the tables of "Image Disguising" (Sharma, Alam, Chen) share: how much work to do, and measured numbers."""

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import disguise_bench
import torch
from disguise_bench import BATCH, RECIPE, Bench, Sizes  # makes `common` importable

# isort: split
import common.world
import disguise_measures
from common.digest import code_digest
from common.kept import Kept
from common.table import Table as Table  # this and the next ones for the scripts of the figures
from common.table import highest as highest
from common.table import lowest as lowest
from common.table import mean as mean
from common.table import minus as minus
from common.table import numbers as numbers
from common.table import shown as shown
from common.table import spread as spread
from common.world import CommandLine, Given
from owner import Disguise

DRAWN = ("mnist", "fashion-mnist")  # without sources, sets of these names are drawn


@dataclass(frozen=True)
class Scale(common.world.Scale):
    """How much work to do.

    Attributes:
        sizes: of sets and trainings.
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

    sizes: Sizes
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
        sizes=Sizes(train=60, test=40, epochs=1),
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
    "smoke": Scale(folds=3, sizes=Sizes(1500, 1000, 6)),
    "full": Scale(folds=3, sizes=Sizes(None, None, 5), attacked=2000),
    "paper": Scale(
        folds=5,
        sizes=Sizes(None, None, 20),
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
    """Measured numbers of one reproduction.

    Args:
        given: on the command line; sources are one for each set, such as ``mnist:ROOT``.
    """

    def __init__(self, given: Given) -> None:
        scale = SCALES[given.scale]
        sources: dict[str, str | None] = {source.partition(":")[0]: source for source in given.sources}
        sizes = {**asdict(scale.sizes), "recipe": asdict(RECIPE), "batch": BATCH}
        device = torch.device(given.device)
        kept = Kept(given.out / "kept", sizes, given.sources, code_digest(Path(disguise_bench.__file__)))
        super().__init__(given, scale, Bench(scale.sizes, sources or dict.fromkeys(DRAWN), kept, device), sizes)
        self.sets = list(sources or DRAWN)

    def utility(self, name: str, disguise: Disguise) -> list[float]:
        """Return, for each fold, the accuracy of a network trained and tested on disguised images, in percent."""
        found = self.each(disguise_measures.utility, name=name, disguise=disguise)
        return [each["accuracy"] for each in found]

    def codebook(
        self, name: str, disguise: Disguise, pairs: int, fallback: str = "random-patch"
    ) -> list[Mapping[str, float]]:
        """Return what the codebook attack finds on each fold."""
        attacked, measure = self.scale.attacked, disguise_measures.codebook
        return self.each(measure, name=name, disguise=disguise, pairs=pairs, attacked=attacked, fallback=fallback)

    def regression(self, name: str, noise: float, pairs: int, *, as_paper: bool) -> list[Mapping[str, float]]:
        """Return what the regression attack finds on each fold."""
        attacked, measure = self.scale.attacked, disguise_measures.regression
        return self.each(measure, name=name, noise=noise, pairs=pairs, attacked=attacked, as_paper=as_paper)

    def reidentification(self, name: str, disguise: Disguise) -> list[float]:
        """Return the success rate of an examiner that is shown disguised images, on each fold, in percent."""
        return [each["success"] for each in self.each(disguise_measures.reidentification, name=name, disguise=disguise)]


@functools.cache  # scripts that run in one process share what they measure
def _open(given: Given) -> World:
    return World(given)


def read_world(description: str | None) -> World:
    """Read the command line."""
    sources = "training images, mnist:ROOT and fashion-mnist:ROOT; once for each"
    _, given = CommandLine(description, SCALES, "disguise", sources).read(sources=2)
    return _open(given)
