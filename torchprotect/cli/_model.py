"""A network by its name: a factory to import, and weights from a safetensors file."""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

_SHOWN = 3


def load_model(spec: str, weights: Path | None, device: str) -> "nn.Module":
    """Import ``package.module``, call its ``factory()``, and load every weight of what it returns, and no other.

    Modules are looked for in the current folder too, after everything else. Nothing is unpickled.

    Args:
        spec: ``"package.module:factory"``.
        weights: safetensors file; those that the factory gives are kept when ``None``.
        device: to put the model on.

    Raises:
        ModelError: any of that fails; the message says what.
    """
    import torch
    from torch import nn

    from torchprotect.errors import ModelError

    if device.startswith("cuda"):
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for deterministic products, before the first one
    factory = _import_factory(spec)
    try:
        model = factory()
    except Exception as error:  # whatever a stranger's code raises
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
        raise ModelError(f"a model is named package.module:factory, not {spec!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # it stays: worker processes look the model's class up there
    try:
        module = importlib.import_module(name)
    except Exception as error:  # whatever a stranger's code raises
        raise ModelError(f"cannot import {name}: {type(error).__name__}: {error}") from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise ModelError(f"module {name} has no function {attribute}")
    return factory


def _load_weights(model: "nn.Module", path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    from torchprotect.errors import ModelError

    try:
        missing, unexpected = load_model(model, path, strict=False)
    except FileNotFoundError:
        raise ModelError(f"there are no weights at {path}") from None
    except SafetensorError as error:
        raise ModelError(f"{path} is no safetensors file: {error}; pickled weights are not read") from error
    except (RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"the weights in {path} do not fit the model: {reason}") from error
    problems = [
        f"{kind} {', '.join(sorted(names)[:_SHOWN])}"
        + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        for kind, names in (("missing", missing), ("unexpected", unexpected))
        if names
    ]
    if problems:
        raise ModelError(f"the weights in {path} do not fit the model: {'; '.join(problems)}")
