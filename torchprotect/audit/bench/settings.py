"""Settings for the amount of work in an audit."""

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
    "targets": 2,  # a single image would always be found
    "inversion_pairs": 2,
    "inversion_epochs": 1,
}
_SEEDS = 2**63
_BATCH = 64  # images of a training step
_LEAST_STEPS = 96  # of a training: 48 leave a network of 750 small images guessing
_MOST_PASSES = 4  # largest factor by which epochs rise for a few dozen images


@dataclass(frozen=True)
class Settings:
    """How much work an audit does. The defaults suit ten thousand small images on two cores.

    Attributes:
        seed: seeds the split, every network and every attack that draws; no key depends on it.
        trainings: number of networks trained on plain images, and also on disguised ones, for the utility.
        train_images: largest number of training images for each of them.
        epochs: passes over these images; up to four times as many if there are too few images for 96 steps of 64
            images.
        targets: largest number of images that attacks rebuild; at least 2.
        pairs: numbers of known pairs (or of known images of the set, without pairs), ascending; numbers beyond the
            available ones are skipped.
        inversion_pairs: largest number of known pairs for learned inversion; at least 2.
        inversion_epochs: passes over these pairs.
        device: where attacks and networks run.
        pictures: whether the page shows plain, disguised and rebuilt images.

    Raises:
        InputRangeError: a number is not a whole number or too small; ``pairs`` is empty or not ascending; or the device
            is not given by name.
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
        """Half-precision dtype in which networks are trained, if the device computes fast in one."""
        return fast_precision(torch.device(self.device))

    def epochs_over(self, images: int) -> int:
        """Return the number of passes over this many images."""
        wanted = ceil(_LEAST_STEPS / ceil(images / _BATCH))
        return max(self.epochs, min(wanted, _MOST_PASSES * self.epochs))

    def faster(self) -> "Settings":
        """Return settings that take a fifth of the time: one training, fewer images, fewer points on a curve."""
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
