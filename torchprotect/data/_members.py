"""Encode a sample as members of a tar file, which any WebDataset reader decodes to the same sample."""

import io
import json
import math
import operator
import re
import tarfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect._json import parse
from torchprotect.data._encode import encode
from torchprotect.data._png import has_png
from torchprotect.errors import InputTypeError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_DECIMAL = re.compile(rb"\s*-?[0-9]+\s*")
_Bytes = bytes | bytearray | memoryview


def encode_sample(sample: Any, encoded: bool, tar_format: Any) -> dict[str, Any]:
    """Return ``__key__`` and the bytes of each value, by extension; metadata is left out.

    Args:
        sample: dict of ``__key__`` and values.
        encoded: whether values of other types than bytes are encoded, or refused.
        tar_format: of the tar file, by number or name as ``tarfile`` has it; ``None`` for USTAR.

    Raises:
        InputTypeError: a key, extension or value that would be lost or changed, or could run code on reading.
    """
    if not isinstance(sample, Mapping) or "__key__" not in sample:
        raise InputTypeError("a sample must be a dict with a '__key__'")
    key = _checked_key(sample["__key__"])
    members = {}
    for name, value in sample.items():
        kind = _kind_of(name)
        if kind is not None:
            members[name] = _encode(kind, value, encoded)
    if not members:
        raise InputTypeError(f"the sample {key!r} has nothing to write besides its '__key__'")
    if len({name.lower() for name in members}) != len(members):
        raise InputTypeError(f"the sample {key!r} has one extension twice: readers ignore case")
    for name, content in members.items():
        _require_header(f"{key}.{name}", len(content), tar_format)
    return {"__key__": key, **members}


def _checked_key(key: Any) -> str:
    if not isinstance(key, str):
        raise InputTypeError(f"'__key__' must be text, got {type(key).__name__}; for a number write f'{{n:06d}}'")
    *folders, name = key.split("/")
    if not name:
        raise InputTypeError(f"'__key__' {key!r} is empty or ends with a slash")
    if "." in name:
        raise InputTypeError(
            f"'__key__' {key!r} has a dot in its last part, and readers end a key at the first dot there; use another "
            "character"
        )
    if any(folder in ("", ".", "..") for folder in folders):
        raise InputTypeError(
            f"'__key__' {key!r} is not a plain relative path; unpacking would write outside the folder"
        )
    if not key.isprintable():
        raise InputTypeError(f"'__key__' {key!r} has control characters")
    return key


def _kind_of(name: Any) -> str | None:
    """Return the format that a name's extension stands for, ``None`` for metadata."""
    if not isinstance(name, str):
        raise InputTypeError(f"names in a sample must be text, got {type(name).__name__}")
    if name.startswith("__"):
        return None
    if name.startswith("_"):
        raise InputTypeError(f"{name!r} begins with an underscore, so readers would take it for metadata; rename it")
    kind = name.rpartition(".")[2].lower()
    if kind not in _ENCODERS:
        raise InputTypeError(
            f"{name!r} is refused: protected shards hold {', '.join(sorted(_ENCODERS))}, nothing lossy and no pickles"
        )
    if "/" in name or not name.isprintable():
        raise InputTypeError(f"{name!r} is not an extension: it has a slash or control characters")
    return kind


def _encode(kind: str, value: Any, encoded: bool) -> bytes:
    if isinstance(value, _Bytes):
        return _CHECKS[kind](bytes(value))
    if not encoded:
        raise InputTypeError(f"with encoder=False the value of {kind!r} must be bytes, got {type(value).__name__}")
    return _ENCODERS[kind](value)


def _require_header(name: str, size: int, tar_format: Any) -> None:
    """Check that a tar header can hold a member's name and size, before a part of the sample is written."""
    info = tarfile.TarInfo(name)
    info.size = size
    number: Any = getattr(tarfile, str(tar_format), tar_format) if tar_format else tarfile.USTAR_FORMAT
    try:
        info.tobuf(number, "utf-8", "strict")
    except ValueError as error:
        raise InputTypeError(f"a tar file cannot hold a member {name!r} of {size:,} bytes: {error}") from None


def _check_png(content: bytes) -> bytes:
    if not content.startswith(_PNG_SIGNATURE):
        raise InputTypeError("bytes under 'png' are not a PNG file")
    return content


def _encode_png(value: Any) -> bytes:
    if isinstance(value, PIL.Image.Image) and value.mode in ("L", "RGB"):
        value = pil_to_tensor(value)
    elif isinstance(value, np.ndarray) and value.ndim in (2, 3):
        value = torch.from_numpy(value if value.ndim == 3 else value[..., None]).movedim(-1, 0)
    if not isinstance(value, Tensor) or value.dtype != torch.uint8 or value.ndim != 3 or not has_png(value.shape[0]):
        raise InputTypeError("'png' takes 8-bit grey or RGB pictures; keep anything else as 'npy'")
    return next(encode(value.as_subclass(Tensor).cpu()[None]))


def _check_npy(content: bytes) -> bytes:
    try:
        _require_npy_size(content)
        np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        raise InputTypeError(f"bytes under 'npy' are not a plain array: {error}") from error
    return content


def _require_npy_size(content: bytes) -> None:
    """Check that an array has the bytes its header asks for, before NumPy allocates them."""
    buffer = io.BytesIO(content)
    version = np.lib.format.read_magic(buffer)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(buffer)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - buffer.tell():
        raise ValueError("it has another size than its header says")


def _encode_npy(value: Any) -> bytes:
    if isinstance(value, Tensor) and value.dtype == torch.bfloat16:
        raise InputTypeError("npy has no bfloat16; convert the tensor to float32")
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise InputTypeError(f"'npy' takes arrays of numbers, got {type(value).__name__} of dtype {array.dtype}")
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _check_cls(content: bytes) -> bytes:
    if not _DECIMAL.fullmatch(content):
        raise InputTypeError("bytes or text under 'cls' must be a decimal number")
    return content


def _encode_cls(value: Any) -> bytes:
    if isinstance(value, str):
        return _check_cls(value.encode())
    if not _is_whole(value):
        raise InputTypeError(f"'cls' takes one whole number, got {_describe_value(value)}")
    return str(operator.index(value)).encode()


def _is_whole(value: Any) -> bool:
    """Return whether a value is one whole number of Python, NumPy or torch, but not a boolean."""
    if isinstance(value, Tensor):
        kind = value.dtype
        return value.ndim == 0 and not (kind == torch.bool or kind.is_floating_point or kind.is_complex)
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iu"
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _describe_value(value: Any) -> str:
    """Return the type of a value; for tensors and arrays also dtype and shape."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__} of {value.dtype} {list(value.shape)}"
    return type(value).__name__


def _check_json(content: bytes) -> bytes:
    try:
        parse(content)
    except ValueError:
        raise InputTypeError(
            "'json' must be JSON without NaN and without a member twice; for a string give json.dumps(text)"
        ) from None
    return content


def _encode_json(value: Any) -> bytes:
    if isinstance(value, str):
        return _check_json(value.encode())
    try:
        return _check_json(json.dumps(value, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InputTypeError(f"'json' takes what json.dumps takes: {error}") from None


def _check_txt(content: bytes) -> bytes:
    try:
        content.decode()
    except UnicodeDecodeError:
        raise InputTypeError("bytes under 'txt' must be text in UTF-8") from None
    return content


def _encode_txt(value: Any) -> bytes:
    if not isinstance(value, str):
        raise InputTypeError(f"'txt' takes text, got {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError:
        raise InputTypeError("'txt' takes text that UTF-8 can hold; it has half a surrogate pair") from None


_CHECKS: dict[str, Callable[[bytes], bytes]] = {
    "png": _check_png,
    "npy": _check_npy,
    "cls": _check_cls,
    "json": _check_json,
    "txt": _check_txt,
}
_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "png": _encode_png,
    "npy": _encode_npy,
    "cls": _encode_cls,
    "json": _encode_json,
    "txt": _encode_txt,
}
