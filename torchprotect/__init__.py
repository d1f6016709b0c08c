"""Image disguises for PyTorch, with what they leak said plainly.

These are obfuscation schemes, not cryptographic confidentiality; ``docs/threat-model.md`` says what was measured.
"""

import importlib
from typing import Any

from torchprotect import errors, functional, keys, ops, transforms
from torchprotect._version import __version__

_LAZY = ("attacks", "audit", "data", "owsd", "perturb")  # loaded when used: files, processes, databases, webdataset

__all__ = [
    "__version__",
    "attacks",
    "audit",
    "data",
    "errors",
    "functional",
    "keys",
    "ops",
    "owsd",
    "perturb",
    "transforms",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"torchprotect.{name}")
    raise AttributeError(f"module 'torchprotect' has no attribute {name!r}")
