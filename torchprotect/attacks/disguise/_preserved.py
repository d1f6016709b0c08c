"""Properties of each block that a disguise preserves, computed in the same form from plain and disguised images."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torchprotect.attacks._inputs import require_images, require_plain, require_same_size
from torchprotect.attacks.disguise._blocks import cut, cut_units
from torchprotect.attacks.disguise._lookup import RowBook
from torchprotect.attacks.images import white_of
from torchprotect.attacks.scheme import Scheme
from torchprotect.errors import InputShapeError


@dataclass(frozen=True)
class Reading:
    """Computes the preserved properties of blocks, in the same form from plain and disguised images.

    All results are ``[positions, N, features]``. Equal blocks give equal features, apart from noise; for plain images
    the mean of the noise is included.

    Attributes:
        scheme: determines how they are computed.
    """

    scheme: Scheme

    def require(self, name: str, plain: Tensor, disguised: Tensor) -> None:
        """Check plain and disguised images of one size, on one device."""
        require_plain(f"{name} images", plain)
        require_images("disguised images", disguised)
        require_same_size(f"{name} images", plain, "disguised images", disguised)
        size = (disguised.shape[-2], disguised.shape[-1])
        if self.scheme.image_size not in (None, size):
            raise InputShapeError(f"the scheme is of images {self.scheme.image_size}, but disguised ones are {size}")

    def values(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pixels of each block, in grey levels."""
        first, second = self.blocks(plain, disguised)
        return first.flatten(2), second.flatten(2)

    def norms(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Return the norms of rows (columns): square roots of energies, whose noise is about the same everywhere."""
        first, second = self.lines(plain, disguised)
        spread = self.scheme.noise**2 / 12 * first.shape[-1]
        energies = (first.square().sum(-1) + spread, second.square().sum(-1))
        return energies[0].sqrt().flatten(2), energies[1].sqrt().flatten(2)

    def silhouettes(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Return 1 where a unit differs from the most frequent one at its position, and 0 otherwise."""
        first, second = (_features(_differs_from_most_frequent(self._units(each))) for each in (plain, disguised))
        return first, second

    def rarities(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logarithm of a unit's share among the units at its position in its own set.

        Shares too small to be distinguished in the smaller set count as equal.
        """
        least = 2 / min(len(plain), len(disguised))
        first, second = (
            _features((count_equal(self._units(each)) / len(each)).clamp(min=least).log())
            for each in (plain, disguised)
        )
        return first, second

    def agreements(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Return the index of the last earlier image with the same unit at its position, or the image's own index.

        Units agree in the same pairs of images if and only if these indices are equal. If all positions share a secret,
        there is a second number for each unit, which identifies in which images, and how often, it occurs at any
        position. Equal images have equal numbers, in whatever order their blocks are.
        """
        first, second = (_features(_last_equal(self._units(each))) for each in (plain, disguised))
        if self.scheme.shared:
            counted = (_features(_occurrences(self._units_anywhere(each))) for each in (plain, disguised))
            first, second = (torch.cat(pair, 2) for pair in zip((first, second), counted, strict=True))
        return first, second

    def repeats(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Return how frequent a unit is at any position, in its set and in its image: logarithms of share and number.

        For disguises whose positions share a secret. Shares are cut off as in :meth:`rarities`.
        """
        first, second = (self._units_anywhere(each) for each in (plain, disguised))
        least = 2 / min(first.numel(), second.numel())
        read = [
            torch.cat(
                [
                    _features((count_equal(numbers) / numbers.numel()).clamp(min=least).log()),
                    _features(_count_in_image(numbers).log()),
                ],
                2,
            )
            for numbers in (first, second)
        ]
        return read[0], read[1]

    def blocks(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Cut images into blocks in grey levels, float32 ``[positions, N, C, h, w]``."""
        own = 1 if plain.is_floating_point() else 255
        theirs = white_of(self.scheme, plain, disguised)
        first, second = (
            cut(each.float() * (255 // white), self.scheme.blocks)
            for each, white in ((plain, own), (disguised, theirs))
        )
        return first, second

    def lines(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Cut into rows (columns) ``[positions, N, C, lines, length]``, plain ones with the mean of the noise added."""
        first, second = self.blocks(plain, disguised)
        if self.scheme.side == "left":
            first, second = first.mT, second.mT
        return first + self.scheme.noise / 2, second

    def _units(self, images: Tensor) -> Tensor:
        return number_units(images, replace(self.scheme, shared=False))

    def _units_anywhere(self, images: Tensor) -> Tensor:
        return number_units(images, self.scheme)


def levels(norms: Tensor, channels: int, scheme: Scheme) -> Tensor:
    """Return the mean norm at each position and in each channel, repeated for each norm: ``[positions, 1, features]``.

    This is the scale of a matrix there, if it is not orthogonal; never 0. Positions that share a secret have one mean,
    which keeps their relative brightness.
    """
    apart = norms.unflatten(2, (channels, -1))
    means = apart.mean((0, 1, 3) if scheme.shared else (1, 3), keepdim=True).clamp(min=1e-9)
    return means.expand(len(norms), 1, -1, apart.shape[3]).flatten(2)


def number_units(images: Tensor, scheme: Scheme) -> Tensor:
    """Number the units of images: int64 ``[positions, C, units, N]``.

    Numbers are equal for equal units at one position; where positions share a secret, at any position.
    """
    units = cut_units(images, scheme.blocks, scheme.unit_pixels).movedim(1, -2)
    if not scheme.shared:
        return RowBook(units.flatten(0, 2)).numbers.view(units.shape[:-1])
    rows = units if scheme.channels is None else units.movedim(1, 0)  # channels with secrets of their own come apart
    groups = rows.flatten(0, -2)[None] if scheme.channels is None else rows.flatten(1, -2)
    numbers = RowBook(groups).numbers.view(rows.shape[:-1])
    return numbers if scheme.channels is None else numbers.movedim(0, 1)


def count_equal(numbers: Tensor) -> Tensor:
    """Return how many units have the same number, int64 like ``numbers``."""
    return numbers.flatten().bincount()[numbers]


def _differs_from_most_frequent(numbers: Tensor) -> Tensor:
    return numbers != numbers.gather(-1, count_equal(numbers).argmax(-1, keepdim=True))


def _count_in_image(numbers: Tensor) -> Tensor:
    """Return how many units of the same image have the same number, float32 like ``numbers``."""
    image = torch.arange(numbers.shape[-1], device=numbers.device)
    keys = (numbers * len(image) + image).flatten()
    _, inverse, counts = keys.unique(return_inverse=True, return_counts=True)
    return counts[inverse].view(numbers.shape).float()


def _occurrences(numbers: Tensor) -> Tensor:
    """Return for each unit a number that identifies in which images, and how often, it occurs.

    Numbers are below 2**20, and so exact in float32. Each image has a random 64-bit word, drawn from a fixed seed; a
    unit has the sum of the words of its occurrences.
    """
    draws = torch.Generator().manual_seed(0)
    words = torch.randint(-(2**63), 2**63 - 1, numbers.shape[-1:], generator=draws).to(numbers.device)
    sums = torch.zeros(int(numbers.max()) + 1, dtype=torch.int64, device=numbers.device)
    sums.index_add_(0, numbers.flatten(), words.expand(numbers.shape).flatten())  # overflow wraps round
    return ((sums >> 32) & (2**20 - 1))[numbers]


def _last_equal(numbers: Tensor) -> Tensor:
    ordered, image = numbers.sort(dim=-1, stable=True)
    last = image.roll(1, -1)
    same = (ordered == ordered.roll(1, -1)) & (last < image)
    return torch.empty_like(image).scatter_(-1, image, torch.where(same, last, image))


def _features(read: Tensor) -> Tensor:
    """Bring ``[positions, C, units, N]`` to float32 ``[positions, N, C * units]``."""
    return read.float().flatten(1, 2).movedim(-1, 1)
