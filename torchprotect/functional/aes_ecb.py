"""Run AES-ECB over the blocks of a picture."""

import torch
from torch import Tensor

from torchprotect import ops
from torchprotect.errors import BlockSizeError, InputRangeError, InputTypeError, NotInvertibleError
from torchprotect.functional._resample import scale_down
from torchprotect.functional.picture import on_picture
from torchprotect.keys import AESKey, PermutationKey
from torchprotect.keys.aes import UNIT_PIXELS, usable_units
from torchprotect.keys.bundle import require_same_grid


def check_aes_ecb(
    key: AESKey, permutation: PermutationKey | None = None, unit_pixels: int = 16, inverse: bool = False
) -> None:
    """Check the settings of :func:`aes_ecb_disguise` before any image exists; raises the same errors."""
    if permutation is not None:
        require_same_grid(key, permutation)
    if unit_pixels not in UNIT_PIXELS:
        raise InputRangeError(f"unit_pixels must be one of {UNIT_PIXELS}, not {unit_pixels!r}")
    if unit_pixels not in usable_units(key.block_size):
        raise BlockSizeError(
            f"units of {unit_pixels} pixels do not fit blocks of {key.block_size[0]} x {key.block_size[1]}; "
            f"these do: {usable_units(key.block_size)}"
        )
    if inverse and unit_pixels != 16:
        raise NotInvertibleError(
            f"units of {unit_pixels} pixels have no inverse: scaling down after the cipher loses information; "
            "keep the plain images, or use unit_pixels=16"
        )


@on_picture
def aes_ecb_disguise(
    image: Tensor,
    key: AESKey,
    permutation: PermutationKey | None = None,
    unit_pixels: int = 16,
    inverse: bool = False,
) -> Tensor:
    """Encrypt each unit of pixels with AES in ECB mode, under the key of its block position, then permute the blocks.

    The result is an obfuscated image, not an encrypted one in the cryptographic sense: ECB reveals which units are
    equal, within an image and across the data set.

    Args:
        image: PIL image, tensor or ``tv_tensors`` picture ``[..., C, H, W]``, uint8, of the key's size.
        key: one AES key for each block position.
        permutation: secret order of the disguised blocks; ``None`` leaves the blocks in place.
        unit_pixels: number of pixels in a cipher unit. A unit of 16 pixels is read row by row within a block. Units of
            8, 4 or 2 pixels are disguised in three steps: duplicate each pixel 2, 4 or 8 times in both directions,
            encrypt units of 16, and scale down with a bicubic filter.
        inverse: decrypt instead; possible for units of 16 pixels only.

    Returns:
        The same kind of picture, uint8, with the same shape and memory format.

    Raises:
        InputTypeError: the image is not uint8.
        KeySizeError: the size or the number of channels of the image differs from the key's.
        BlockSizeError: the unit does not fit the key's blocks.
        NotInvertibleError: ``inverse`` was asked for with units below 16 pixels.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B. AES: FIPS 197; ECB mode: NIST SP 800-38A.
    """
    check_aes_ecb(key, permutation, unit_pixels, inverse)
    if image.dtype != torch.uint8:
        raise InputTypeError(f"AES takes uint8 pixels, not {image.dtype}; place it before ToDtype")
    key.require_fit(image)
    keys, device = key.on("keys", image.device), image.device
    order = None if permutation is None else permutation.on("order", device)
    if unit_pixels != 16:
        return _small_units(image, keys, key.block_size, order, 16 // unit_pixels)
    if inverse and permutation is not None:
        keys, order = keys[order], permutation.on("inverse_order", device)
    return ops.aes_ecb(image, keys, key.block_size, decrypt=inverse, order=order)


def _small_units(image: Tensor, keys: Tensor, block: tuple[int, int], order: Tensor | None, factor: int) -> Tensor:
    """Scale up, disguise, scale down.

    A unit lies within one row, so duplicated rows have equal code words, which are computed once.
    """
    wide = image.repeat_interleave(factor, -1)
    small = scale_down(ops.aes_ecb(wide, keys, (block[0], block[1] * factor)), factor)
    if order is not None:
        small = ops.block_permute(small, order, block)
    return torch.empty_like(image).copy_(small)  # keeps the memory format
