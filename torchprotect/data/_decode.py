"""Inverse of :mod:`torchprotect.data._encode`: reads only files that an export writes."""

import io
import re

import numpy as np
import torch
from torch import Tensor

from torchprotect.data._encode import npy_header
from torchprotect.data._png import decode_png

_DTYPES = re.compile(r"[|<][uif][1248]|[|]b1")
_HEADER_LIMIT = 256


def decode(kind: str, content: bytes) -> Tensor:
    """Return the image ``[C, H, W]`` that was stored as ``png`` or ``npy``.

    Sizes are checked before anything is allocated: a file cannot claim a larger image than it holds.

    Raises:
        ValueError: an export would not write such a file.
    """
    if kind == "png":
        return torch.from_numpy(decode_png(content))
    return torch.from_numpy(_decode_npy(content))


def _decode_npy(content: bytes) -> np.ndarray:
    buffer = io.BytesIO(content[:_HEADER_LIMIT])
    if np.lib.format.read_magic(buffer) != (1, 0):
        raise ValueError("another npy version than 1.0")
    try:
        shape, _, dtype = np.lib.format.read_array_header_1_0(buffer)
    except Exception as error:  # NumPy evaluates the header as a Python literal, which fails in many ways
        raise ValueError("the npy header is damaged") from error
    header = content[: buffer.tell()]
    if not _DTYPES.fullmatch(dtype.str) or len(shape) != 3 or header != npy_header(dtype.str, shape):
        raise ValueError("no npy array [C, H, W] of numbers as an export writes it")
    if len(content) - len(header) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise ValueError("the npy array has another size than its header says")
    return np.frombuffer(content, dtype, offset=len(header)).reshape(shape).copy()
