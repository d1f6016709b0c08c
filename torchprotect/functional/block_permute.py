"""Permute the blocks of a picture."""

from torch import Tensor

from torchprotect import ops
from torchprotect.functional.picture import on_picture
from torchprotect.keys import PermutationKey


@on_picture
def block_permute(image: Tensor, key: PermutationKey, inverse: bool = False) -> Tensor:
    """Permute the blocks of an image in the secret order of a key.

    Args:
        image: PIL image, tensor or ``tv_tensors`` picture ``[..., C, H, W]`` of the key's size; any dtype.
        key: order of the blocks. Pixels keep their places inside each block.
        inverse: undo the permutation instead.

    Returns:
        The same kind of picture, with the same dtype, shape and memory format.

    Raises:
        KeySizeError: the size of the image differs from the key's.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-A.
    """
    key.require_fit(image)
    order = key.on("inverse_order" if inverse else "order", image.device)
    return ops.block_permute(image, order, key.block_size)
