"""A demo of all disguises on bundled sample images."""

from torchprotect.demo._photographs import PHOTOGRAPHS
from torchprotect.demo._run import SAMPLE, DemoResult, run

__all__ = ["PHOTOGRAPHS", "SAMPLE", "DemoResult", "run"]
