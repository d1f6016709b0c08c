"""Engines run the plan of an export, on this machine or elsewhere. Cluster packages are imported only when used."""

from torchprotect.data.engines._base import Engine
from torchprotect.data.engines.executor import ExecutorEngine
from torchprotect.data.engines.local import LocalEngine
from torchprotect.data.engines.ray import RayEngine

__all__ = ["Engine", "ExecutorEngine", "LocalEngine", "RayEngine"]
