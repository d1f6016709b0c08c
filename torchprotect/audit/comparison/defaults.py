"""The settings that are compared by default, for images of any size."""

from typing import NamedTuple

from torchprotect.audit.comparison.setting import Setting, by
from torchprotect.errors import BlockSizeError
from torchprotect.keys.aes import usable_units
from torchprotect.ops.blocks import divisors

_GRIDS = (4, 8)  # blocks a side: coarse, which keeps most under RMT; and fine, which keeps most under AES
_NOISES = (0.0, 50.0, 100.0)
_UNIT = 16


class Defaults(NamedTuple):
    """Settings for images of one size, and the settings that do not fit it, each with the reason."""

    settings: tuple[Setting, ...]
    skipped: tuple[tuple[str, str], ...]


def default_settings(image_size: tuple[int, int], *, fast: bool = False) -> Defaults:
    """Return settings that suit images of one size.

    At one block size, a secret order, no secret order, a shared secret and noise are each tried. Other block sizes are
    compared under a secret order only.

    Args:
        image_size: ``(H, W)`` in pixels.
        fast: return a shorter list, with one block size for each disguise.

    Raises:
        BlockSizeError: images of this size cannot be divided into blocks.
    """
    blocks = _sizes(image_size, None)
    if not blocks:
        raise BlockSizeError(
            f"images of {by(image_size)} cannot be cut into blocks; resize them to sides that are multiples of 4"
        )
    units = _sizes(image_size, _UNIT)
    coarse, fine = blocks[0], (units or blocks)[-1]
    made = [Setting(scheme="block-permute", block_size=each) for each in (blocks[:1] if fast else blocks)]
    made += [
        Setting(scheme="rmt", block_size=each, noise=noise)
        for each in (blocks[:1] if fast else blocks)
        for noise in _NOISES
    ]
    made.append(Setting(scheme="rmt", block_size=coarse, noise=_NOISES[1], permute=False))
    made.append(Setting(scheme="rmt", block_size=coarse, noise=_NOISES[1], shared=True))
    if units:
        made += [Setting(scheme="aes-ecb", block_size=each) for each in (units[-1:] if fast else units)]
        made.append(Setting(scheme="aes-ecb", block_size=fine, permute=False))
        made.append(Setting(scheme="aes-ecb", block_size=fine, shared=True))
    return Defaults(tuple(made), tuple(_skipped(image_size, blocks, units)))


def _sizes(image_size: tuple[int, int], unit: int | None) -> list[tuple[int, int]]:
    """Return the block sizes nearest to the grids, coarse ones first, each once; ``unit`` pixels fill them evenly."""
    pairs = [(h, w) for h in divisors(image_size[0])[:-1] for w in divisors(image_size[1])[:-1] if h * w > 1]
    fitting = [pair for pair in pairs if unit is None or unit in usable_units(pair)]
    if not fitting:
        return []
    return list(dict.fromkeys(min(fitting, key=lambda pair: _distance(pair, image_size, grid)) for grid in _GRIDS))


def _distance(block: tuple[int, int], image_size: tuple[int, int], grid: int) -> tuple[float, float]:
    """Return by which factors a block is larger or smaller than that of a grid; then how far it is from a square."""
    height, width = (length * grid / side for length, side in zip(block, image_size, strict=True))
    return round(max(height, 1 / height) * max(width, 1 / width), 6), max(block) / min(block)


def _skipped(
    image_size: tuple[int, int], blocks: list[tuple[int, int]], units: list[tuple[int, int]]
) -> list[tuple[str, str]]:
    """Return the settings that do not fit, each with the reason."""
    if not units:
        reason = f"no block of images of {by(image_size)} holds whole units of {_UNIT} pixels; pad or resize them"
        return [("AES", reason)]
    return [
        (f"AES {by(each)}", f"such blocks do not hold whole units of {_UNIT} pixels")
        for each in blocks
        if each not in units and _UNIT not in usable_units(each)
    ]
