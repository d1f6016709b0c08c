"""Checks of known pairs and channels."""

from torch import Tensor

from torchprotect.attacks._inputs import require_images, require_plain, require_same_size
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError


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
            f"channels must be None, for one key for all channels, or the images' {images.shape[1]}, got {channels!r}"
        )
