"""Block sizes for images of any size."""

from torchprotect.errors import BlockSizeError
from torchprotect.keys.aes import usable_units
from torchprotect.ops.blocks import divisors

_BLOCKS_A_SIDE = 7  # 28 x 28 in blocks of 4 x 4, the paper's finest grid


def choose_block(image_size: tuple[int, int], unit_pixels: int | None = None) -> tuple[int, int]:
    """Return the block size nearest to a grid of 7 x 7, in which units of ``unit_pixels`` fit if that is given.

    Raises:
        BlockSizeError: there is none.
    """
    pairs = [(h, w) for h in divisors(image_size[0])[:-1] for w in divisors(image_size[1])[:-1] if h * w > 1]
    fitting = [pair for pair in pairs if unit_pixels is None or unit_pixels in usable_units(pair)]
    if not fitting:
        raise BlockSizeError(
            f"images of {image_size[0]} x {image_size[1]} cannot be cut into blocks for this demo; resize them to "
            "sides that are multiples of 4"
        )
    ideal = image_size[0] / _BLOCKS_A_SIDE, image_size[1] / _BLOCKS_A_SIDE
    return min(fitting, key=lambda pair: abs(pair[0] - ideal[0]) + abs(pair[1] - ideal[1]))
