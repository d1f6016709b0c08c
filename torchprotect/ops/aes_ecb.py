"""``torchprotect::aes_ecb``: AES in ECB mode on the blocks of an image, one key per position."""

from collections.abc import Sequence

import torch
from torch import Tensor

from torchprotect.errors import BlockSizeError, InputShapeError, InputTypeError
from torchprotect.ops import _aes_torch
from torchprotect.ops._library import call, register
from torchprotect.ops.block_permute import check_order, require_permutation
from torchprotect.ops.blocks import count_blocks, from_blocks, to_blocks

UNIT = 16
"""Bytes in one AES unit."""


def _check(
    image: Tensor, keys: Tensor, block: Sequence[int], decrypt: bool = False, order: Tensor | None = None
) -> None:
    if image.ndim < 3 or image.dtype != torch.uint8:
        raise InputTypeError(f"image must be uint8 [..., C, H, W], not {image.dtype} {list(image.shape)}")
    positions, channels, shape = count_blocks(image, block), image.shape[-3], keys.shape
    if block[0] * block[1] % UNIT:
        raise BlockSizeError(f"a block of {block[0]} x {block[1]} bytes is not a multiple of {UNIT} bytes")
    fits = len(shape) == 3 and shape[0] == positions and shape[1] in (1, channels) and shape[2] in (16, 24, 32)
    if not fits or keys.dtype != torch.uint8 or keys.device != image.device:
        raise InputShapeError(
            f"keys must be uint8 [{positions}, {channels} or 1, 16, 24 or 32] on {image.device}, "
            f"not {keys.dtype} {list(shape)} on {keys.device}"
        )
    if order is not None:
        check_order(order, positions, image.device)


def _check_values(
    image: Tensor, keys: Tensor, block: Sequence[int], decrypt: bool = False, order: Tensor | None = None
) -> None:
    require_permutation(order)


def _crypt_cpu(units: Tensor, keys: Tensor, decrypt: bool) -> Tensor:
    """Run pycryptodome once per key: ``units [keys, bytes]``, ``keys [keys, 16 | 24 | 32]``."""
    from Crypto.Cipher import AES  # 20 ms to import: only when used

    result = torch.empty_like(units)
    for key, source, target in zip(keys.numpy(), units.numpy(), result.numpy(), strict=True):
        cipher = AES.new(key.tobytes(), AES.MODE_ECB)
        (cipher.decrypt if decrypt else cipher.encrypt)(memoryview(source), output=memoryview(target))
    return result


def _reference(
    image: Tensor, keys: Tensor, block: Sequence[int], decrypt: bool = False, order: Tensor | None = None
) -> Tensor:
    if image.numel() == 0:
        return torch.empty_like(image)
    blocks = to_blocks(image, block)  # [..., C, P, h, w]
    if order is not None:
        blocks, keys = blocks.index_select(-3, order), keys[order]
    positions, sharing = keys.shape[:2]
    lanes = blocks.movedim(-3, 0)  # [P, ..., C, h, w]
    if sharing > 1:
        lanes = lanes.movedim(-3, 1)  # [P, C, ..., h, w]
    units, rows = lanes.reshape(positions * sharing, -1), keys.reshape(positions * sharing, -1).contiguous()
    crypt = _crypt_cpu if image.device.type == "cpu" else _aes_torch.crypt
    done = crypt(units.contiguous(), rows, decrypt).view(lanes.shape)
    if sharing > 1:
        done = done.movedim(1, -3)
    return from_blocks(done.movedim(0, -3), image.shape[-2:])


register(
    "aes_ecb",
    "Tensor image, Tensor keys, SymInt[2] block, bool decrypt=False, Tensor? order=None",
    _reference,
    _check,
    _check_values,
)


def aes_ecb(
    image: Tensor,
    keys: Tensor,
    block: tuple[int, int],
    *,
    decrypt: bool = False,
    order: Tensor | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Run AES-ECB over each block, in units of 16 bytes read row-major inside one block of one channel plane.

    The CPU reference costs about 10 µs per position and call, so pass batches. ECB reveals which units are equal.

    Args:
        image: uint8 ``[..., C, H, W]``.
        keys: uint8 ``[positions, C or 1, 16 | 24 | 32]`` on the image's device; with 1, all channels share a key.
        block: ``(h, w)`` in pixels; must divide ``H`` and ``W``, and ``h * w`` must be a multiple of 16.
        decrypt: decrypt instead of encrypting.
        order: int64 ``[positions]``; block ``i`` of the result then comes from block ``order[i]``, under key
            ``order[i]``.
        out: tensor to write to, with the shape, dtype and device of ``image``; it must not share memory with it.

    Returns:
        ``out``, or a new tensor like ``image``.

    References:
        FIPS 197 (AES), NIST SP 800-38A (ECB mode).
    """
    return call("aes_ecb", image, keys, block, decrypt, order, out=out)
