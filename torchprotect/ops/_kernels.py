"""Find and load the compiled kernels, if they exist."""

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_loaded: list[ctypes.CDLL] = []


def function(name: str, result: Any) -> Any:
    """Return a compiled function that is not an operator, or ``None`` if there is none.

    Args:
        name: name of the function.
        result: its ctypes type.
    """
    for library in _loaded:
        if hasattr(library, name):
            found = getattr(library, name)
            found.restype = result
            return found
    return None


def load() -> None:
    """Add the compiled kernels to the operators.

    Missing kernels are silent, because the reference implementations work without them. Kernels that fail to load give
    one warning. The environment variable ``TORCHPROTECT_DISABLE_EXT=1`` skips them.
    """
    if os.environ.get("TORCHPROTECT_DISABLE_EXT", "0") != "0":
        return
    for path in _find():
        try:
            library = ctypes.CDLL(str(path))
            refused = library.torchprotect_register() != 0
            cause = "PyTorch refused to register them" if refused else None
        except (OSError, AttributeError) as error:
            cause = str(error)
        else:
            _loaded.append(library)
        if cause is not None:
            message = f"the compiled kernels in {path.name} do not load; the slower reference kernels are used: {cause}"
            warnings.warn(message, RuntimeWarning, stacklevel=2)


def _find() -> Iterator[Path]:
    names = ["torchprotect_cpu"]
    if torch.version.cuda is not None:  # a library for another CUDA release would not find PyTorch's CUDA libraries
        names.append(f"torchprotect_cuda{torch.version.cuda.partition('.')[0]}")
    folders = sys.modules["torchprotect"].__path__  # two for an editable install: sources and build results
    for name in names:
        found = [path for folder in folders for path in Path(folder, "lib").glob(f"lib{name}.so")]
        yield from found[:1]
