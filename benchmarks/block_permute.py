"""Block permutation speed: ours beside the best that plain torch can do, and beside a copy.

Usage: python benchmarks/block_permute.py [--device cuda] [--threads N] [--rounds N] [--quick] [--out FILE]
"""

from functools import partial

import torch
from _cases import (
    COPY,
    REFERENCE,
    Builder,
    Case,
    Contestant,
    Goal,
    Setup,
    benchmark,
    block_grid,
    copy_limit,
    show_shape,
    size_of,
)
from torch import Tensor

from torchprotect import ops

OURS, FRESH = "ours, out=", "ours, fresh output"
SIZES = {(16, 16): 0.95, (8, 8): 0.85, (7, 7): 0.6, (4, 4): 0.7}  # block: goal, of copy_
WORDS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}


def naive(image: Tensor, order: Tensor, block: tuple[int, int]) -> Tensor:
    """Unfold, index, and fold by permuting: what one writes first."""
    (n, channels, height, width), (h, w) = image.shape, block
    blocks = image.unfold(2, h, h).unfold(3, w, w).reshape(n, channels, -1, h, w)[:, :, order]
    grid = blocks.reshape(n, channels, height // h, width // w, h, w)
    return grid.permute(0, 1, 2, 4, 3, 5).reshape(image.shape)


class Blocks:
    """Blocks made contiguous, selected, and copied to their places, with every buffer allocated before."""

    def __init__(self, image: Tensor, order: Tensor, block: tuple[int, int], out: Tensor) -> None:
        self.source, self.target, self.order = block_grid(image, block), block_grid(out, block), order
        self.cut, self.moved = (torch.empty(self.source.shape, dtype=image.dtype, device=image.device) for _ in "ab")
        self.out = out

    def __call__(self) -> Tensor:
        self.cut.copy_(self.source)
        torch.index_select(self.cut.flatten(0, 1), 0, self.order, out=self.moved.flatten(0, 1))
        self.target.copy_(self.moved)
        return self.out


class Rows:
    """Rows of blocks selected straight into the output, in one pass.

    Args:
        flat: number the rows of all images, rather than select the same ones in each.
        wide: take a row for one number, where there is a type as wide.
    """

    def __init__(
        self, image: Tensor, order: Tensor, block: tuple[int, int], out: Tensor, *, flat: bool, wide: bool
    ) -> None:
        planes, targets = (_planes(x, block[1]) for x in (image, out))  # [planes, rows of blocks, values]
        index = row_order(order, block, image.shape[-2:])
        if wide:
            word = WORDS[planes.shape[-1] * planes.element_size()]
            planes, targets = (x.flatten(1).view(word) for x in (planes, targets))
        if flat:
            first = torch.arange(len(planes), device=index.device) * planes.shape[1]
            index = (first[:, None] + index).flatten()
            planes, targets = planes.flatten(0, 1), targets.flatten(0, 1)
        self.planes, self.targets, self.index, self.dim, self.out = planes, targets, index, 1 - flat, out

    def __call__(self) -> Tensor:
        torch.index_select(self.planes, self.dim, self.index, out=self.targets)
        return self.out


def _planes(image: Tensor, width: int) -> Tensor:
    """View an image as ``[planes, rows of blocks, values]``; with channels last a plane holds all channels."""
    if image.is_contiguous():
        return image.flatten(0, 1).reshape(-1, image.shape[-2] * image.shape[-1] // width, width)
    values = image.permute(0, 2, 3, 1)
    return values.view(len(image), -1, width * image.shape[1])


def row_order(order: Tensor, block: tuple[int, int], size: torch.Size) -> Tensor:
    """Turn an order of blocks into one of their rows, as these lie in memory."""
    (h, w), (height, width) = block, size
    columns = width // w
    row, column = order // columns, order % columns
    first = (row * h * columns + column).view(height // h, 1, columns)
    return (first + columns * torch.arange(h, device=order.device).view(1, h, 1)).flatten()


def torch_forms(image: Tensor, order: Tensor, block: tuple[int, int], out: Tensor) -> list[Contestant]:
    """List the ways to do it in plain torch."""
    make_rows = partial(Rows, image, order, block, out)
    forms = [
        Contestant("torch: unfold, index, fold", partial(naive, image, order, block)),
        Contestant("torch: index_select of blocks, copy_", Blocks(image, order, block, out)),
        Contestant("torch: index_select of block rows, by plane", make_rows(flat=False, wide=False)),
        Contestant("torch: index_select of block rows, flat", make_rows(flat=True, wide=False)),
    ]
    values = block[1] if image.is_contiguous() else block[1] * image.shape[1]
    if values * image.element_size() in WORDS:
        forms.append(Contestant("torch: index_select of wide words", make_rows(flat=False, wide=True)))
        forms.append(Contestant("torch: index_select of wide words, flat", make_rows(flat=True, wide=True)))
    return forms


def into(
    setup: Setup,
    block: tuple[int, int],
    bound: float | None = None,
    dtype: torch.dtype = torch.uint8,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Case:
    """Compare writing into a tensor that is there."""
    image = setup.image(setup.batch(256, 8192), 3, 224, 224, dtype=dtype).contiguous(memory_format=memory_format)
    out, order = torch.empty_like(image), setup.order(224 // block[0] * (224 // block[1]))
    contestants = [
        Contestant(OURS, lambda: ops.block_permute(image, order, block, out=out), "ours"),
        copy_limit(out, image),
        *torch_forms(image, order, block, out),
        Contestant(REFERENCE, lambda: torch.ops.torchprotect.block_permute.reference(image, order, block)),
    ]
    peers = [c.name for c in contestants if c.role == "peer"]
    goals = [Goal("of copy_", 0.8 if setup.cuda else bound, [COPY]), Goal("x the best torch form", None, peers)]
    goals.append(Goal("x the reference", 5 if setup.cuda else None, [REFERENCE]))
    layout = "" if memory_format == torch.contiguous_format else " channels_last"
    name = f"permute {show_shape(image)}{layout}, {block[0]}x{block[1]} blocks"
    return Case(name, contestants, goals, size_of(image))


def fresh(setup: Setup, block: tuple[int, int]) -> Case:
    """Compare a new output with a clone that the kernel then writes over: both touch new memory."""
    image = setup.image(setup.batch(256, 8192), 3, 224, 224)
    order = setup.order(224 // block[0] * (224 // block[1]))
    cloned = "clone(), then ours, out="
    contestants = [
        Contestant(FRESH, lambda: ops.block_permute(image, order, block), "ours"),
        Contestant(cloned, lambda: ops.block_permute(image, order, block, out=image.clone())),
        Contestant("clone()", lambda: image.clone(), "limit"),
    ]
    goals = [Goal("x clone and kernel", 1.0, [cloned], at_most=True), Goal("of clone()", None, ["clone()"])]
    return Case(f"permute {show_shape(image)}, {block[0]}x{block[1]} blocks, fresh", contestants, goals, size_of(image))


def large(setup: Setup) -> list[Builder]:
    """List the cases for two threads."""
    return [partial(into, setup, block, bound) for block, bound in SIZES.items()]


def cases(setup: Setup) -> list[Builder]:
    """List all cases."""
    return [
        *large(setup),
        partial(into, setup, (16, 16), dtype=torch.float32),
        partial(into, setup, (4, 4), dtype=torch.float32),
        partial(into, setup, (16, 16), memory_format=torch.channels_last),
        partial(into, setup, (4, 4), memory_format=torch.channels_last),
        partial(fresh, setup, (16, 16)),
    ]


if __name__ == "__main__":
    benchmark(__doc__, "block_permute", cases)
