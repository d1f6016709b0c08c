"""The bundled samples and the demo that runs on them."""

from torchprotect.demo._photographs import PHOTOGRAPHS
from torchprotect.demo._run import SAMPLE, DemoResult, run

__all__ = ["PHOTOGRAPHS", "SAMPLE", "DemoResult", "run"]
