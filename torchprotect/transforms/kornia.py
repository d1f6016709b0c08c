"""The disguises as kornia augmentations, for use alone or inside ``kornia.augmentation.AugmentationSequential``.

Images are float ``[B, C, H, W]`` in 0..1 whose values are n/255 within 1e-4, as 8-bit pictures give them. They are
always disguised: there is no ``p``. Masks, boxes and key points raise, since they would be left unprotected. kornia's
own ``inverse`` leaves intensity augmentations as they are; make a module with ``inverse=True`` instead. It needs
kornia 0.9.

What a container does is beyond these modules: ``random_apply`` may leave them out, and class data and dict entries that
kornia does not know pass without being shown to them. Give it no pictures there.
"""

from importlib.metadata import version
from typing import Any

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from torch import Tensor

from torchprotect import functional as F
from torchprotect.errors import InputRangeError, InputTypeError
from torchprotect.keys import AESKey, PermutationKey, RMTKey
from torchprotect.transforms import aes_ecb, block_permute, rmt
from torchprotect.transforms._disguise import Disguise

if tuple(map(int, version("kornia").split(".")[:2])) < (0, 9):
    raise ImportError(
        f"torchprotect.transforms.kornia needs kornia 0.9, not {version('kornia')}: earlier ones let boxes pass by an "
        "intensity augmentation unprotected, without asking it; update kornia (and Python to 3.11)"
    )

_TOLERANCE = 1e-4


def _to_grey_levels(image: Tensor) -> Tensor:
    """Return the uint8 image that a float image in 0..1 stands for.

    Raises:
        InputRangeError: a value is no n/255, or lies outside 0..1.
    """
    exact = image if image.dtype == torch.float64 else image.float()  # half precision rounds too coarsely to compare
    levels = (exact * 255).round()
    near = ((exact - levels / 255).abs() <= _TOLERANCE) & (levels >= 0) & (levels <= 255)
    if not bool(near.all()):
        raise InputRangeError(
            f"images must be 8-bit pictures as float in 0..1: every value n/255 within {_TOLERANCE:g}; place the "
            "disguise before anything that interpolates or normalises, and use float32"
        )
    return levels.to(torch.uint8)


def _to_unit_floats(levels: Tensor, dtype: torch.dtype) -> Tensor:
    return levels.to(dtype) / 255


class _KorniaDisguise(IntensityAugmentationBase2D):
    """Base: wraps a v2 disguise, whose checks and settings it shares."""

    def __init__(self, disguise: Disguise, keepdim: bool) -> None:
        super().__init__(p=1.0, p_batch=1.0, same_on_batch=False, keepdim=keepdim)
        self.disguise = disguise

    @property
    def security_claim(self) -> str:
        """Always ``"obfuscation"``."""
        return self.disguise.security_claim

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.disguise.extra_repr()})"

    def _refuse(self, what: str) -> InputTypeError:
        return InputTypeError(f"{type(self).__name__} would leave {what} unprotected; take them out of the data keys")

    def transform_masks(self, *args: Any, **kwargs: Any) -> Tensor:
        """Raise: masks would be left unprotected."""
        raise self._refuse("masks")

    def transform_boxes(self, *args: Any, **kwargs: Any) -> Any:
        """Raise: boxes would be left unprotected."""
        raise self._refuse("boxes")

    def transform_keypoints(self, *args: Any, **kwargs: Any) -> Any:
        """Raise: key points would be left unprotected."""
        raise self._refuse("key points")


class BlockPermute(_KorniaDisguise):
    """:class:`torchprotect.transforms.BlockPermute` for kornia.

    Args:
        key: order of the blocks.
        inverse: undo it.
        keepdim: return a tensor of the same rank as the input.

    Shape: float ``[B, C, H, W]`` of n/255 to the same.
    """

    def __init__(self, key: PermutationKey, *, inverse: bool = False, keepdim: bool = False) -> None:
        super().__init__(block_permute.BlockPermute(key, inverse=inverse), keepdim)

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Disguise a batch."""
        return _to_unit_floats(self.disguise(_to_grey_levels(input)), input.dtype)


class AESECBDisguise(_KorniaDisguise):
    """:class:`torchprotect.transforms.AESECBDisguise` for kornia.

    Args:
        key: AES keys.
        permutation: secret order of the disguised blocks.
        unit_pixels: 16, 8, 4 or 2.
        inverse: decrypt; for units of 16 pixels only.
        keepdim: return a tensor of the same rank as the input.

    Shape: float ``[B, C, H, W]`` of n/255 to the same.
    """

    def __init__(
        self,
        key: AESKey,
        *,
        permutation: PermutationKey | None = None,
        unit_pixels: int = 16,
        inverse: bool = False,
        keepdim: bool = False,
    ) -> None:
        super().__init__(
            aes_ecb.AESECBDisguise(key, permutation=permutation, unit_pixels=unit_pixels, inverse=inverse), keepdim
        )

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Disguise a batch."""
        return _to_unit_floats(self.disguise(_to_grey_levels(input)), input.dtype)


class RMTDisguise(_KorniaDisguise):
    """:class:`torchprotect.transforms.RMTDisguise` for kornia.

    Args:
        key: matrices.
        permutation: secret order of the disguised blocks.
        noise: upper end of the uniform noise in grey levels of the 0..255 scale.
        inverse: multiply by the inverse matrices; takes any float images.
        keepdim: return a tensor of the same rank as the input.

    Shape: float ``[B, C, H, W]`` of n/255 to float32 of the same shape, on the 0..1 scale.
    """

    def __init__(
        self,
        key: RMTKey,
        *,
        permutation: PermutationKey | None = None,
        noise: float = 0.0,
        inverse: bool = False,
        keepdim: bool = False,
    ) -> None:
        super().__init__(rmt.RMTDisguise(key, permutation=permutation, noise=noise, inverse=inverse), keepdim)

    def generate_parameters(self, batch_shape: tuple[int, ...]) -> dict[str, Tensor]:
        """Draw the noise of a batch, in grey levels; kept in ``_params``, as kornia keeps all draws."""
        delta = self.disguise.make_params([torch.empty(batch_shape, device="meta")])["delta"]
        return {} if delta is None else {"delta": delta}

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Disguise a batch."""
        own = self.disguise
        pixels = input if own.inverse else _to_unit_floats(_to_grey_levels(input), torch.float32)
        return F.rmt_disguise(pixels, own.key, params.get("delta"), own.permutation, own.inverse)
