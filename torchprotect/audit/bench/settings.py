"""How much an audit does."""

from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil
from typing import Any

import torch

from torchprotect._inputs import require_int
from torchprotect.errors import InputRangeError
from torchprotect.training import fast_precision

_LEAST = {
    "seed": 0,
    "trainings": 1,
    "train_images": 2,  # a network is not trained on a single image
    "epochs": 1,
    "targets": 2,  # one image alone is always found again
    "inversion_pairs": 2,
    "inversion_epochs": 1,
}
_SEEDS = 2**63
_BATCH = 64  # images of a training step
_LEAST_STEPS = 96  # of a training: 48 leave a network of 750 small images guessing
_MOST_PASSES = 4  # times the epochs: what a few dozen images may cost


@dataclass(frozen=True)
class Settings:
    """How much an audit does. The defaults are for ten thousand small images on two cores.

    Attributes:
        seed: of the split, of every network and of every attack that draws; no key depends on it.
        trainings: networks trained on plain images, and as many on disguised ones, for the utility.
        train_images: images that each of them is trained on, at most.
        epochs: passes over these; up to four times as many where images are too few for 96 steps of 64 images.
        targets: images that attacks rebuild, at most; 2 or more.
        pairs: numbers of known pairs, or of known images of the set without pairs, ascending, as far as there are so
            many.
        inversion_pairs: known pairs of the learned inversion, at most; 2 or more.
        inversion_epochs: passes over these.
        device: where attacks and networks run.
        pictures: whether the page shows plain, disguised and rebuilt images.

    Raises:
        InputRangeError: a number is no whole number, or too small; ``pairs`` are none or do not rise; the device is not
            given by its name.
    """

    seed: int = 0
    trainings: int = 3
    train_images: int = 4000
    epochs: int = 6
    targets: int = 1000
    pairs: tuple[int, ...] = (1, 5, 20, 100, 1000)
    inversion_pairs: int = 1000
    inversion_epochs: int = 10
    device: str = "cpu"
    pictures: bool = True

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            require_int(name, getattr(self, name), at_least=least)
        require_int("seed", self.seed, at_most=_SEEDS - 1)
        if not _rises(self.pairs):
            raise InputRangeError(
                f"pairs are whole numbers of at least 1 in a tuple, each larger than the one before, such as (5, 100), "
                f"not {self.pairs!r}"
            )
        if not isinstance(self.device, str):
            raise InputRangeError(f"device must be a name such as 'cpu' or 'cuda', not {self.device!r}")

    @property
    def precision(self) -> torch.dtype | None:
        """What networks are trained in: the half precision that the device computes fast in, if there is one."""
        return fast_precision(torch.device(self.device))

    def epochs_over(self, images: int) -> int:
        """Return the passes over so many images."""
        wanted = ceil(_LEAST_STEPS / ceil(images / _BATCH))
        return max(self.epochs, min(wanted, _MOST_PASSES * self.epochs))

    def faster(self) -> "Settings":
        """Return settings for a fifth of the time: one training, fewer images, fewer points on a curve."""
        return replace(
            self,
            trainings=1,
            train_images=3000,
            epochs=4,
            targets=500,
            pairs=(5, 100, 1000),
            inversion_pairs=500,
            inversion_epochs=5,
        )


def _rises(pairs: Any) -> bool:
    if not isinstance(pairs, tuple) or not pairs:
        return False
    return all(type(each) is int and each >= 1 for each in pairs) and all(less < more for less, more in pairwise(pairs))
