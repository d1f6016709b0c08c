"""A disguise and a label map together: they protect a sample, or a batch of samples."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import PIL.Image
from torch import Tensor

from torchprotect._inputs import type_name
from torchprotect.errors import InputTypeError, KeyKindError, LabelsLeftPlainWarning
from torchprotect.keys import Key, KeyBundle, LabelKey
from torchprotect.transforms.labels import map_labels
from torchprotect.transforms.pipeline import leaves, leaves_labels

_LEFT_PLAIN = (
    "{} leaves the labels plain, but its disguise was made from a bundle with a label map: pass labels=bundle.labels. "
    "Where plain labels are meant, as those that predictions are compared with, make the disguise with "
    "from_key(bundle.transform, permutation=bundle.permutation), or silence LabelsLeftPlainWarning"
)


class Protection:
    """A transform for the pictures of a sample, and a label map for its label.

    Attributes:
        transform: a disguise, or a composition that contains one.
        labels: renames the classes, or ``None``.
    """

    transform: Callable[[Any], Any]
    labels: LabelKey | None

    def require_parts(self, name: str, *, stacklevel: int) -> None:
        """Refuse arguments that are often mixed up, and warn if labels would be left plain by mistake.

        Args:
            name: name of the caller, for the warning.
            stacklevel: stacklevel of the warning, counted from the caller of this method.
        """
        if isinstance(self.transform, Key):
            raise KeyKindError(
                f"transform must be a disguise, got {type_name(self.transform)}; use transforms.from_key"
            )
        if not callable(self.transform) or _protects_nothing(self.transform):
            raise InputTypeError(
                "transform holds no disguise, so every picture would be left unprotected; add transforms.from_key(key)"
            )
        if self.labels is not None and not isinstance(self.labels, LabelKey):
            hint = "; give bundle.labels" if isinstance(self.labels, KeyBundle) else ""
            raise KeyKindError(f"labels must be a LabelKey, got {type_name(self.labels)}{hint}")
        if self.labels is None and leaves_labels(self.transform):
            warnings.warn(_LEFT_PLAIN.format(name), LabelsLeftPlainWarning, stacklevel=stacklevel + 1)

    def protect(self, sample: Any) -> Any:
        """Disguise the pictures of a sample or a batch, and rename its labels."""
        return self.rename(self.transform(sample))

    def rename(self, sample: Any) -> Any:
        """Rename the labels of a sample or a batch whose pictures are disguised."""
        return sample if self.labels is None else _rename(sample, self.labels)


def _protects_nothing(transform: Any) -> bool:
    """Return whether a pipeline consists of torchvision's own transforms alone. Functions are trusted."""
    kinds = [type(step) for step in leaves(transform)]
    return all(kind.__module__.startswith("torchvision.") and kind.__name__ != "Lambda" for kind in kinds)


def _rename(sample: Any, labels: LabelKey) -> Any:
    """Rename the labels of a sample; a single picture has one number."""

    def rename(label: Any) -> Any:
        pictures = sample.values() if isinstance(sample, Mapping) else sample[:1]
        if isinstance(label, Tensor) and label.numel() > 1 and any(map(_is_single, pictures)):
            raise InputTypeError(
                f"one picture has a label of shape {list(label.shape)}; give its class number; for a one-hot row, "
                "label.argmax()"
            )
        return labels.map(label)

    return map_labels(sample, rename)


def _is_single(value: Any) -> bool:
    return isinstance(value, PIL.Image.Image) or (isinstance(value, Tensor) and value.ndim == 3)
