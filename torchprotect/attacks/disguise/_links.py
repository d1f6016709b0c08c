"""Link known plain images to disguised ones, and keep only links that nothing contradicts."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.attacks.disguise.linkage import comparable, features_of
from torchprotect.attacks.neighbours import nearest
from torchprotect.errors import InputRangeError

_RATIO = 0.8  # the first guess must be this much nearer than the second (Lowe)
_BEYOND_NOISE = 0.3  # the same for distances beyond noise: images that were not saved exactly still pass
_SPREAD = 1.5  # squared distances of right links under noise, as a multiple of what is expected
_ROUNDING = 0.01  # relative to second distances: first distances this small are rounding errors of images without noise


@dataclass(frozen=True, eq=False)
class Links:
    """The most similar disguised image for each known one, int64 ``[K]``, and which links are kept, bool ``[K]``."""

    guesses: Tensor
    kept: Tensor

    @property
    def count(self) -> int:
        """Number of links that are kept."""
        return int(self.kept.sum())


class Linker:
    """Links known plain images to disguised ones, under a sequence of block orders.

    A link is kept if three conditions hold: its disguised image is clearly nearer to the known one than any other (the
    ratio test); it is about as near as the noise allows, if that is known; and no other plain image is nearer to it.
    Images that are not in the set mostly fail. Of equal disguised images, only the first is considered.

    Args:
        reading: determines what is compared.
        plain: the known images, followed by others that represent the statistics of the set.
        known: number of known images.
        disguised: the images to search.

    Attributes:
        known: number of known images.
        features: numbers compared per image.
        comparisons: comparisons so far of a known image and a disguised one.

    Raises:
        InputRangeError: there are no two different disguised images.
    """

    def __init__(self, reading: Reading, plain: Tensor, known: int, disguised: Tensor) -> None:
        self._candidates = _first_of_equal(disguised)
        if len(self._candidates) < 2:
            raise InputRangeError("links are told from second guesses: two different disguised images are needed")
        self._mine, theirs = features_of(reading, plain, disguised)
        self._theirs = theirs[:, self._candidates]
        self._noise = _expected_squares(reading, plain[:known], disguised)
        self.known, self.comparisons = known, 0
        self.features = theirs.shape[0] * theirs.shape[2]

    def link(self, order: Tensor | None) -> Links:
        """Link the known images under an order; without one, features are sorted over the positions.

        Args:
            order: int64 ``[positions]``, the original block at each position.
        """
        mine, theirs = comparable(self._mine, self._theirs, order)
        self.comparisons += self.known * len(theirs)
        guesses, distances = nearest(mine[: self.known], theirs, 2)
        first, second = distances.unbind(1)
        in_turn = nearest(theirs[guesses[:, 0]], mine, 1)[1][:, 0]
        kept = (first < _RATIO * second) & (first <= in_turn + _ROUNDING * second)
        if self._noise is not None:
            kept &= first.square() <= _SPREAD * self._noise + (_BEYOND_NOISE * second).square()
        return Links(self._candidates[guesses[:, 0]], kept)


def _expected_squares(reading: Reading, known: Tensor, disguised: Tensor) -> Tensor | None:
    """Return the expected squared distance of a right link due to noise, ``[K]``; ``None`` if unknown.

    With n the noise and x a line of ``m`` pixels, a product of two lines has the variance of ``x n' + n x' + n n'``,
    counted twice, and an energy that of ``2 x n + n n``. The squares of noise that is uniform in 0..u have the variance
    ``u**4 / 180``.
    """
    if reading.scheme.preserved == "values":
        return known.new_zeros(len(known), dtype=torch.float32)
    if reading.scheme.preserved == "equality" or not reading.scheme.keeps_lengths:
        return None
    lines = reading.lines(known, disguised)[0]  # [positions, K, C, lines, m]
    number, length = lines.shape[3:]
    variance, fourth = reading.scheme.noise**2 / 12, reading.scheme.noise**4 / 180
    by_block = number * length * (fourth + (number - 1) * variance**2)
    energies = lines.square().sum((0, 2, 3, 4))
    return (2 * number + 2) * variance * energies + lines.shape[0] * lines.shape[2] * by_block


def _first_of_equal(images: Tensor) -> Tensor:
    """Return the index of the first image of each group of equal images, ascending, by a 64-bit hash of their bytes."""
    rows = images.contiguous().flatten(1).view(torch.uint8)
    padded = torch.nn.functional.pad(rows, (0, -rows.shape[1] % 8)).view(torch.int64)
    draws = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**63), 2**63 - 1, padded.shape[1:], generator=draws).to(images.device)
    _, group = (padded * factors).sum(1).unique(return_inverse=True)  # overflow wraps round
    index = torch.arange(len(images), device=images.device)
    first = torch.full((len(images),), len(images), device=images.device).scatter_reduce_(0, group, index, "amin")
    return first[first < len(images)].sort().values
