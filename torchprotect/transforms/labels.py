"""Find the labels of a sample, and check that they are class numbers."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchprotect._inputs import type_name, with_article
from torchprotect.errors import InputRangeError, LabelError

LabelsGetter = Callable[[Any], Any]
"""Takes a sample and returns its labels."""

_HINT = "give a labels_getter that returns them, or target_source='predicted'"


def find_labels(sample: Any) -> Any:
    """Return the labels of a sample.

    They are the second item of a tuple or list. In a dict, which may itself be that second item, they are the value
    under ``"label"``, under another name that contains "label", or under ``"cls"``.

    Raises:
        LabelError: there are none, or a dict has several such names.
    """
    for step in _path_to_labels(sample):
        sample = sample[step]
    return sample


def map_labels(sample: Any, rename: Callable[[Any], Any]) -> Any:
    """Return a copy of a sample with ``rename`` applied to the labels that :func:`find_labels` would return.

    Raises:
        LabelError: there are none, or a dict has several names for them.
    """
    return _replace(sample, _path_to_labels(sample), rename)


def _path_to_labels(sample: Any) -> list[Any]:
    """Return the index and the name under which the labels are stored: at most one of each."""
    if isinstance(sample, tuple | list) and len(sample) > 1:
        return [1, *_path_to_labels(sample[1])] if isinstance(sample[1], Mapping) else [1]
    if isinstance(sample, Mapping):
        return [_label_name(sample)]
    raise LabelError(
        f"no label in {with_article(type_name(sample))}: expected (image, label, ...) or a dict with 'label'"
    )


def _label_name(sample: Mapping[Any, Any]) -> Any:
    names = [name for name in sample if isinstance(name, str) and ("label" in name.lower() or name == "cls")]
    if not names:
        raise LabelError(
            f"no label in a dict of {sorted(map(str, sample))}: expected 'label', another name with \"label\" in it, "
            "or 'cls'; rename the column"
        )
    if len(names) > 1:
        raise LabelError(
            f"several labels in a dict, {sorted(names)}: only one can be used, and the others would stay plain; keep "
            "one"
        )
    return names[0]


def _replace(sample: Any, path: list[Any], rename: Callable[[Any], Any]) -> Any:
    if not path:
        return rename(sample)
    step, *rest = path
    value = _replace(sample[step], rest, rename)
    if isinstance(sample, Mapping):
        return {**sample, step: value}
    make = getattr(type(sample), "_make", type(sample))  # a named tuple is built from an iterable by _make
    return make([*sample[:step], value, *sample[step + 1 :]])


def as_labels_getter(getter: str | LabelsGetter | None) -> LabelsGetter | None:
    """Return the function that a ``labels_getter`` argument stands for.

    Raises:
        InputRangeError: it is neither "default", a callable nor ``None``.
    """
    if getter == "default":
        return _find_labels_or_hint
    if getter is None or callable(getter):
        return getter
    raise InputRangeError(f"labels_getter must be 'default', a callable or None, not {getter!r}")


def _find_labels_or_hint(sample: Any) -> Any:
    try:
        return find_labels(sample)
    except LabelError as error:
        raise LabelError(f"{error}; or {_HINT}") from None


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
        raise LabelError(f"labels must be whole class numbers from 0 up, {_describe_labels(labels)}; {_HINT}")
    return labels


def _describe_labels(labels: Any) -> str:
    """Describe what was given in place of class numbers, and how to convert it."""
    if isinstance(labels, list | tuple):
        return f"not a {type(labels).__name__}: give torch.tensor(labels)"
    if isinstance(labels, Tensor):
        return f"not {labels.dtype}: take argmax(-1) of one-hot rows or scores"
    return f"not {type_name(labels)}"


def one_for_each(labels: Tensor, leading: tuple[int, ...]) -> Tensor:
    """Return one label for each image of a picture, int64 ``[N]``.

    Args:
        labels: labels of the shape ``leading``, or of its first dimensions. In the latter case one label serves all
            images below it, such as all frames of a video.
        leading: dimensions of the picture before C, H, W; their product is N.

    Raises:
        LabelError: the number of labels does not fit.
    """
    if tuple(labels.shape) != leading[: labels.ndim]:
        raise LabelError(
            f"{list(leading)} images and labels {list(labels.shape)} do not fit: one label per image is needed"
        )
    below = [1] * (len(leading) - labels.ndim)
    return labels.long().reshape([*labels.shape, *below]).expand(leading).reshape(-1)
