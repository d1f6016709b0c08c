"""One small training loop, shared by the demo, the attacks and the reproductions."""

from torchprotect.training._loop import Batches, evaluate, fit, require_repeatable
from torchprotect.training._network import evaluating, home_of, scores_of

__all__ = ["Batches", "evaluate", "evaluating", "fit", "home_of", "require_repeatable", "scores_of"]
