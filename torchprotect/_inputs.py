"""Argument checks, and phrases for error messages, shared by all packages."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from torchprotect.errors import InputRangeError, InputTypeError

_VOWELS = "AEIOaeio"
_SPELLED_VOWELS = "AEFHILMNORSX"  # letters whose names begin with a vowel: an R, but a U


def require_tensor(name: str, value: Any) -> None:
    """Check for a tensor.

    Raises:
        InputTypeError: it is something else; the message says how to convert it.
    """
    if isinstance(value, Tensor):
        return
    hint = ""
    if isinstance(value, np.ndarray):
        hint = "; torch.from_numpy makes one of an array"
    elif isinstance(value, list | tuple):
        hint = "; torch.tensor makes one of numbers, torch.stack of tensors"
    raise InputTypeError(f"{name} must be a torch.Tensor, got {type_name(value)}{hint}")


def require_int(name: str, value: Any, *, at_least: int | None = None, at_most: int | None = None) -> None:
    """Check for an integer within bounds; a bool does not count.

    Raises:
        InputRangeError: it is something else, or out of bounds.
    """
    bounds = _Bounds(at_least=at_least, at_most=at_most)
    if not isinstance(value, int) or isinstance(value, bool) or not bounds.hold(value):
        raise InputRangeError(f"{name} must be an integer{bounds}, got {value!r}")


def require_number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> None:
    """Check for a finite int or float within bounds; a bool does not count.

    Raises:
        InputRangeError: it is something else, NaN, infinite, or out of bounds.
    """
    bounds = _Bounds(above=above, at_least=at_least, below=below, at_most=at_most)
    finite = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
    if not finite or not bounds.hold(value):
        raise InputRangeError(f"{name} must be a finite number{bounds}, got {value!r}")


@dataclass(frozen=True, kw_only=True)
class _Bounds:
    """Bounds of a number; as a string they follow "an integer" or "a finite number"."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def hold(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f" from {self.at_least} to {self.at_most}"
        given = [(name.replace("_", " "), bound) for name, bound in vars(self).items() if bound is not None]
        clauses = " and ".join(f"{name} {bound}" for name, bound in given)
        return f" of {clauses}" if clauses.startswith("at") else f" {clauses}" if clauses else ""


PerChannel: TypeAlias = float | Sequence[float] | Tensor
"""One number for all channels, or one for each."""


def per_channel(name: str, values: PerChannel, channels: int) -> Tensor:
    """Return one number for each channel, float64 ``[C, 1, 1]``; a ``std`` must be positive.

    Raises:
        InputRangeError: they are not numbers, or not as many.
    """
    if isinstance(values, Tensor | np.ndarray):
        values = values.reshape(-1).tolist()
    listed = list(values) if isinstance(values, Sequence) else [values]
    for each in listed:
        if name == "std":
            require_number(name, each, above=0)
        else:
            require_number(name, each)
    if len(listed) not in (1, channels):
        raise InputRangeError(f"{name} must be one number or {channels}, one for each channel, got {len(listed)}")
    return torch.tensor(listed, dtype=torch.float64).expand(channels).reshape(-1, 1, 1)


def require_scale(scale: Any) -> None:
    """Check for the value of white in images: 1 or 255.

    Raises:
        InputRangeError: it is something else.
    """
    if type(scale) is not int or scale not in (1, 255):
        raise InputRangeError(f"scale must be 1 or 255, got {scale!r}")


def type_name(value: Any) -> str:
    """Return the name of a value's class, with its module unless that is built in or ours."""
    kind = type(value)
    known = kind.__module__ == "builtins" or kind.__module__.startswith("torchprotect.")
    return kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"


def with_article(name: str) -> str:
    """Return the name of a class with "a" or "an" before it: an AESKey, an RMTKey, a LabelKey."""
    vowels = _SPELLED_VOWELS if name[:2].isupper() else _VOWELS
    return f"{'an' if name[0] in vowels else 'a'} {name}"
