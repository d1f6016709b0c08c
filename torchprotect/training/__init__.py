"""A small training loop, and device, mode and output checks for user-supplied networks."""

from torchprotect.training._digest import model_digest
from torchprotect.training._loop import Batches, evaluate, fit, require_repeatable
from torchprotect.training._network import (
    device_of,
    eval_mode,
    full_precision,
    input_dtype_of,
    predict,
    require_running_statistics,
    scores_of,
)
from torchprotect.training._precision import fast_precision, require_precision
from torchprotect.training._recipe import DEFAULT_RECIPE, Recipe
from torchprotect.training._weights import load_weights

__all__ = [
    "DEFAULT_RECIPE",
    "Batches",
    "Recipe",
    "device_of",
    "eval_mode",
    "evaluate",
    "fast_precision",
    "fit",
    "full_precision",
    "input_dtype_of",
    "load_weights",
    "model_digest",
    "predict",
    "require_precision",
    "require_repeatable",
    "require_running_statistics",
    "scores_of",
]
