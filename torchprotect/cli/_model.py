"""Load a network from a factory function named on the command line, with weights from a safetensors file."""

import contextlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def load_model(spec: str, weights: Path | None, device: str) -> "nn.Module":
    """Import ``package.module``, call ``factory()``, and load the weights, which must match exactly.

    The current folder is the last one searched for modules. Nothing is unpickled.

    Args:
        spec: ``"package.module:factory"``.
        weights: safetensors file; the factory's weights are kept when ``None``.
        device: where the model is placed.

    Raises:
        ModelError: one of these steps fails; the message says which.
    """
    import torch
    from torch import nn

    from torchprotect.errors import ModelError

    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read at the first product, to repeat to the bit
    factory = _import_factory(spec)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # keep what it prints out of the results
            model = factory()
    except Exception as error:  # user code may raise anything
        raise ModelError(f"{spec} failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"{spec} must return a torch.nn.Module, got {type(model).__name__}")
    if weights is not None:
        _load_weights(model, weights)
    try:
        return model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"cannot use device {device!r}: {(str(error).splitlines() or [''])[0]}") from error


def _import_factory(spec: str) -> Callable[[], Any]:
    from torchprotect.errors import ModelError

    name, _, attribute = spec.partition(":")
    if not name or not attribute:
        raise ModelError(f"a network is named as package.module:factory, got {spec!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # kept: worker processes import the model class from there
    try:
        module = importlib.import_module(name)
    except Exception as error:  # user code may raise anything
        raise ModelError(f"cannot import {name}: {type(error).__name__}: {error}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise ModelError(f"module {name} has no function {attribute}")
    return factory


def _load_weights(model: "nn.Module", path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from torchprotect.errors import ModelError
    from torchprotect.training import load_weights

    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise ModelError(f"there are no weights at {path}") from None
    except SafetensorError as error:
        raise ModelError(f"{path} is not a safetensors file: {error}; pickled weights are refused") from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    load_weights(model, tensors, str(path))
