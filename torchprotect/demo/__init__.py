"""The bundled sample and the demo that runs on it."""

from torchprotect.demo.run import DemoResult, run

__all__ = ["DemoResult", "run"]
