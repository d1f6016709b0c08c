"""Widths of layers that halve the image size."""

from torchprotect.errors import InputShapeError


def halvings(image_size: tuple[int, int], width: int) -> tuple[list[int], tuple[int, int]]:
    """Return the channels after each halving and the remaining size; halve while sizes are even and above 7 pixels.

    Raises:
        InputShapeError: the size is odd.
    """
    height, across = image_size
    widths: list[int] = []
    while height % 2 == 0 and across % 2 == 0 and (min(height, across) > 7 or not widths):
        widths.append(width * 2 ** len(widths))
        height, across = height // 2, across // 2
    if not widths:
        raise InputShapeError(f"the image size must be even, not {image_size[0]} x {image_size[1]}")
    return widths, (height, across)
