"""Image squeezing: degrade images slightly, which removes small perturbations.

Apply these functions to released images before training. Liu et al., Image Shortcut Squeezing (arXiv 2301.13838), found
that such compression undoes most published perturbations.
"""

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import require_data
from torchprotect.attacks.adversarial._released import in_unit_range, released
from torchprotect.attacks.adversarial.train_and_watch import train_on, training_attack
from torchprotect.attacks.protocol import Seen
from torchprotect.attacks.results import NetworkResult
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError


def squeeze_jpeg(images: Tensor, quality: int = 10) -> Tensor:
    """Compress images as JPEG and decode them again: an attacker with the released images only (level L0).

    Cost: one image after the other on the CPU, because the codec takes one at a time.

    Args:
        images: uint8 ``[N, C, H, W]``, one or three channels.
        quality: Pillow's JPEG quality, 1 to 95; colour is stored at half the resolution.

    Returns:
        Images like the given ones.

    References:
        Liu et al., Image Shortcut Squeezing: Countering Perturbative Availability Poisons with Compression.
    """
    _require_pictures(images)
    if images.dtype != torch.uint8:
        raise InputTypeError(f"JPEG takes uint8 images, not {images.dtype}: multiply by 255, round and convert")
    require_int("quality", quality, at_least=1, at_most=95)
    done = [_through_jpeg(picture, quality) for picture in images.cpu().movedim(1, -1).numpy()]
    return torch.from_numpy(np.stack(done)).movedim(-1, 1).contiguous().to(images.device) if done else images.clone()


def squeeze_grey(images: Tensor) -> Tensor:
    """Convert images to grey: an attacker with the released images only (level L0).

    Cost: one weighted sum.

    Args:
        images: uint8, or floating point in 0..1, ``[N, C, H, W]``, one or three channels.

    Returns:
        Images like the given ones, with all channels equal (luminance of ITU-R 601).

    References:
        Liu et al., Image Shortcut Squeezing: Countering Perturbative Availability Poisons with Compression.
    """
    _require_pictures(images)
    _require_range(images)
    return images.clone() if images.shape[1] == 1 else tv.rgb_to_grayscale(images, num_output_channels=3)


def squeeze_bits(images: Tensor, bits: int) -> Tensor:
    """Round pixels to a few levels: an attacker with the released images only (level L0).

    Cost: one rounding.

    Args:
        images: uint8, or floating point in 0..1, ``[N, C, H, W]``.
        bits: 1 to 8; leaves ``2 ** bits`` evenly spaced levels, including black and white.

    Returns:
        Images like the given ones.

    References:
        Xu et al., Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks; Liu et al., Image Shortcut
        Squeezing.
    """
    _require_range(images)
    require_int("bits", bits, at_least=1, at_most=8)
    steps = 2**bits - 1
    if images.dtype == torch.uint8:
        return images.double().mul_(steps / 255).round_().mul_(255 / steps).round_().to(torch.uint8)
    return images.mul(steps).round_().div_(steps)


def _through_jpeg(picture: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(picture if picture.shape[2] == 3 else picture[..., 0]).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as opened:
        return np.asarray(opened).reshape(picture.shape)


def _require_pictures(images: Tensor) -> None:
    require_data("images", images)
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputShapeError(f"images [N, C, H, W] of one or three channels are needed, not {list(images.shape)}")


def _require_range(images: Tensor) -> None:
    require_data("images", images)
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise InputTypeError(f"images must be uint8 or floating point in 0..1, not {images.dtype}")
    if images.numel():
        low, high = (float(edge) for edge in images.aminmax())
        if not (low >= 0 and high <= 1):
            raise InputRangeError(f"images must lie in 0..1, but lie in {low:g}..{high:g}")


_BITS = 2


def _run_jpeg(seen: Seen) -> NetworkResult:
    stored = released(seen).images.mul(255).round().to(torch.uint8)
    return train_on(seen, in_unit_range(squeeze_jpeg(stored)))


def _run_grey(seen: Seen) -> NetworkResult:
    return train_on(seen, squeeze_grey(released(seen).images))


def _run_bits(seen: Seen) -> NetworkResult:
    return train_on(seen, squeeze_bits(released(seen).images, _BITS))


SQUEEZE_JPEG = training_attack(
    "squeeze_jpeg",
    "Training after JPEG",
    "compresses the released images as JPEG of low quality, then trains",
    _run_jpeg,
)
SQUEEZE_GREY = training_attack(
    "squeeze_grey", "Training without colours", "converts the released images to grey, then trains", _run_grey
)
SQUEEZE_BITS = training_attack(
    "squeeze_bits", "Training on few grey levels", "rounds the released images to four levels, then trains", _run_bits
)
