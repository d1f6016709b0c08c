"""``BlockPermute``."""

from typing import Any

from torch import Tensor

from torchprotect import functional as F
from torchprotect.keys import PermutationKey
from torchprotect.transforms._disguise import Disguise
from torchprotect.transforms._keys import describe_key, require_kind


class BlockPermute(Disguise):
    """Permute the blocks of a picture in a secret order.

    This hides layout, not content: each block stays readable, and a few known images reveal the order. It is
    obfuscation, not cryptographic confidentiality.

    Args:
        key: order of the blocks; also fixes the image size.
        inverse: undo it.

    Shape: ``[..., C, H, W]`` to the same; any dtype; memory format kept.
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
        """Do nothing: it is invertible."""

    def undo(self, images: Tensor, params: dict[str, Any], *, scale: int) -> Tensor:
        """Put the blocks of a batch back into their places."""
        return F.block_permute(images, self.key, inverse=True)
