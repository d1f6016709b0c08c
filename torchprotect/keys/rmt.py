"""The keys of RMT: secret random matrices, one for each block position or one for all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from torchprotect.errors import BlockSizeError, InputRangeError, KeyFileError
from torchprotect.keys._base import (
    BlockKey,
    as_size,
    at_positions,
    is_shared,
    require_division,
    require_key_tensor,
    require_root,
)
from torchprotect.keys._random import random_bytes, random_normal, random_uniform
from torchprotect.keys._secret import secret_fields
from torchprotect.keys.aes import require_channels

Matrix = Literal["orthogonal", "uniform", "gaussian"]
Side = Literal["right", "left"]

MAX_CONDITION = 10_000
"""Largest condition number of a matrix that is kept: the inverse in float32 stays within a fraction of a grey level."""

_MAX_ROUNDS = 100


def _orthogonal(count: int, size: int) -> Tensor:
    """Draw from the Haar measure on O(m): QR of Gaussians, with the signs of R's diagonal absorbed into Q."""
    q, r = torch.linalg.qr(random_normal(count, size, size))
    signs = torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
    return q * signs.unsqueeze(-2)


def _draw_well_conditioned(draw: Callable[..., Tensor], count: int, size: int) -> Tensor:
    """Draw until ``count`` matrices have a condition number of at most :data:`MAX_CONDITION`."""
    kept = torch.empty(0, size, size, dtype=torch.float64)
    for _ in range(_MAX_ROUNDS):
        drawn = draw(count - len(kept), size, size)
        kept = torch.cat([kept, drawn[torch.linalg.cond(drawn.float().double()) <= MAX_CONDITION]])
        if len(kept) == count:
            return kept
    raise BlockSizeError(
        f"random {size} x {size} matrices of this kind hardly ever have a condition number of at most "
        f"{MAX_CONDITION}; use smaller blocks or matrix='orthogonal'"
    )


@secret_fields("matrices", "root")
@dataclass(frozen=True, eq=False, repr=False)
class RMTKey(BlockKey):
    """Secret random matrices: one for each block position (or one for all), and optionally one for each channel.

    Attributes:
        image_size: ``(H, W)`` in pixels.
        block_size: ``(h, w)`` in pixels.
        channels: number of channels, each with its own matrices; ``None`` uses the same matrices for any number of
            channels.
        matrix: ``"orthogonal"`` (Haar measure on O(m)), ``"uniform"`` (entries in (0, 1)) or ``"gaussian"``. Uniform
            and Gaussian matrices are drawn again until their condition number is at most 10,000.
        side: ``"right"`` for ``X R``, with m the block width; ``"left"`` for ``R X``, with m the block height.
        matrices: float32 ``[positions, channels or 1, m, m]``.
        root: uint8 ``[32]``, from which sub-keys are derived.
    """

    kind: ClassVar[str] = "rmt"
    image_size: tuple[int, int]
    block_size: tuple[int, int]
    channels: int | None
    matrix: Matrix
    side: Side
    matrices: Tensor
    root: Tensor

    def __post_init__(self) -> None:
        _require_params(self.image_size, self.block_size, self.channels, self.matrix, self.side)
        require_root(self.root)
        size = _matrix_size(self.block_size, self.side)
        require_key_tensor("matrices", self.matrices, torch.float32, (self.positions, self.channels or 1, size, size))
        if not self.matrices.isfinite().all():
            raise KeyFileError("tensor 'matrices' of the key holds infinite or NaN values")
        if not bool((torch.linalg.cond(self._distinct.double()) <= MAX_CONDITION).all()):  # NaN for zeros
            raise KeyFileError("tensor 'matrices' of the key holds an ill-conditioned matrix")

    @classmethod
    def generate(
        cls,
        *,
        image_size: tuple[int, int],
        block_size: tuple[int, int],
        channels: int | None = None,
        matrix: Matrix = "orthogonal",
        side: Side = "right",
        shared: bool = False,
    ) -> "RMTKey":
        """Generate independent random matrices from the operating system's entropy.

        Args:
            image_size: ``(H, W)`` in pixels.
            block_size: ``(h, w)`` in pixels.
            channels: number of channels, each with its own matrices; ``None`` uses the same matrices for any number of
                channels.
            matrix: ``"orthogonal"``, ``"uniform"`` or ``"gaussian"``.
            side: ``"right"`` multiplies the rows of a block, ``"left"`` its columns.
            shared: use one matrix at all positions (of each channel, if ``channels`` is given). One known pair then
                reveals it, and blocks can be compared across positions.

        Raises:
            BlockSizeError: the blocks do not divide the image, or are too large for this kind of matrix.
            InputRangeError: ``matrix``, ``side`` or ``channels`` is out of range.

        Example::

            key = keys.RMTKey.generate(image_size=(28, 28), block_size=(7, 7))
            disguise = transforms.RMTDisguise(key, noise=100)
        """
        image_size, block_size = as_size(image_size), as_size(block_size)
        _require_params(image_size, block_size, channels, matrix, side)
        positions = (image_size[0] // block_size[0]) * (image_size[1] // block_size[1])
        size, drawn_at = _matrix_size(block_size, side), 1 if shared else positions
        count = drawn_at * (channels or 1)
        if matrix == "orthogonal":
            drawn = _orthogonal(count, size)
        else:
            drawn = _draw_well_conditioned(random_uniform if matrix == "uniform" else random_normal, count, size)
        # at_positions makes them contiguous: qr gives columns of memory, of which torch.export.save would warn
        matrices = at_positions(drawn.float().reshape(drawn_at, channels or 1, size, size), positions)
        return cls(image_size, block_size, channels, matrix, side, matrices, random_bytes(32))

    @cached_property
    def shared(self) -> bool:
        """Whether all positions (at least two) use the same matrix, determined from the matrices themselves."""
        return is_shared(self.matrices)

    @property
    def inverses(self) -> Tensor:
        """The inverse matrices: float32 ``[positions, channels or 1, m, m]``, computed in float64."""
        return self._computed_once(
            "inverses", lambda: at_positions(torch.linalg.inv(self._distinct.double()).float(), self.positions)
        )

    @property
    def _distinct(self) -> Tensor:
        """The distinct matrices: one if all positions share it, because there may be thousands of positions."""
        return self.matrices[:1] if self.shared else self.matrices

    @property
    def params(self) -> dict[str, Any]:
        """``image_size``, ``block_size``, ``channels``, ``matrix`` and ``side``."""
        return {
            "image_size": list(self.image_size),
            "block_size": list(self.block_size),
            "channels": self.channels,
            "matrix": self.matrix,
            "side": self.side,
        }

    def tensors(self) -> dict[str, Tensor]:
        """``matrices`` and ``root``."""
        return {"matrices": self.matrices, "root": self.root}

    @classmethod
    def from_parts(cls, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "RMTKey":
        """Rebuild the key."""
        parts: dict[str, Any] = {**params, **tensors}
        parts |= {name: as_size(params[name]) for name in ("image_size", "block_size")}
        return cls(**parts)


def _matrix_size(block_size: tuple[int, int], side: Side) -> int:
    return block_size[1] if side == "right" else block_size[0]


def _require_params(
    image_size: tuple[int, int], block_size: tuple[int, int], channels: int | None, matrix: str, side: str
) -> None:
    require_division(image_size, block_size)
    require_channels(channels)
    if matrix not in get_args(Matrix):
        raise InputRangeError(f"matrix must be one of {get_args(Matrix)}, got {matrix!r}")
    if side not in get_args(Side):
        raise InputRangeError(f"side must be 'right' or 'left', got {side!r}")
