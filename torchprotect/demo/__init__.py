"""The bundled sample and the demo that runs on it."""

from torchprotect.demo._run import SAMPLE, DemoResult, run

__all__ = ["SAMPLE", "DemoResult", "run"]
