"""What a disguise leaves of each block, read in the same form from plain and from disguised images."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from torchprotect.attacks.disguise._blocks import cut, cut_units
from torchprotect.attacks.disguise._inputs import require_images, require_plain, require_same_size
from torchprotect.attacks.disguise._lookup import RowBook
from torchprotect.errors import InputRangeError, InputShapeError

Preserved = Literal["values", "energies", "equality"]
Side = Literal["right", "left"]


@dataclass(frozen=True)
class Reading:
    """The public parameters of a disguise that say how to read its blocks.

    All readings are ``[positions, N, features]``, of plain and of disguised images. Where a block is the same, so is
    what is read of it, but for noise; for plain images the mean of the noise is counted in.

    Attributes:
        block_size: ``(h, w)`` in pixels.
        preserved: ``values`` (blocks are moved only), ``energies`` (rows or columns are multiplied with a matrix) or
            ``equality`` (units are replaced by others, one to one at each position).
        side: of the matrix: ``right`` if it multiplies rows of blocks, ``left`` for columns.
        unit_pixels: pixels of a unit, row-major inside a block.
        noise: ``u`` of noise that is drawn evenly from 0 to ``u`` grey levels and added before the matrix.
    """

    block_size: tuple[int, int]
    preserved: Preserved
    side: Side = "right"
    unit_pixels: int = 16
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.preserved not in get_args(Preserved):
            raise InputRangeError(f"preserved is one of {get_args(Preserved)}, not {self.preserved!r}")
        if self.side not in get_args(Side):
            raise InputRangeError(f"side is 'right' or 'left', not {self.side!r}")
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise InputRangeError(f"noise is a number of grey levels from 0 up, not {self.noise!r}")

    def require(self, name: str, plain: Tensor, disguised: Tensor) -> None:
        """Check plain and disguised images of one size, on one device."""
        require_plain(f"{name} images", plain)
        require_images("disguised images", disguised)
        require_same_size(f"{name} images", plain, "disguised images", disguised)
        if plain.device != disguised.device:
            raise InputShapeError(
                f"{name} and disguised images must be on one device, not {plain.device} and {disguised.device}"
            )

    def values(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Read the pixels of each block, in grey levels."""
        first, second = self.blocks(plain, disguised)
        return first.flatten(2), second.flatten(2)

    def norms(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Read the norms of rows (columns): roots of energies, whose noise is about the same everywhere."""
        first, second = self.lines(plain, disguised)
        spread = self.noise**2 / 12 * first.shape[-1]
        energies = (first.square().sum(-1) + spread, second.square().sum(-1))
        return energies[0].sqrt().flatten(2), energies[1].sqrt().flatten(2)

    def silhouettes(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Read where a unit differs from the most frequent one at its place: 1, or 0 for that one."""
        first, second = (_features(_differs_from_most_frequent(self._units(each))) for each in (plain, disguised))
        return first, second

    def rarities(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Read the share of a unit among those at its place in its own set, as a logarithm.

        Shares that the smaller set is too small to tell apart are the same.
        """
        least = 2 / min(len(plain), len(disguised))
        first, second = (
            _features((count_equal(self._units(each)) / len(each)).clamp(min=least).log())
            for each in (plain, disguised)
        )
        return first, second

    def agreements(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Read the last image before each that has the same unit at its place, its own number if none has.

        Units agree in the same pairs of images if, and only if, these numbers are all the same.
        """
        first, second = (_features(_last_equal(self._units(each))) for each in (plain, disguised))
        return first, second

    def blocks(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Cut images into blocks in grey levels, float32 ``[positions, N, C, h, w]``."""
        white = 255 if plain.is_floating_point() else 1  # disguised floats are on the scale of the plain images
        first, second = (
            cut(each.float() * (white if each.is_floating_point() else 1), self.block_size)
            for each in (plain, disguised)
        )
        return first, second

    def lines(self, plain: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
        """Cut into rows (columns) ``[positions, N, C, lines, length]``; plain ones have the mean of the noise added."""
        first, second = self.blocks(plain, disguised)
        if self.side == "left":
            first, second = first.mT, second.mT
        return first + self.noise / 2, second

    def _units(self, images: Tensor) -> Tensor:
        return number_units(images, self.block_size, self.unit_pixels)


def levels(norms: Tensor, channels: int) -> Tensor:
    """Return the mean norm at each place and in each channel, in the place of each norm: ``[positions, 1, features]``.

    That is the scale of a matrix there, if it is not orthogonal; never 0.
    """
    apart = norms.unflatten(2, (channels, -1))
    return apart.mean((1, 3), keepdim=True).clamp(min=1e-9).expand(-1, 1, -1, apart.shape[3]).flatten(2)


def number_units(images: Tensor, block_size: tuple[int, int], unit_pixels: int) -> Tensor:
    """Number the units of images, equal for units that are equal at one place: int64 ``[positions, C, units, N]``."""
    units = cut_units(images, block_size, unit_pixels).movedim(1, -2)
    return RowBook(units.flatten(0, 2)).numbers.view(units.shape[:-1])


def count_equal(numbers: Tensor) -> Tensor:
    """Return how many images have the same unit there, int64 like ``numbers``."""
    return numbers.flatten().bincount()[numbers]


def _differs_from_most_frequent(numbers: Tensor) -> Tensor:
    return numbers != numbers.gather(-1, count_equal(numbers).argmax(-1, keepdim=True))


def _last_equal(numbers: Tensor) -> Tensor:
    ordered, image = numbers.sort(dim=-1, stable=True)
    last = image.roll(1, -1)
    same = (ordered == ordered.roll(1, -1)) & (last < image)
    return torch.empty_like(image).scatter_(-1, image, torch.where(same, last, image))


def _features(read: Tensor) -> Tensor:
    """Bring ``[positions, C, units, N]`` to float32 ``[positions, N, C * units]``."""
    return read.float().flatten(1, 2).movedim(-1, 1)
