"""``SaltAndPepper``."""

from typing import Any

from torch import Tensor

from torchprotect import functional as F
from torchprotect.functional.noise import check_amount
from torchprotect.transforms._disguise import Disguise, NoiseSource


class SaltAndPepper(Disguise):
    """Turn random pixels black or white, drawn anew for each picture; place it before a disguise.

    Before a disguise it makes equal units differ, at the cost of accuracy. Alone it protects nothing: all other pixels
    stay plain.

    Args:
        amount: expected fraction of pixels replaced, 0..1, half of them black and half white; a pixel changes in all
            its channels.

    Shape: uint8, or floating point in 0..1, ``[..., C, H, W]`` to the same.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B.
    """

    def __init__(self, amount: float) -> None:
        super().__init__()
        check_amount(amount)
        self.amount = float(amount)

    def describe(self) -> dict[str, Any]:
        """Return name and public parameters."""
        return {**super().describe(), "amount": self.amount}

    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> dict[str, Any]:
        """Draw one uniform number for each pixel of one picture."""
        *leading, _, height, width = shape
        return {"uniforms": noise((*leading, height, width))}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Add the noise to one picture."""
        return F.salt_and_pepper(inpt, params["uniforms"], self.amount)

    def require_invertible(self) -> None:
        """Do nothing: replaced pixels stay black or white, and all others are unchanged."""

    def undo(self, images: Tensor, params: dict[str, Any], *, scale: int) -> Tensor:
        """Return the images unchanged: the original values of replaced pixels are lost."""
        return images
