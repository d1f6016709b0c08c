"""Labels of a sample, looked for as torchvision's CutMix does."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchprotect._inputs import type_name, with_article
from torchprotect.errors import InputRangeError, LabelError

LabelsGetter = Callable[[Any], Any]
"""Takes a sample, returns its labels."""

_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_HINT = "give a labels_getter that returns them, or target_source='predicted'"


def find_labels(sample: Any) -> Any:
    """Return the second item of a tuple or list; of a dict, there or alone, what stands under "labels" or the like.

    Raises:
        LabelError: there is no such thing.
    """
    if isinstance(sample, tuple | list) and len(sample) > 1:
        sample = sample[1]
        if not isinstance(sample, Mapping):
            return sample
    if isinstance(sample, Mapping):
        names = [name for name in sample if isinstance(name, str) and "label" in name.lower()]
        if names:
            return sample[min(names, key=lambda name: name.lower() != "labels")]  # min keeps the first of equals
    raise LabelError(
        f"no labels in {with_article(type(sample).__name__)}: expected (image, label) or a dict with 'labels'; {_HINT}"
    )


def as_labels_getter(getter: str | LabelsGetter | None) -> LabelsGetter | None:
    """Return the function that ``labels_getter`` stands for.

    Raises:
        InputRangeError: it is neither "default", a callable nor ``None``.
    """
    if getter == "default":
        return find_labels
    if getter is None or callable(getter):
        return getter
    raise InputRangeError(f"labels_getter is 'default', a callable or None, not {getter!r}")


def as_labels(labels: Any) -> Tensor:
    """Return labels as a tensor of whole numbers.

    Args:
        labels: a whole number, or a tensor or array of them.

    Raises:
        LabelError: they are something else, or missing.
    """
    if isinstance(labels, int | np.integer | np.ndarray) and not isinstance(labels, bool):
        labels = torch.as_tensor(np.asarray(labels))
    if (
        not isinstance(labels, Tensor)
        or labels.is_floating_point()
        or labels.is_complex()
        or labels.dtype == torch.bool
    ):
        raise LabelError(f"labels are whole class numbers from 0 up, {_described(labels)}; {_HINT}")
    return labels


def _described(labels: Any) -> str:
    """Return what came in place of class numbers, and how to turn it into them."""
    if isinstance(labels, list | tuple):
        return f"not a {type(labels).__name__}: give torch.tensor(labels)"
    if isinstance(labels, Tensor):
        return f"not {labels.dtype}: take argmax(-1) of one-hot rows or scores"
    return f"not {type_name(labels)}"


def one_for_each(labels: Tensor, leading: tuple[int, ...]) -> Tensor:
    """Return int64 ``[N]``, one label for each image of a picture whose dimensions before C, H, W are ``leading``.

    Labels of fewer dimensions serve all images below theirs: one label for all frames of a video.

    Raises:
        LabelError: their number does not fit.
    """
    if tuple(labels.shape) != leading[: labels.ndim]:
        raise LabelError(f"{list(leading)} images and labels {list(labels.shape)} do not fit: one label each is needed")
    below = [1] * (len(leading) - labels.ndim)
    return labels.long().reshape([*labels.shape, *below]).expand(leading).reshape(-1)
