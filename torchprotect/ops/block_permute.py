"""``torchprotect::block_permute``: permute the blocks of an image."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchprotect.errors import InputRangeError, InputShapeError
from torchprotect.ops._library import LIBRARY, call, register
from torchprotect.ops.blocks import count_blocks, from_blocks, to_blocks


def check_order(order: Tensor, positions: int, device: torch.device) -> None:
    """Check that ``order`` is an int64 vector with one entry per block, on the image's device."""
    if order.dtype != torch.int64 or order.ndim != 1 or order.shape[0] != positions or order.device != device:
        raise InputShapeError(
            f"order must be int64 [{positions}] on {device}, not {order.dtype} {list(order.shape)} on {order.device}"
        )


def require_permutation(order: Tensor | None) -> None:
    """Check that the order has each block once."""
    if order is not None and not torch.equal(order.sort().values, torch.arange(len(order), device=order.device)):
        raise InputRangeError(f"order must be a permutation: each of 0 .. {len(order) - 1} once")


def _check(image: Tensor, order: Tensor, block: Sequence[int]) -> None:
    if image.ndim < 2:
        raise InputShapeError(f"an image must have at least two dimensions [..., H, W], not shape {list(image.shape)}")
    check_order(order, count_blocks(image, block), image.device)


def _check_values(image: Tensor, order: Tensor, block: Sequence[int]) -> None:
    require_permutation(order)


def _reference(image: Tensor, order: Tensor, block: Sequence[int]) -> Tensor:
    return from_blocks(to_blocks(image, block).index_select(-3, order), image.shape[-2:])


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, order, ctx.block = inputs
    ctx.save_for_backward(order)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    (order,) = ctx.saved_tensors
    return torch.ops.torchprotect.block_permute(grad, order.argsort(), ctx.block), None, None


register("block_permute", "Tensor image, Tensor order, SymInt[2] block", _reference, _check, _check_values)
torch.library.register_autograd("torchprotect::block_permute", _backward, setup_context=_setup_context, lib=LIBRARY)


def block_permute(image: Tensor, order: Tensor, block: tuple[int, int], *, out: Tensor | None = None) -> Tensor:
    """Gather blocks: block ``i`` of the result is block ``order[i]`` of the image.

    Args:
        image: ``[..., H, W]``, any dtype and memory format.
        order: int64 ``[positions]``, each block once, on the image's device.
        block: ``(h, w)`` in pixels; must divide ``H`` and ``W``.
        out: tensor to write to, with the shape, dtype and device of ``image``; it must not share memory with it.

    Returns:
        ``out``, or a new tensor like ``image``.
    """
    return call("block_permute", image, order, block, out=out)
