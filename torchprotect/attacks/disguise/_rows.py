"""Convert images to the rows of pixels that a matrix multiplied, and back."""

import torch
from torch import Tensor

from torchprotect.attacks.disguise._blocks import assemble, cut, grouped, ungrouped
from torchprotect.attacks.scheme import Scheme


class Rows:
    """The rows or columns of blocks that matrices multiply, ``[groups, rows, length]``.

    A group is everything that one matrix was used for: a position, or a position and a channel.
    """

    def __init__(self, scheme: Scheme) -> None:
        self._scheme, self._left = scheme, scheme.side == "left"

    def of(self, images: Tensor) -> Tensor:
        """Cut images ``[N, C, H, W]`` into rows."""
        blocks = cut(images, self._scheme.blocks).movedim(2, 1)  # [positions, C, N, h, w]
        return grouped(blocks.mT if self._left else blocks, self._scheme).flatten(1, -2)

    def lay(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """Join rows to images of a shape; the inverse of :meth:`of`."""
        count, channels, height, width = shape
        h, w = self._scheme.blocks
        sizes = (height // h * (width // w), channels, count, *((w, h) if self._left else (h, w)))
        blocks = ungrouped(rows, self._scheme, sizes)
        return assemble((blocks.mT if self._left else blocks).movedim(1, 2), (height, width))
