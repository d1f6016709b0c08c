"""Add salt-and-pepper noise to plain pixels, from given random numbers."""

import torch
from torch import Tensor

from torchprotect._inputs import require_number
from torchprotect.functional.picture import on_picture, require_uint8_or_unit_float


def check_amount(amount: float) -> None:
    """Check the fraction of pixels to replace: a number in 0..1."""
    require_number("amount, the fraction of pixels to replace,", amount, at_least=0, at_most=1)


@on_picture
def salt_and_pepper(image: Tensor, uniforms: Tensor, amount: float) -> Tensor:
    """Turn a random fraction of the pixels black or white, with equal probability; a pixel changes in all its channels.

    Args:
        image: PIL image, tensor or ``tv_tensors`` picture ``[..., C, H, W]``: uint8, or floating point in 0..1.
        uniforms: one number in [0, 1) for each pixel, ``[..., H, W]``. A number below ``amount / 2`` makes its pixel
            black; ``1 - amount / 2`` or more makes it white.
        amount: expected fraction of pixels to replace, 0..1.

    Returns:
        The same kind of picture, with the same dtype and shape.

    Raises:
        InputTypeError: the image is neither uint8 nor floating point.
        InputRangeError: ``amount``, or a pixel of a floating-point image, lies outside 0..1.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B.
    """
    check_amount(amount)
    require_uint8_or_unit_float(image)
    white = 255 if image.dtype == torch.uint8 else 1
    chance = uniforms.to(image.device).unsqueeze(-3)
    return image.masked_fill(chance < amount / 2, 0).masked_fill(chance >= 1 - amount / 2, white)
