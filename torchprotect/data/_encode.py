"""Encode images without loss: PNG for 8-bit grey and RGB, npy for everything else."""

import io
from collections.abc import Iterator
from functools import cache

import numpy as np
import torch
from torch import Tensor

from torchprotect.data._png import encode_png, has_png
from torchprotect.errors import InputRangeError, InputTypeError


def extension(image: Tensor) -> str:
    """Return the extension that images like this one, ``[..., C, H, W]``, are stored under: ``png`` or ``npy``."""
    return "png" if image.dtype == torch.uint8 and has_png(image.shape[-3]) else "npy"


def convert_stored(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Round floating-point images to the dtype that they are stored with; whole numbers stay unchanged.

    Raises:
        InputRangeError: a value lies outside the range of the dtype.
    """
    if not images.is_floating_point():
        return images
    stored = images.to(dtype)
    if not bool(stored.isfinite().all()):
        raise InputRangeError(f"values up to {float(images.abs().max()):.0f} do not fit into {dtype}; store float32")
    return stored


def encode(images: Tensor) -> Iterator[bytes]:
    """Yield the bytes of each image of a batch ``[N, C, H, W]``, in the format :func:`extension` names."""
    if extension(images) == "png":
        yield from encode_png(images.numpy())
        return
    if images.dtype == torch.bfloat16:
        raise InputTypeError("npy has no bfloat16; convert the images to float32")
    array = images.contiguous().numpy()
    little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
    header = npy_header(little_endian.dtype.str, array.shape[1:])
    for image in little_endian:
        yield header + image.tobytes()


@cache
def npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Return the start of an npy file, version 1.0: everything before the numbers."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()
