"""Divide images into blocks in row-major order, and assemble them again."""

from collections.abc import Sequence
from math import isqrt

from torch import Tensor

from torchprotect.errors import BlockSizeError


def count_blocks(image: Tensor, block: Sequence[int]) -> int:
    """Return the number of blocks in one plane of ``image``; raise if ``block`` does not divide its size."""
    if len(block) != 2:
        raise BlockSizeError(f"block must be two integers, height and width, not {len(block)} of them")
    (block_h, block_w), (height, width) = block, image.shape[-2:]
    if block_h < 1 or block_w < 1 or height % block_h or width % block_w:
        raise BlockSizeError(
            f"blocks of {block_h} x {block_w} do not divide an image of {height} x {width}; "
            f"heights that do: {divisors(height)}, widths that do: {divisors(width)}"
        )
    return (height // block_h) * (width // block_w)


def divisors(size: int) -> list[int]:
    """Return the divisors of ``size``; beyond 2**32, only those that are at most 2**16 and their cofactors."""
    small = [n for n in range(1, min(isqrt(size), 2**16) + 1) if size % n == 0]
    return sorted({*small, *(size // n for n in small)})


def to_blocks(image: Tensor, block: Sequence[int]) -> Tensor:
    """Divide ``[..., H, W]`` into ``[..., positions, h, w]``."""
    (block_h, block_w), (height, width) = block, image.shape[-2:]
    rows, columns = height // block_h, width // block_w
    grid = image.unflatten(-1, (columns, block_w)).unflatten(-3, (rows, block_h))
    return grid.movedim(-2, -3).flatten(-4, -3)


def from_blocks(blocks: Tensor, size: Sequence[int]) -> Tensor:
    """Assemble ``[..., positions, h, w]`` into ``[..., H, W]``; the inverse of :func:`to_blocks`."""
    (block_h, block_w), (height, width) = blocks.shape[-2:], size
    rows, columns = height // block_h, width // block_w
    grid = blocks.unflatten(-3, (rows, columns)).movedim(-3, -2)
    return grid.flatten(-2).flatten(-3, -2)
