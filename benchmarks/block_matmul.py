"""Block multiplication speed (RMT): ours beside torch's bmm in several forms, beside a copy, and torch.mm's peak.

Usage: python benchmarks/block_matmul.py [--device cuda] [--threads N] [--rounds N] [--quick] [--out FILE]
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

OURS = "ours, out="
BY_PIXEL_ROW, BY_BLOCK_ROW = "block-diagonal bmm, by pixel row", "block-diagonal bmm, by block row"
ONE_MATRIX = "torch.mm, one matrix for all blocks"
NAIVE_BMM, NAIVE_MATMUL = "naive bmm, blocks gathered", "naive matmul, broadcast"
SQUARES = (1024, 1536, 2048)


def block_diagonal(matrices: Tensor, rows: int) -> Tensor:
    """Build ``[rows, W, W]`` from ``[positions, 1, m, m]``: the matrices of a block row on one diagonal."""
    by_row = matrices[:, 0].unflatten(0, (rows, -1))
    return torch.stack([torch.block_diag(*row) for row in by_row])


class ByPixelRow:
    """Every row of pixels times the diagonal of its block row, on strided views, straight into the output."""

    def __init__(self, image: Tensor, diagonal: Tensor, out: Tensor) -> None:
        self.source, self.target = (x.flatten(0, 1).transpose(0, 1) for x in (image, out))  # [H, N * C, W]
        self.diagonal = diagonal.repeat_interleave(image.shape[-2] // len(diagonal), 0)
        self.out = out

    def __call__(self) -> Tensor:
        torch.bmm(self.source, self.diagonal, out=self.target)
        return self.out


class ByBlockRow:
    """Block rows gathered to ``[rows, N * C * h, W]``, multiplied, and copied back."""

    def __init__(self, image: Tensor, diagonal: Tensor, out: Tensor) -> None:
        rows = len(diagonal)
        self.source, self.target = (x.flatten(0, 1).unflatten(1, (rows, -1)).transpose(0, 1) for x in (image, out))
        self.gathered, self.done = (image.new_empty(self.source.shape) for _ in "ab")
        self.diagonal, self.out = diagonal, out

    def __call__(self) -> Tensor:
        self.gathered.copy_(self.source)
        torch.bmm(self.gathered.flatten(1, 2), self.diagonal, out=self.done.flatten(1, 2))
        self.target.copy_(self.done)
        return self.out


class NaiveBmm:
    """Blocks gathered to ``[positions, N * C * h, m]``, multiplied, and copied back; buffers made before."""

    def __init__(self, image: Tensor, matrices: Tensor, block: tuple[int, int], out: Tensor) -> None:
        self.source, self.target = block_grid(image, block), block_grid(out, block)
        self.gathered, self.done = (image.new_empty(self.source.shape) for _ in "ab")
        self.matrices, self.out = matrices[:, 0].contiguous(), out

    def __call__(self) -> Tensor:
        self.gathered.copy_(self.source)
        gathered, done = (x.flatten(2, 4).flatten(0, 1) for x in (self.gathered, self.done))
        torch.bmm(gathered, self.matrices, out=done)
        self.target.copy_(self.done)
        return self.out


def naive_matmul(image: Tensor, matrices: Tensor, block: tuple[int, int], out: Tensor) -> Tensor:
    """Multiply views of the blocks by broadcasting, what one writes first."""
    grid = block_grid(image, block).movedim((0, 1), (2, 3))  # [N, C, rows, columns, h, w]
    product = grid @ matrices[:, 0].unflatten(0, (grid.shape[2], -1))
    return out.copy_(product.transpose(-2, -3).flatten(-2).flatten(-3, -2))


def draw(setup: Setup, shape: tuple[int, ...], block: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Draw an image, orthogonal matrices and an output."""
    image = setup.image(*shape, dtype=torch.float32)
    positions, size = shape[-2] // block[0] * (shape[-1] // block[1]), block[1]
    matrices = torch.linalg.qr(torch.randn(positions, 1, size, size))[0].contiguous().to(setup.device)
    return image, matrices, torch.empty_like(image)


def small(setup: Setup, shape: tuple[int, ...], size: int) -> Case:
    """Compare small matrices with bmm and a copy."""
    block = (size, size)
    batch = setup.batch(shape[0], 64 * shape[0])
    image, matrices, out = draw(setup, (batch, *shape[1:]), block)
    diagonal = block_diagonal(matrices, shape[-2] // size)
    contestants = [
        Contestant(OURS, lambda: ops.block_matmul(image, matrices, block, out=out), "ours"),
        copy_limit(out, image),
        Contestant(BY_PIXEL_ROW, ByPixelRow(image, diagonal, out)),
        Contestant(BY_BLOCK_ROW, ByBlockRow(image, diagonal, out)),
        Contestant(NAIVE_BMM, NaiveBmm(image, matrices, block, out)),
        Contestant(NAIVE_MATMUL, lambda: naive_matmul(image, matrices, block, out)),
        Contestant(REFERENCE, lambda: torch.ops.torchprotect.block_matmul.reference(image, matrices, block)),
    ]
    on_cpu = (lambda bound: None) if setup.cuda else (lambda bound: bound)
    goals = [
        Goal("of copy_", 0.7, [COPY]),
        Goal("x the best torch form", on_cpu(2.5), [BY_PIXEL_ROW, BY_BLOCK_ROW, NAIVE_BMM, NAIVE_MATMUL]),
        Goal("x the reference", 5 if setup.cuda else None, [REFERENCE]),
    ]
    name = f"RMT m = {size}, {show_shape(image)}"
    return Case(name, contestants, goals, size_of(image), tolerance=1e-5)


def square_product(size: int, device: torch.device, rows: int | None = None) -> Contestant:
    """Multiply two matrices of torch's own liking."""
    left, right = torch.randn(rows or size, size, device=device), torch.randn(size, size, device=device)
    out = torch.empty_like(left)
    name = f"torch.mm [{len(left)}, {size}] x [{size}, {size}]"
    return Contestant(name, lambda: torch.mm(left, right, out=out), "other", 2 * left.numel() * size)


class OneMatrix:
    """The same volume in one product of contiguous rows with a single matrix: what a library makes of the shape."""

    def __init__(self, image: Tensor, size: int) -> None:
        self.rows, self.matrix = image.reshape(-1, size), torch.randn(size, size, device=image.device)
        self.out = torch.empty_like(self.rows)

    def __call__(self) -> Tensor:
        return torch.mm(self.rows, self.matrix, out=self.out)


def large_product(setup: Setup, shape: tuple[int, ...], size: int) -> Case:
    """Compare large matrices with the peak of torch.mm and with a copy."""
    block = (size, size)
    image, matrices, out = draw(setup, (setup.batch(shape[0], 32 * shape[0]), *shape[1:]), block)
    squares = (128,) if setup.quick else (*SQUARES, 8192) if setup.cuda else SQUARES
    products = [square_product(n, setup.device) for n in squares]
    contestants = [
        Contestant(OURS, lambda: ops.block_matmul(image, matrices, block, out=out), "ours"),
        copy_limit(out, image),
        *products,
        Contestant(ONE_MATRIX, OneMatrix(image, size), "other"),
        Contestant(NAIVE_BMM, NaiveBmm(image, matrices, block, out)),
        Contestant(REFERENCE, lambda: torch.ops.torchprotect.block_matmul.reference(image, matrices, block)),
    ]
    goals = [
        Goal("of torch.mm's peak, or of copy_", None if setup.cuda else 0.75, [p.name for p in products], limit=COPY),
        Goal("of one matrix for all", None, [ONE_MATRIX]),
        Goal("x naive bmm", None, [NAIVE_BMM]),
        Goal("x the reference", None, [REFERENCE]),
    ]
    name = f"RMT m = {size}, {show_shape(image)}"
    return Case(name, contestants, goals, 2 * image.numel() * size, "GFLOP/s", tolerance=1e-5)


def large(setup: Setup) -> list[Builder]:
    """List the cases for two threads."""
    return [partial(small, setup, (4096, 1, 28, 28), 4), *_products(setup)]


def _products(setup: Setup) -> list[Builder]:
    shapes = {32: (64, 3, 224, 224), 56: (64, 3, 224, 224), 64: (64, 3, 256, 256), 128: (64, 3, 256, 256)}
    return [partial(large_product, setup, shape, size) for size, shape in shapes.items()]


def cases(setup: Setup) -> list[Builder]:
    """List all cases."""
    grids = [((4096, 1, 28, 28), 4), ((4096, 1, 28, 28), 7), ((1024, 3, 32, 32), 4), ((1024, 3, 32, 32), 8)]
    return [*(partial(small, setup, *grid) for grid in grids), *_products(setup)]


if __name__ == "__main__":
    benchmark(__doc__, "block_matmul", cases)
