"""Measure how often units of pixels repeat at their position: the only information that AES in ECB mode keeps."""

import numpy as np
import torch
from torch import Tensor

_MOST_UNITS = 500_000


def repeated_units(
    images: list[Tensor], block_size: tuple[int, int], unit_pixels: int, *, anywhere: bool = False
) -> float | None:
    """Return the fraction of units that occur at least twice at their block position.

    Args:
        images: uint8 ``[C, H, W]``, all of one shape. Of large images only every n-th block is used, the same blocks
            in all images.
        block_size: height and width of a block in pixels.
        unit_pixels: pixels in a unit; units are read row by row within a block.
        anywhere: count units as repeats of each other at any block position.

    Returns:
        A number in 0..1, or ``None`` if there are no images or their size is not a multiple of the block size.
    """
    if not images:
        return None
    (height, width), (h, w) = images[0].shape[-2:], block_size
    if height % h or width % w:
        return None
    rows = _units_with_position(images, block_size, unit_pixels)
    if anywhere:
        rows = np.ascontiguousarray(rows[:, :unit_pixels])
    counts = np.unique(rows.view(np.dtype((np.void, rows.shape[1]))), return_counts=True)[1]
    return float(counts[counts > 1].sum() / counts.sum())


def _units_with_position(images: list[Tensor], block_size: tuple[int, int], unit_pixels: int) -> np.ndarray:
    """Return one row of bytes for each unit: its pixels and the index of its block."""
    (height, width), (h, w) = images[0].shape[-2:], block_size
    blocks = torch.stack(images).unflatten(-1, (width // w, w)).unflatten(-3, (height // h, h)).movedim(-2, -3)
    units = blocks.flatten(-2).flatten(-3, -2).unflatten(-1, (-1, unit_pixels))  # [N, C, positions, units, pixels]
    units = units[:, :, :: -(-units.numel() // (_MOST_UNITS * unit_pixels))]
    position = torch.arange(units.shape[2], dtype=torch.int32).view(torch.uint8).reshape(-1, 1, 4)
    rows = torch.cat([units, position.expand(*units.shape[:-1], 4)], dim=-1)
    return np.ascontiguousarray(rows.reshape(-1, unit_pixels + 4).numpy())
