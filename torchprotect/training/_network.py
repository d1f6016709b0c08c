"""What is asked of any network: where it is, in which mode, what it answers."""

import contextlib
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from torchprotect._inputs import type_name, with_article
from torchprotect.errors import ModelError


def home_of(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return the device that a model is on, and the dtype that images are handed to it in: float32, or its float64."""
    tensors = [t for t in itertools.chain(model.parameters(), model.buffers()) if t.is_floating_point()]
    if not tensors:
        return torch.device("cpu"), torch.float32
    return tensors[0].device, torch.float64 if tensors[0].dtype == torch.float64 else torch.float32


def scores_of(model: nn.Module, images: Tensor, classes: int | None = None) -> Tensor:
    """Return the scores of images, which the model gets a copy of: it may change what it is given.

    Args:
        model: any network.
        images: ``[N, ...]`` on its device.
        classes: how many it must know; any number when ``None``.

    Raises:
        ModelError: it returns something else than scores ``[N, classes]``.
    """
    scores = model(images.clone())
    shown = "classes" if classes is None else classes
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(images):
        came = list(scores.shape) if isinstance(scores, Tensor) else with_article(type_name(scores))
        raise ModelError(f"the model must return scores [{len(images)}, {shown}], not {came}")
    if classes is not None and scores.shape[1] != classes:
        raise ModelError(f"the model must return scores [{len(images)}, {classes}], not {list(scores.shape)}")
    return scores


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode, and each back into its own mode at the end, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training
