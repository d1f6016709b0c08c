"""Multiply the blocks of a picture by secret random matrices."""

import torch
from torch import Tensor

from torchprotect import ops
from torchprotect.errors import InputTypeError
from torchprotect.functional.picture import on_picture, require_uint8_or_unit_float
from torchprotect.keys import PermutationKey, RMTKey
from torchprotect.keys.bundle import require_same_grid


def check_rmt(key: RMTKey, permutation: PermutationKey | None = None) -> None:
    """Check that the settings of :func:`rmt_disguise` fit together, before any image exists; raises the same errors."""
    if permutation is not None:
        require_same_grid(key, permutation)


@on_picture
def rmt_disguise(
    image: Tensor,
    key: RMTKey,
    delta: Tensor | None = None,
    permutation: PermutationKey | None = None,
    inverse: bool = False,
) -> Tensor:
    """Multiply each block by a secret matrix, ``(X + delta) R``, then permute the blocks.

    ``X`` is one block of one channel plane. A left-sided key computes ``R (X + delta)`` instead.

    Args:
        image: PIL image, tensor or ``tv_tensors`` picture ``[..., C, H, W]`` of the key's size. uint8 is read as
            0..255; floating point must lie in 0..1 and stays on that scale. The inverse takes any floating-point
            values.
        key: one matrix for each block position.
        delta: noise in grey levels of the 0..255 scale, shaped like the image. It is divided by 255 for a
            floating-point image. The inverse does not remove it.
        permutation: secret order of the disguised blocks; ``None`` leaves the blocks in place.
        inverse: multiply by the inverse matrices instead.

    Returns:
        float32 with the image's shape and memory format. A PIL image comes back as a ``tv_tensors.Image``.

    Raises:
        InputTypeError: the image is neither uint8 nor floating point; or, for the inverse, not floating point.
        InputRangeError: a floating-point image has values outside 0..1.
        KeySizeError: the size or the number of channels of the image differs from the key's.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B.
    """
    check_rmt(key, permutation)
    key.require_fit(image)
    if not inverse:
        require_uint8_or_unit_float(image)
    elif not image.is_floating_point():
        raise InputTypeError(f"a picture disguised by RMT must be floating point, not {image.dtype}")
    # local variables hold secrets from here on; the errors above show none in their tracebacks
    matrices = key.on("inverses" if inverse else "matrices", image.device)
    order = None if permutation is None else permutation.on("order", image.device)
    pixels = image.float()
    if inverse and permutation is not None:
        matrices, order = matrices[order], permutation.on("inverse_order", image.device)
    if not inverse and delta is not None:
        delta = delta.to(image.device, torch.float32)
        pixels = pixels + (delta if image.dtype == torch.uint8 else delta / 255)
    return ops.block_matmul(pixels, matrices, key.block_size, left=key.side == "left", order=order)
