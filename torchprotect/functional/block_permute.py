"""Permute the blocks of a picture."""

from torch import Tensor

from torchprotect import ops
from torchprotect.functional.picture import on_picture
from torchprotect.keys import PermutationKey


@on_picture
def block_permute(image: Tensor, key: PermutationKey, inverse: bool = False) -> Tensor:
    """Permute the blocks of ``image`` by the secret order of ``key``.

    Args:
        image: PIL image, tensor or ``tv_tensors`` picture ``[..., C, H, W]`` of the key's size; any dtype.
        key: order of the blocks; the pixels inside each block stay as they are.
        inverse: undo the permutation.

    Returns:
        The same kind of picture, dtype, shape and memory format.

    Raises:
        KeySizeError: the image has another size than the key.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-A.
    """
    key.require_fit(image)
    order = key.on("inverse_order" if inverse else "order", image.device)
    return ops.block_permute(image, order, key.block_size)
