"""Engines: who runs the plan of an export, and where."""

from torchprotect.data.engines._base import Engine
from torchprotect.data.engines.local import LocalEngine

__all__ = ["Engine", "LocalEngine"]
