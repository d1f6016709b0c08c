"""The disguises as kornia augmentations, for use alone or inside ``kornia.augmentation.AugmentationSequential``.

They take batches of float images ``[B, C, H, W]``, as a kornia pipeline passes them:

* :class:`BlockPermute` takes any dtype and any values, also after ``Normalize``;
* :class:`RMTDisguise` takes values in 0..1, so it belongs before ``Normalize``;
* :class:`AESECBDisguise` takes 8-bit pictures: values n/255 within 1e-4 or, with ``rounding="nearest"``, any in 0..1.

"In 0..1" allows for 1e-4 on either side: interpolation in float32 leaves the range by less. Such values are clamped.

Images are always disguised: there is no ``p``. Masks, boxes and key points raise, because they would be left
unprotected. kornia's own ``inverse`` does not undo intensity augmentations; make a module with ``inverse=True``
instead. The module needs kornia 0.9.

These modules cannot control their container. ``random_apply`` may skip them, and class data and dict entries that
kornia does not know pass through without reaching them. Put no pictures there.
"""

from importlib.metadata import version
from typing import Any, Literal, get_args

import torch
from kornia.augmentation import IntensityAugmentationBase2D
from torch import Tensor

from torchprotect import functional as F
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError
from torchprotect.keys import AESKey, Key, PermutationKey, RMTKey
from torchprotect.transforms import aes_ecb, block_permute, rmt
from torchprotect.transforms._disguise import Disguise
from torchprotect.transforms._from_key import class_and_keys, leaves_labels, make

if tuple(map(int, version("kornia").split(".")[:2])) < (0, 9):
    raise ImportError(
        f"torchprotect.transforms.kornia needs kornia 0.9, not {version('kornia')}: earlier versions pass boxes, "
        "unprotected, around an intensity augmentation without calling it; update kornia (and Python to 3.11)"
    )

Rounding = Literal["exact", "nearest"]

_TOLERANCE = 1e-4


def _clamp_to_unit(image: Tensor) -> Tensor:
    """Return an image in 0..1, without the rounding errors that took it out of that range.

    Raises:
        InputRangeError: a value lies further outside, or is NaN.
    """
    if not bool(((image >= -_TOLERANCE) & (image <= 1 + _TOLERANCE)).all()):
        raise InputRangeError(
            "images must be float in 0..1; place the disguise before Normalize, and clamp after augmentations that add "
            "noise or contrast"
        )
    return image.clamp(0, 1)


def _to_grey_levels(image: Tensor, rounding: Rounding) -> Tensor:
    """Return the uint8 image that a float image in 0..1 represents; with ``"nearest"``, the closest one.

    Raises:
        InputRangeError: a value lies outside 0..1, or is not n/255 and must not be rounded.
    """
    exact = image if image.dtype == torch.float64 else image.float()  # half precision rounds too coarsely to compare
    unit = _clamp_to_unit(exact)
    levels = (unit * 255).round()
    if rounding == "exact" and not bool(((unit - levels / 255).abs() <= _TOLERANCE).all()):
        raise InputRangeError(
            f"images must be 8-bit pictures as float in 0..1: every value n/255 within {_TOLERANCE:g}; place the "
            'disguise before anything that interpolates or normalises and use float32, or round with rounding="nearest"'
        )
    return levels.to(torch.uint8)


class _KorniaDisguise(IntensityAugmentationBase2D):
    """Base class: wraps a v2 disguise and uses its checks and settings."""

    def __init__(self, disguise: Disguise, keepdim: bool) -> None:
        super().__init__(p=1.0, p_batch=1.0, same_on_batch=False, keepdim=keepdim)
        self.disguise = disguise

    @property
    def security_claim(self) -> str:
        """Always ``"obfuscation"``."""
        return self.disguise.security_claim

    def __repr__(self) -> str:
        return repr(self.disguise)  # the disguise has the same class name as the module

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
        inverse: undo the permutation instead.
        keepdim: return a tensor of the same rank as the input.

    Shape: ``[B, C, H, W]`` to the same; any dtype and values.
    """

    def __init__(self, key: PermutationKey, *, inverse: bool = False, keepdim: bool = False) -> None:
        super().__init__(block_permute.BlockPermute(key, inverse=inverse), keepdim)

    def validate_tensor(self, input: Tensor) -> None:
        """Check for four dimensions and accept any dtype, because a permutation computes nothing."""
        if input.ndim != 4:
            raise InputShapeError(f"images must be [B, C, H, W], got {list(input.shape)}")

    def transform_tensor(self, input: Tensor, *, shape: Tensor | None = None, match_channel: bool = True) -> Tensor:
        """Add dimensions up to four; kornia would refuse dtypes that it cannot compute with."""
        if input.is_floating_point() or not 2 <= input.ndim <= 4:
            four: Tensor = super().transform_tensor(input, shape=shape, match_channel=match_channel)
            return four
        return input[(None,) * (4 - input.ndim)]

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Disguise a batch."""
        return self.disguise(input)


class AESECBDisguise(_KorniaDisguise):
    """:class:`torchprotect.transforms.AESECBDisguise` for kornia.

    Args:
        key: AES keys.
        permutation: secret order of the disguised blocks.
        unit_pixels: 16, 8, 4 or 2.
        rounding: how to treat values between two grey levels, as interpolation produces them: ``"exact"`` refuses every
            value that is not n/255 within 1e-4; ``"nearest"`` rounds to the nearest grey level.
        inverse: decrypt instead; possible for units of 16 pixels only. The inverse needs exact grey levels: rounded
            values are not what was disguised.
        keepdim: return a tensor of the same rank as the input.

    Shape: floating point ``[B, C, H, W]`` in 0..1 to values n/255 of the same shape and dtype.
    """

    def __init__(
        self,
        key: AESKey,
        *,
        permutation: PermutationKey | None = None,
        unit_pixels: int = 16,
        rounding: Rounding = "exact",
        inverse: bool = False,
        keepdim: bool = False,
    ) -> None:
        super().__init__(
            aes_ecb.AESECBDisguise(key, permutation=permutation, unit_pixels=unit_pixels, inverse=inverse), keepdim
        )
        if rounding not in get_args(Rounding):
            raise InputRangeError(f"rounding must be one of {get_args(Rounding)}, got {rounding!r}")
        if inverse and rounding != "exact":
            raise InputRangeError('the inverse takes exact grey levels only; leave rounding at "exact"')
        self.rounding = rounding

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, rounding={self.rounding!r})"

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Disguise a batch."""
        return self.disguise(_to_grey_levels(input, self.rounding)).to(input.dtype) / 255


class RMTDisguise(_KorniaDisguise):
    """:class:`torchprotect.transforms.RMTDisguise` for kornia.

    Args:
        key: matrices.
        permutation: secret order of the disguised blocks.
        noise: upper end ``u`` of the noise, which is uniform in [0, u) grey levels of the 0..255 scale.
        inverse: multiply by the inverse matrices instead; takes any float images.
        keepdim: return a tensor of the same rank as the input.

    Shape: floating point ``[B, C, H, W]`` in 0..1 to float32 of the same shape, on the 0..1 scale.
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
        """Draw the noise of a batch, in grey levels; kornia keeps it in ``_params``, like all its draws."""
        delta = self.disguise.make_params([torch.empty(batch_shape, device="meta")])["delta"]
        return {} if delta is None else {"delta": delta}

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Disguise a batch."""
        own = self.disguise
        pixels = input if own.inverse else _clamp_to_unit(input.float())
        return F.rmt_disguise(pixels, own.key, params.get("delta"), own.permutation, own.inverse)


_MODULES: dict[type[Key], type[Any]] = {PermutationKey: BlockPermute, AESKey: AESECBDisguise, RMTKey: RMTDisguise}


def from_key(key: Key, *, inverse: bool = False, keepdim: bool = False, **options: Any) -> Any:
    """Make the kornia module that belongs to a key or bundle, like :func:`torchprotect.transforms.from_key`.

    Args:
        key: a permutation, AES or RMT key, or a bundle of one with an optional permutation. A label map in the bundle
            is not applied by the module: pass it to the data set.
        inverse: make the inverse module, for the key holder.
        keepdim: return a tensor of the same rank as the input.
        **options: further keyword arguments of the module, such as ``unit_pixels``, ``rounding`` or ``noise``.

    Returns:
        :class:`BlockPermute`, :class:`AESECBDisguise` or :class:`RMTDisguise`.

    Raises:
        KeyKindError: there is no module for this kind of key.
        InputTypeError: the module does not have one of the options.
    """
    made, keys = class_and_keys(key, _MODULES, "kornia module", "use a permutation, AES or RMT key")
    module = make(made, {**keys, "inverse": inverse, "keepdim": keepdim, **options})
    module.disguise.leaves_labels = leaves_labels(key, inverse)
    return module
