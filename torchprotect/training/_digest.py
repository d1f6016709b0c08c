"""A digest of a model's class and weights."""

import hashlib
import hmac
import struct
from typing import Any

import torch
from torch import Tensor, nn


def model_digest(model: nn.Module, key: bytes) -> str:
    """Compute 64 hex digits that identify a model's class and weights; only the holder of the key can compute them.

    HMAC-SHA256 over the qualified name of the class and, for each tensor of the state in sorted name order, name,
    dtype, shape (uint64 each) and bytes, little-endian; every field preceded by its length as uint64 little-endian.

    Args:
        model: any network.
        key: secret bytes, or empty bytes for a digest that everyone can compute.
    """
    digest = hmac.new(key, digestmod=hashlib.sha256)

    def add(field: Any) -> None:
        digest.update(struct.pack("<Q", len(field)))
        digest.update(field)

    add(f"{type(model).__module__}.{type(model).__qualname__}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, Tensor):
            add(name.encode())
            add(str(tensor.dtype).removeprefix("torch.").encode())
            add(struct.pack(f"<{tensor.ndim}Q", *tensor.shape))
            add(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
