"""Pickle keys for worker processes."""

from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torchprotect.keys._base import Key

Reduced = tuple[Any, tuple[type["Key"], dict[str, Any], dict[str, NDArray[Any]]]]


def reduce_key(key: "Key") -> Reduced:
    """Take a key apart for pickling, without a warning: return the function and arguments that ``__reduce__`` returns.

    The arguments contain the secrets. ``multiprocessing`` uses this function to start workers. An engine with its own
    serialiser registers it there, and must send the result to its own workers only, never to a disk.
    """
    return rebuild_key, (type(key), key.params, {name: tensor.numpy() for name, tensor in key.tensors().items()})


def rebuild_key(kind: type["Key"], params: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> "Key":
    """Return the key that :func:`reduce_key` took apart."""
    return kind.from_parts(params, {name: torch.tensor(array) for name, array in arrays.items()})
