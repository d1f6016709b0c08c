"""Checks and phrases for what callers hand over, shared by all rooms."""

from typing import Any

import numpy as np
from torch import Tensor

from torchprotect.errors import InputTypeError

_VOWELS = "AEIOaeio"
_SPELLED_VOWELS = "AEFHILMNORSX"  # capitals read out as letters: an R, but a U


def require_tensor(name: str, value: Any) -> None:
    """Check for a tensor, before its dtype or shape is looked at.

    Raises:
        InputTypeError: it is something else; the message says how to make a tensor of it.
    """
    if isinstance(value, Tensor):
        return
    hint = ""
    if isinstance(value, np.ndarray):
        hint = "; torch.from_numpy makes one of an array"
    elif isinstance(value, list | tuple):
        hint = "; torch.tensor makes one of numbers, torch.stack of tensors"
    raise InputTypeError(f"{name} must be a torch.Tensor, got {type_name(value)}{hint}")


def type_name(value: Any) -> str:
    """Return the name of a value's class, with its module unless that is built in or ours."""
    kind = type(value)
    known = kind.__module__ == "builtins" or kind.__module__.startswith("torchprotect.")
    return kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"


def with_article(name: str) -> str:
    """Return the name of a class with "a" or "an" before it: an AESKey, an RMTKey, a LabelKey."""
    vowels = _SPELLED_VOWELS if name[:2].isupper() else _VOWELS
    return f"{'an' if name[0] in vowels else 'a'} {name}"
