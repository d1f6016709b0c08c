"""``BlockPermute``."""

from typing import Any

from torch import Tensor

from torchprotect import functional as F
from torchprotect.keys import PermutationKey
from torchprotect.transforms._disguise import Disguise
from torchprotect.transforms._keys import describe_key, require_kind


class BlockPermute(Disguise):
    """Permute the blocks of a picture in a secret order.

    **What leaks.** It hides the layout, not the content: each block stays readable. Edges alone reveal nearly the whole
    order from a few disguised images, like a jigsaw puzzle (L0), and so do a few known pairs (L2). It is
    obfuscation, not cryptographic confidentiality.

    Args:
        key: order of the blocks; it also fixes the image size.
        inverse: undo the permutation instead.

    Shape: ``[..., C, H, W]`` to the same; any dtype; the memory format is kept.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-A.

    Example::

        key = keys.PermutationKey.generate(image_size=(32, 32), block_size=(8, 8))
        dataset = CIFAR10(root, transform=v2.Compose([v2.ToImage(), transforms.BlockPermute(key)]))
    """

    key: PermutationKey

    def __init__(self, key: PermutationKey, *, inverse: bool = False) -> None:
        super().__init__()
        require_kind("key", key, PermutationKey)
        self.key = key  # a frozen value, not a buffer: secrets stay out of state_dict()
        self.inverse = inverse

    def describe(self) -> dict[str, Any]:
        """Return name and public parameters."""
        return {**super().describe(), **describe_key(self.key), "inverse": self.inverse}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Disguise one picture."""
        return F.block_permute(inpt, self.key, inverse=self.inverse)

    def require_invertible(self) -> None:
        """Do nothing: a permutation is always invertible."""

    def undo(self, images: Tensor, params: dict[str, Any], *, scale: int) -> Tensor:
        """Put the blocks of a batch back into their original places."""
        return F.block_permute(images, self.key, inverse=True)
