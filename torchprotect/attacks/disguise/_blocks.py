"""Divide images into blocks and cipher units, read row-major."""

import torch
from torch import Tensor

from torchprotect.attacks.scheme import Scheme
from torchprotect.errors import BlockSizeError
from torchprotect.ops.blocks import count_blocks, from_blocks, to_blocks


def cut(images: Tensor, block_size: tuple[int, int]) -> Tensor:
    """Cut ``[N, C, H, W]`` into blocks, positions first: ``[positions, N, C, h, w]``.

    Raises:
        BlockSizeError: the blocks do not divide the images.
    """
    count_blocks(images, block_size)
    return to_blocks(images, block_size).movedim(2, 0)


def assemble(blocks: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Join ``[positions, N, C, h, w]`` to ``[N, C, H, W]``; the inverse of :func:`cut`."""
    return from_blocks(blocks.movedim(0, 2), image_size)


def cut_units(images: Tensor, block_size: tuple[int, int], unit_pixels: int) -> Tensor:
    """Cut ``[N, C, H, W]`` into cipher units: ``[positions, N, C, units, unit_pixels]``, row-major inside each block.

    Raises:
        BlockSizeError: the blocks do not divide the images, or the units do not divide the blocks.
    """
    blocks = cut(images, block_size)
    pixels = blocks.shape[-2] * blocks.shape[-1]
    if pixels % unit_pixels:
        raise BlockSizeError(
            f"units of {unit_pixels} pixels do not divide a block of {block_size[0]} x {block_size[1]} pixels"
        )
    return blocks.flatten(-2).unflatten(-1, (pixels // unit_pixels, unit_pixels))


def assemble_units(units: Tensor, block_size: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """Join ``[positions, N, C, units, unit_pixels]`` to ``[N, C, H, W]``; the inverse of :func:`cut_units`."""
    return assemble(units.flatten(-2).unflatten(-1, block_size), image_size)


def undo_order(images: Tensor, order: Tensor, block_size: tuple[int, int]) -> Tensor:
    """Undo a permutation of blocks: the block at position ``i`` goes to ``order[i]``.

    Args:
        images: ``[N, C, H, W]`` whose blocks lie in ``order``.
        order: int64 ``[positions]``, a permutation.
        block_size: ``(h, w)`` in pixels.
    """
    blocks = cut(images, block_size)
    if order.dtype != torch.int64 or not torch.equal(order.sort().values, torch.arange(len(blocks)).to(order.device)):
        raise BlockSizeError(f"an int64 order of the {len(blocks)} blocks of these images is needed, each once")
    return assemble(blocks[order.argsort().to(blocks.device)], (images.shape[-2], images.shape[-1]))


def grouped(blocks: Tensor, scheme: Scheme) -> Tensor:
    """Reshape ``[positions, C, N, ...]`` to ``[groups, members, ...]``; each group was made with one secret.

    A group is one position, or all positions if they share a secret; and one channel, if channels have separate
    secrets.
    """
    if scheme.shared:
        blocks = blocks.movedim(0, 1)[None]  # [1, C, positions, N, ...]
        blocks = blocks.flatten(2, 3)
    if scheme.channels is None:
        return blocks.flatten(1, 2)
    return blocks.flatten(0, 1)


def ungrouped(rows: Tensor, scheme: Scheme, sizes: tuple[int, ...]) -> Tensor:
    """Reshape rows by groups back to blocks ``[positions, C, N, ...]``; the inverse of :func:`grouped`."""
    if not scheme.shared:
        return rows.reshape(sizes)
    positions, channels = sizes[:2]
    return rows.reshape(channels, positions, *sizes[2:]).movedim(0, 1)
