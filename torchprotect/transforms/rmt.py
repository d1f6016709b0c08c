"""``RMTDisguise``."""

import warnings
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from torchprotect import functional as F
from torchprotect._inputs import require_number
from torchprotect.errors import InputRangeError, PixelScaleWarning
from torchprotect.functional.rmt import check_rmt
from torchprotect.keys import PermutationKey, RMTKey
from torchprotect.transforms._disguise import Disguise, NoiseSource
from torchprotect.transforms._keys import describe_key, require_kind

_SCALE = (
    "RMTDisguise was given 8-bit pixels and returns float32 on their scale, 0..255; ToDtype(scale=True) after it "
    "changes nothing. For the 0..1 scale place v2.ToImage() and v2.ToDtype(torch.float32, scale=True) before it"
)


class RMTDisguise(Disguise):
    """Add uniform noise to the pixels, then multiply each block by a secret random matrix (RMT).

    **What leaks.** Orthogonal matrices keep all distances. Statistics of public images reveal the matrices, the block
    order, classes and pictures, also under noise (L1); known pairs reveal the matrices by regression (L2). Without
    noise, rows of orthogonal matrices can be read from the disguised images themselves (L0). It is obfuscation, not
    cryptographic confidentiality.

    Args:
        key: matrices; they also fix the image size and the side they multiply from.
        permutation: secret order of the disguised blocks.
        noise: upper end ``u`` of the noise, which is uniform in [0, u) grey levels of the 0..255 scale and drawn anew
            for each picture.
        inverse: multiply by the inverse matrices instead. Noise stays in the result, so ``noise`` must be 0.

    Shape: uint8, or floating point in 0..1, ``[..., C, H, W]`` to float32 of the same shape and scale (uint8 is read as
    0..255). A PIL image becomes a ``tv_tensors.Image``.

    For training, place ``v2.ToImage()`` and ``v2.ToDtype(torch.float32, scale=True)`` before it, so that the result is
    on the 0..1 scale. ``ToDtype`` after it changes nothing, because the result is floating point already.

    Warns:
        PixelScaleWarning: on the first 8-bit picture. An export, whose manifest states the scale, and
            :func:`torchprotect.functional.rmt_disguise` do not warn.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B.

    Example::

        key = keys.RMTKey.generate(image_size=(28, 28), block_size=(7, 7))
        to_unit = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
        disguise = v2.Compose([*to_unit, transforms.RMTDisguise(key, noise=100)])
    """

    key: RMTKey

    def __init__(
        self,
        key: RMTKey,
        *,
        permutation: PermutationKey | None = None,
        noise: float = 0.0,
        inverse: bool = False,
    ) -> None:
        super().__init__()
        require_kind("key", key, RMTKey)
        if permutation is not None:
            require_kind("permutation", permutation, PermutationKey)
        check_rmt(key, permutation)
        require_number("noise, in grey levels,", noise, at_least=0)
        if inverse and noise:
            raise InputRangeError("the inverse adds no noise and removes none; leave noise at 0")
        self.key = key
        self.permutation = permutation
        self.noise = float(noise)
        self.inverse = inverse
        self._warned_of_scale = False

    def describe(self) -> dict[str, Any]:
        """Return name and public parameters."""
        return {
            **super().describe(),
            **describe_key(self.key),
            "permutation": self.permutation and self.permutation.fingerprint,
            "noise": self.noise,
            "side": self.key.side,
            "matrix": self.key.matrix,
            "inverse": self.inverse,
        }

    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> dict[str, Any]:
        """Draw the noise of one picture, in grey levels."""
        return {"delta": self.noise * noise(shape) if self.noise else None}

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the noise of one picture; warn once if the picture has 8-bit pixels."""
        if not self._warned_of_scale and not self.inverse and _has_bytes(flat_inputs[0]):
            self._warn_of_scale()
        return super().make_params(flat_inputs)

    def _warn_of_scale(self) -> None:
        if torch.compiler.is_dynamo_compiling():  # it can neither warn nor remember
            return
        self._warned_of_scale = True
        warnings.warn(_SCALE, PixelScaleWarning, stacklevel=3)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Disguise one picture."""
        return F.rmt_disguise(inpt, self.key, params["delta"], self.permutation, self.inverse)

    def require_invertible(self) -> None:
        """Do nothing: the matrices are always invertible."""

    def undo(self, images: Tensor, params: dict[str, Any], *, scale: int) -> Tensor:
        """Multiply a batch by the inverse matrices, and subtract the noise that was added."""
        noisy: Tensor = F.rmt_disguise(images.float(), self.key, None, self.permutation, inverse=True)
        delta = params["delta"]
        return noisy if delta is None else noisy - delta * (scale / 255)


def _has_bytes(picture: Any) -> bool:
    return isinstance(picture, PIL.Image.Image) or picture.dtype == torch.uint8
