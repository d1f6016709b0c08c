"""Extend functions of a tensor to PIL images and ``tv_tensors``; the result is the same kind of picture."""

import functools
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect._inputs import type_name
from torchprotect.errors import InputRangeError, InputTypeError

_TV_TENSORS = (tv_tensors.Image, tv_tensors.Video)
_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")  # one unsigned byte a channel
_OUT_OF_RANGE = "a floating-point image must lie in 0..1; place the disguise before Normalize"


def on_picture(operate: Callable[..., Tensor]) -> Callable[..., Any]:
    """Extend a function of a tensor ``[..., C, H, W]`` to PIL images, ``tv_tensors.Image`` and ``tv_tensors.Video``.

    The kind of picture is kept, with one exception: a PIL image whose result is not 8-bit comes back as a
    ``tv_tensors.Image``.
    """

    @functools.wraps(operate)
    def wrapper(image: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(image, PIL.Image.Image):
            result = operate(planes_of(image), *args, **kwargs)
            return _pil_image(result, image.mode) if result.dtype == torch.uint8 else tv_tensors.Image(result)
        if is_pure_tensor(image):
            return operate(_require_planes(image), *args, **kwargs)
        if isinstance(image, _TV_TENSORS):
            return tv_tensors.wrap(operate(_require_planes(image.as_subclass(Tensor)), *args, **kwargs), like=image)
        raise InputTypeError(
            f"a picture must be a PIL image, a tensor or a tv_tensors.Image or Video, got {type_name(image)}; "
            f"{how_to_convert(image) or 'convert it first'}"
        )

    return wrapper


def is_pure_tensor(value: Any) -> bool:
    """Return whether a value is a plain ``torch.Tensor`` (no subclass), or stands for one while a program is traced."""
    if type(value) is Tensor:
        return True
    # tracers replace tensors by subclasses of their own, which differ from version to version
    return torch.compiler.is_compiling() and isinstance(value, Tensor) and not isinstance(value, tv_tensors.TVTensor)


def planes_of(image: PIL.Image.Image) -> Tensor:
    """Return the channel planes of a PIL image, uint8 ``[C, H, W]``.

    Raises:
        InputTypeError: the mode of the image does not have 8 bits per channel.
    """
    if image.mode not in _MODES:
        raise InputTypeError(
            f"a PIL image of mode {image.mode!r} has no 8-bit channel planes; convert it to 'L' or 'RGB' first"
        )
    tensor: Tensor = pil_to_tensor(image)
    return tensor


def _require_planes(image: Tensor) -> Tensor:
    if image.ndim < 3:
        raise InputTypeError(
            f"an image tensor must be [..., C, H, W], not {list(image.shape)}; add the channel dimension"
        )
    return image


def _pil_image(planes: Tensor, mode: str) -> PIL.Image.Image:
    """Return the PIL image of planes uint8 ``[C, H, W]``; torchvision's ``to_pil_image`` knows no ``LAB``."""
    height, width = planes.shape[-2:]
    return PIL.Image.frombytes(mode, (width, height), planes.movedim(0, -1).contiguous().numpy().tobytes())


def how_to_convert(value: Any) -> str:
    """Return advice on converting a value that looks like a picture, or an empty string."""
    if isinstance(value, np.ndarray) and value.ndim > 1:
        return "convert a NumPy array [H, W, C] with v2.ToImage() or PIL.Image.fromarray"
    row_of_bytes = isinstance(value, Tensor | np.ndarray) and value.ndim == 1 and value.itemsize == 1
    if row_of_bytes or isinstance(value, bytes | bytearray | memoryview | io.IOBase | np.bytes_):
        return "decode the file first, with PIL.Image.open or torchvision.io.decode_image"
    if isinstance(value, list | tuple):
        return "convert the list of numbers to a tensor [C, H, W]"
    return ""


def require_uint8_or_unit_float(image: Tensor) -> None:
    """Check that an image is uint8, or floating point within 0..1.

    While a program is traced, the check of the values becomes part of that program, where it raises ``RuntimeError``.

    Raises:
        InputTypeError: another dtype.
        InputRangeError: values outside 0..1, or NaN.
    """
    if image.dtype == torch.uint8:
        return
    if not image.is_floating_point():
        raise InputTypeError(f"the image must be uint8 in 0..255 or floating point in 0..1, not {image.dtype}")
    if torch.compiler.is_compiling():  # no control flow may depend on values, nor on the size of the batch
        torch._assert_async(((image >= 0) & (image <= 1)).all(), _OUT_OF_RANGE)
    elif image.numel() and not (image.min() >= 0 and image.max() <= 1):
        raise InputRangeError(_OUT_OF_RANGE)
