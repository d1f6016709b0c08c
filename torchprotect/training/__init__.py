"""One small training loop, shared by the demo, the attacks and the reproductions."""

from torchprotect.training._loop import evaluate, fit

__all__ = ["evaluate", "fit"]
