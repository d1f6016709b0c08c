"""One small training loop, shared by the demo, the attacks and the reproductions."""

from torchprotect.training._loop import Batches, evaluate, evaluating, fit, scores_of

__all__ = ["Batches", "evaluate", "evaluating", "fit", "scores_of"]
