"""Engines: who runs the plan of an export, and where. Packages of clusters are imported when an engine runs."""

from torchprotect.data.engines._base import Engine
from torchprotect.data.engines.executor import ExecutorEngine
from torchprotect.data.engines.local import LocalEngine
from torchprotect.data.engines.ray import RayEngine

__all__ = ["Engine", "ExecutorEngine", "LocalEngine", "RayEngine"]
