"""What a transform needs to know of a network that it is given."""

import hashlib
import hmac
import struct
from typing import Any

import torch
from torch import Tensor, nn

from torchprotect.errors import ModelError
from torchprotect.training import evaluating, scores_of


def model_digest(model: nn.Module, subkey: bytes) -> str:
    """Return 64 hex digits that name a model's class and weights to whoever has the key, and to nobody else.

    HMAC-SHA256 over the qualified name of the class and, for each tensor of the state in sorted name order, name,
    dtype, shape (uint64 each) and bytes, little-endian; every field preceded by its length as uint64 little-endian.
    """
    digest = hmac.new(subkey, digestmod=hashlib.sha256)

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


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, classes: int, precision: torch.dtype | None) -> Tensor:
    """Return the class that a model takes each of ``images [N, ...]`` for, int64 ``[N]``, in eval mode.

    Raises:
        ModelError: it does not return finite scores ``[N, classes]``.
    """
    with evaluating(model), torch.autocast(images.device.type, precision, enabled=precision is not None):
        scores = scores_of(model, images, classes)
    if not bool(scores.isfinite().all()):
        raise ModelError("the model's scores are NaN or infinite for some images; look at its weights and precision")
    return scores.argmax(1)
