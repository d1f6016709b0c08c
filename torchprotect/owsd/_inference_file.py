"""Files of inference networks: safetensors with parameters and a digest of all content in the header."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from torchprotect._files import atomic_file, read_regular, require_safetensors
from torchprotect._json import canonical
from torchprotect.errors import ModelError

FORMAT, VERSION = "torchprotect-inference", "1"
_MAX_BYTES = 1 << 32
_DTYPES = (torch.float32, torch.float64, torch.int64)


def write(path: Path, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the file atomically, with mode 0600."""
    said = canonical(params).decode()
    header = {"format": FORMAT, "version": VERSION, "params": said, "digest": _digest(said, tensors)}
    with atomic_file(path, mode=0o600) as file:
        file.write(safetensors.torch.save({name: each.contiguous() for name, each in tensors.items()}, header))


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return parameters and tensors.

    Raises:
        ModelError: the file is not an inference network, or damaged.
    """
    require_safetensors(path, "the file of an inference network", ModelError)
    content = read_regular(path, _MAX_BYTES, ModelError)
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        params = json.loads(header["params"])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        raise ModelError(f"{path} is not an inference network, or it is damaged") from None
    if any(tensor.dtype not in _DTYPES for tensor in tensors.values()):
        raise ModelError(f"{path} is damaged: its parameters and tensors do not match")
    if header.get("format") != FORMAT or header.get("version") != VERSION or not isinstance(params, dict):
        raise ModelError(f"{path} is not an inference network of version {VERSION}")
    if header.get("digest") != _digest(header["params"], tensors):
        raise ModelError(f"{path} is damaged: its content does not match its digest")
    return params, tensors


def _digest(params: str, tensors: Mapping[str, Tensor]) -> str:
    """Return a digest that detects accidental damage."""
    said = hashlib.sha256(params.encode())
    for name in sorted(tensors):
        said.update(f"{name} {tensors[name].dtype} {list(tensors[name].shape)}".encode())
        said.update(tensors[name].contiguous().numpy().tobytes())
    return said.hexdigest()
