"""What the attacks on disguised images ask of their input."""

import torch
from torch import Tensor

from torchprotect._inputs import require_tensor
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError


def require_plain(name: str, images: Tensor) -> None:
    """Check plain images: uint8, or floating point in 0..1, ``[N, C, H, W]``, at least one."""
    require_grey_levels(name, images)
    if images.is_floating_point():
        low, high = (float(edge) for edge in images.aminmax())
        if low < 0 or high > 1:
            raise InputRangeError(
                f"floating-point {name} must lie in 0..1, but lie in {low:g}..{high:g}: divide or clip"
            )


def require_grey_levels(name: str, images: Tensor) -> None:
    """Check images of a dtype that plain ones may have, on any scale: ``[N, C, H, W]``, at least one."""
    require_images(name, images)
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise InputTypeError(f"{name} must be uint8 or floating point in 0..1, not {images.dtype}")


def require_images(name: str, images: Tensor) -> None:
    """Check finite images ``[N, C, H, W]``, at least one, of any real number type."""
    require_tensor(name, images)
    if images.is_complex():
        raise InputTypeError(f"{name} must hold real numbers, not {images.dtype}")
    if images.ndim != 4 or not images.numel():
        raise InputShapeError(f"{name} must be [N, C, H, W], at least one image, not {list(images.shape)}")
    if images.is_floating_point() and not bool(images.isfinite().all()):
        raise InputRangeError(f"{name} hold NaN or infinity")


def require_same_size(first: str, one: Tensor, second: str, other: Tensor) -> None:
    """Check that two sets of images have the same channels, height and width."""
    if one.shape[1:] != other.shape[1:]:
        raise InputShapeError(
            f"{first} and {second} must have one size [C, H, W], not {list(one.shape[1:])} and {list(other.shape[1:])}"
        )


def require_pairs(plain: Tensor, disguised: Tensor, target: Tensor | None = None, *, at_least: int = 1) -> None:
    """Check known pairs, and the images to be attacked.

    Raises:
        InputShapeError: they do not go together.
        InputRangeError: there are fewer pairs than the attack needs; the message says how many it does.
    """
    require_plain("plain images", plain)
    require_images("disguised images", disguised)
    require_same_size("plain images", plain, "disguised images", disguised)
    if len(plain) != len(disguised):
        raise InputShapeError(
            f"pairs need as many plain as disguised images, in the same order, not {len(plain)} and {len(disguised)}"
        )
    if len(plain) < at_least:
        raise InputRangeError(f"this attack needs at least {at_least} known pairs, not {len(plain)}")
    if target is not None:
        require_images("images to be attacked", target)
        require_same_size("images to be attacked", target, "disguised images", disguised)
        if target.dtype != disguised.dtype:
            raise InputTypeError(
                f"images to be attacked must have the dtype of the known disguised ones, {disguised.dtype}, "
                f"not {target.dtype}"
            )


def require_channels(channels: int | None, images: Tensor) -> None:
    """Check ``channels``: ``None``, or as many as the images have."""
    if channels is not None and (isinstance(channels, bool) or channels != images.shape[1]):
        raise InputRangeError(
            f"channels is None for one key for all channels, or the images' {images.shape[1]}, not {channels!r}"
        )


def like(images: Tensor, plain: Tensor) -> Tensor:
    """Bring rebuilt images to the dtype and range of plain ones: rounded to 0..255 for uint8, else within 0..1."""
    if plain.dtype == torch.uint8:
        return images.round().clamp(0, 255).to(torch.uint8)
    return images.clamp(0, 1).to(plain.dtype)
