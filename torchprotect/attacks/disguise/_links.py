"""Links between known plain images and disguised ones, of which only those that nothing contradicts are kept."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.attacks.disguise.linkage import comparable, features_of
from torchprotect.attacks.neighbours import nearest
from torchprotect.errors import InputRangeError

_RATIO = 0.8  # the first guess must be this much nearer than the second (Lowe)
_BEYOND_NOISE = 0.3  # the same for what noise does not explain: images that were not saved exactly still pass
_SPREAD = 1.5  # squared distances of right links under noise, as a multiple of what is expected
_ROUNDING = 0.01  # of second distances: first ones this small are the rounding errors of images without noise


@dataclass(frozen=True, eq=False)
class Links:
    """The disguised image that is most like each known one, int64 ``[K]``, and which links are kept, bool ``[K]``."""

    guesses: Tensor
    kept: Tensor

    @property
    def count(self) -> int:
        """How many are kept."""
        return int(self.kept.sum())


class Linker:
    """Links the first of some plain images to disguised ones, under one order of the blocks after another.

    A link is kept if its disguised image is clearly nearer to the known one than any other is (the ratio test), if it
    is about as near as the noise allows where that can be told, and if none of the plain images is nearer to it in
    turn. Images that are not in the set mostly fail. Of equal disguised images the first one is looked at.

    Args:
        reading: says what is compared.
        plain: the known images, and others after them that stand for the statistics of the set.
        known: how many are known.
        disguised: the images to look through.

    Attributes:
        known: likewise.
        features: numbers compared of each image.
        comparisons: of a known image and a disguised one, made so far.

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
        """Link known images; without an order features are sorted over the positions, so that it makes no difference.

        Args:
            order: int64 ``[positions]``, the original block that lies at each position.
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
    """Return the squared distance that noise makes of a right link on average, ``[K]``; ``None`` where unknown.

    With n noise and x a line of ``m`` pixels, a product of two lines has the variance of ``x n' + n x' + n n'``, twice
    counted, and an energy that of ``2 x n + n n``; the squares of noise that is even in 0..u vary by ``u**4 / 180``.
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
    """Return the index of the first of each group of equal images, ascending, by a 64-bit hash of their bytes."""
    rows = images.contiguous().flatten(1).view(torch.uint8)
    padded = torch.nn.functional.pad(rows, (0, -rows.shape[1] % 8)).view(torch.int64)
    draws = torch.Generator().manual_seed(0)
    factors = torch.randint(-(2**63), 2**63 - 1, padded.shape[1:], generator=draws).to(images.device)
    _, group = (padded * factors).sum(1).unique(return_inverse=True)  # overflow wraps round
    index = torch.arange(len(images), device=images.device)
    first = torch.full((len(images),), len(images), device=images.device).scatter_reduce_(0, group, index, "amin")
    return first[first < len(images)].sort().values
