"""``torchprotect::block_matmul``: multiply each block of an image by its own matrix."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchprotect.errors import InputShapeError, InputTypeError
from torchprotect.ops._library import LIBRARY, call, register
from torchprotect.ops.block_permute import check_order, require_permutation
from torchprotect.ops.blocks import count_blocks, from_blocks, to_blocks

ORDERED_SUM_LIMIT = 16
"""Up to this matrix size, sums run over k in order, and each product and sum is rounded: the same bits on every
backend."""


def _check(
    image: Tensor, matrices: Tensor, block: Sequence[int], left: bool = False, order: Tensor | None = None
) -> None:
    if image.ndim < 3 or not image.is_floating_point():
        raise InputTypeError(f"image must be floating point [..., C, H, W], not {image.dtype} {list(image.shape)}")
    positions, size, channels = count_blocks(image, block), block[0] if left else block[1], image.shape[-3]
    shape = matrices.shape
    fits = len(shape) == 4 and shape[0] == positions and shape[1] in (1, channels) and shape[2] == shape[3] == size
    if not fits or matrices.dtype != image.dtype or matrices.device != image.device:
        raise InputShapeError(
            f"matrices must be {image.dtype} [{positions}, {channels} or 1, {size}, {size}] on {image.device}, "
            f"not {matrices.dtype} {list(shape)} on {matrices.device}"
        )
    if order is not None:
        check_order(order, positions, image.device)


def _check_values(
    image: Tensor, matrices: Tensor, block: Sequence[int], left: bool = False, order: Tensor | None = None
) -> None:
    require_permutation(order)


def _ordered_product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply ``[..., i, k] @ [..., k, j]``, adding products in the order of k without fused multiply-add."""
    total = a[..., :, 0:1] * b[..., 0:1, :]
    for k in range(1, a.shape[-1]):
        total = total + a[..., :, k : k + 1] * b[..., k : k + 1, :]
    return total


def _reference(
    image: Tensor, matrices: Tensor, block: Sequence[int], left: bool = False, order: Tensor | None = None
) -> Tensor:
    blocks, factors = to_blocks(image, block), matrices.movedim(0, 1)  # [..., C, P, h, w], [C or 1, P, m, m]
    if order is not None:
        blocks, factors = blocks.index_select(-3, order), factors.index_select(1, order)
    multiply = _ordered_product if factors.shape[-1] <= ORDERED_SUM_LIMIT else torch.matmul
    product = multiply(factors, blocks) if left else multiply(blocks, factors)
    return from_blocks(product, image.shape[-2:])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    image, matrices, ctx.block, ctx.left, order = inputs
    ctx.save_for_backward(image, matrices, order)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
    image, matrices, order = ctx.saved_tensors
    back = None if order is None else order.argsort()
    grad_image = grad_matrices = None
    if ctx.needs_input_grad[0]:
        transposed = (matrices if order is None else matrices[order]).mT
        grad_image = torch.ops.torchprotect.block_matmul(grad, transposed, ctx.block, ctx.left, back)
    if ctx.needs_input_grad[1]:
        ungathered = grad if back is None else torch.ops.torchprotect.block_permute(grad, back, ctx.block)
        x, g = to_blocks(image, ctx.block), to_blocks(ungathered, ctx.block)
        each = g @ x.mT if ctx.left else x.mT @ g  # [..., C, P, m, m]
        grad_matrices = each.flatten(0, -5).sum(0) if each.ndim > 4 else each
        grad_matrices = grad_matrices.movedim(1, 0).sum_to_size(matrices.shape)
    return grad_image, grad_matrices, None, None, None


register(
    "block_matmul",
    "Tensor image, Tensor matrices, SymInt[2] block, bool left=False, Tensor? order=None",
    _reference,
    _check,
    _check_values,
)
torch.library.register_autograd("torchprotect::block_matmul", _backward, setup_context=_setup_context, lib=LIBRARY)


def block_matmul(
    image: Tensor,
    matrices: Tensor,
    block: tuple[int, int],
    *,
    left: bool = False,
    order: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Multiply every block ``X_p`` of every channel plane by its matrix: ``X_p R_p``, or ``R_p X_p`` with ``left``.

    Args:
        image: floating point ``[..., C, H, W]``.
        matrices: ``[positions, C or 1, m, m]``, with the dtype and device of the image; ``m`` is the block's width, or
            its height with ``left``.
        block: ``(h, w)`` in pixels; must divide ``H`` and ``W``.
        left: multiply from the left.
        order: int64 ``[positions]``; block ``i`` of the result is then the product of block ``order[i]``.
        out: tensor to write to, with the shape, dtype and device of ``image``; it must not share memory with it.

    Returns:
        ``out``, or a new tensor like ``image``. For ``m <= 16`` products are summed in order, and each step is rounded,
        so that every device gives the same bits.
    """
    return call("block_matmul", image, matrices, block, left, order, out=out)
