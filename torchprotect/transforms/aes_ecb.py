"""``AESECBDisguise``."""

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from torchprotect import functional as F
from torchprotect.functional.aes_ecb import check_aes_ecb
from torchprotect.keys import AESKey, PermutationKey
from torchprotect.transforms._disguise import Disguise
from torchprotect.transforms._keys import describe_key, require_kind
from torchprotect.transforms._repeats import repeated_units

_FEW_REPEATS = 0.1


class AESECBDisguise(Disguise):
    """Encrypt units of pixels with AES in ECB mode, under a key for each block position or one key for all.

    **What leaks.** "AES" names the building block, not a level of protection. ECB shows which units are equal, within
    an image and across the data set (L0): even backgrounds stay visible as silhouettes. Statistics of public images
    give away the block order, classes and coarse pictures (L1). Each known pair adds to a codebook of units (L2). It is
    obfuscation, not cryptographic confidentiality.

    Args:
        key: AES keys; they also fix the image size.
        permutation: secret order of the disguised blocks.
        unit_pixels: 16, 8, 4 or 2. Smaller units keep more information for a model, and for an attacker.
        inverse: decrypt instead; possible for units of 16 pixels only.

    Shape: uint8 ``[..., C, H, W]`` to the same; the memory format is kept. Place it before ``ToDtype``.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B. AES: FIPS 197; ECB mode: NIST SP 800-38A.
    """

    key: AESKey

    def __init__(
        self,
        key: AESKey,
        *,
        permutation: PermutationKey | None = None,
        unit_pixels: int = 16,
        inverse: bool = False,
    ) -> None:
        super().__init__()
        require_kind("key", key, AESKey)
        if permutation is not None:
            require_kind("permutation", permutation, PermutationKey)
        check_aes_ecb(key, permutation, unit_pixels, inverse)
        self.key = key
        self.permutation = permutation
        self.unit_pixels = unit_pixels
        self.inverse = inverse

    def describe(self) -> dict[str, Any]:
        """Return name and public parameters."""
        return {
            **super().describe(),
            **describe_key(self.key),
            "permutation": self.permutation and self.permutation.fingerprint,
            "unit_pixels": self.unit_pixels,
            "inverse": self.inverse,
        }

    def note_on(self, images: Iterable[Tensor]) -> str | None:
        """Warn the owner if few units repeat: AES keeps nothing else, so a network would learn next to nothing."""
        looked_at = list(images)
        shared = self.key.shared
        repeated = repeated_units(looked_at, self.key.block_size, self.unit_pixels, anywhere=shared)
        if repeated is None or repeated >= _FEW_REPEATS:
            return None
        return (
            f"in {len(looked_at)} images looked at, {repeated:.1%} of the units of {self.unit_pixels} pixels occur "
            f"twice{'' if shared else ' at their position'}. AES keeps nothing else, so a network will hardly learn "
            "from this export; photographs stay usable under RMT or a block permutation"
        )

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Disguise one picture."""
        return F.aes_ecb_disguise(inpt, self.key, self.permutation, self.unit_pixels, self.inverse)

    def require_invertible(self) -> None:
        """Check that units have 16 pixels; smaller ones have no inverse."""
        check_aes_ecb(self.key, self.permutation, self.unit_pixels, inverse=True)

    def undo(self, images: Tensor, params: dict[str, Any], *, scale: int) -> Tensor:
        """Decrypt a batch; raise ``NotInvertibleError`` for units of fewer than 16 pixels."""
        return F.aes_ecb_disguise(images, self.key, self.permutation, self.unit_pixels, inverse=True)
