"""The packages of the extra ``envelope``, loaded when they are used."""

import importlib
from typing import Any

from torchprotect.errors import EnvelopeError


def cryptography(module: str) -> Any:
    """Return a module of ``cryptography``, such as ``"exceptions"``."""
    return _load(f"cryptography.{module}")


def pyrage() -> Any:
    """Return ``pyrage``, which reads and writes age files."""
    return _load("pyrage")


def _load(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise EnvelopeError(
            f"sealed and signed exports need {module.partition('.')[0]}, of the extra `envelope`; install it ({error})"
        ) from error
