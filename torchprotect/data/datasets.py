"""Wrappers that disguise the pictures of a data set and rename its labels."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import PIL.Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torchprotect._inputs import type_name
from torchprotect.errors import InputTypeError, KeyKindError
from torchprotect.keys import Key, KeyBundle, LabelKey
from torchprotect.transforms.labels import map_labels
from torchprotect.transforms.pipeline import leaves

Labels = TypeVar("Labels", int, Tensor)


class _Protection:
    """Protection of a sample, shared by both wrappers: the transform on all of it, the label map on its label."""

    dataset: Any
    transform: Callable[[Any], Any]
    labels: LabelKey | None

    def _require_parts(self) -> None:
        """Refuse arguments that are often mixed up."""
        if isinstance(self.dataset, DataLoader):
            raise InputTypeError("dataset must be a data set, got a DataLoader; give loader.dataset")
        if isinstance(self.transform, Key):
            raise KeyKindError(
                f"transform must be a disguise, got {type_name(self.transform)}; use transforms.from_key"
            )
        if _protects_nothing(self.transform):
            raise InputTypeError(
                "transform holds no disguise, so every picture would be left unprotected; add transforms.from_key(key)"
            )
        if self.labels is not None and not isinstance(self.labels, LabelKey):
            hint = "; give bundle.labels" if isinstance(self.labels, KeyBundle) else ""
            raise KeyKindError(f"labels must be a LabelKey, got {type_name(self.labels)}{hint}")

    def protect(self, sample: Any) -> Any:
        """Disguise the pictures of a sample and rename its label."""
        protected = self.transform(sample)
        return protected if self.labels is None else _rename(protected, self.labels)

    def unmap(self, labels: Labels) -> Labels:
        """Turn renamed labels, such as a model's predictions, back into plain ones.

        Args:
            labels: an int, or an integer tensor of any shape.
        """
        return labels if self.labels is None else self.labels.unmap(labels)


class ProtectedDataset(_Protection, Dataset[Any]):
    """A map-style dataset whose samples are protected as they are read.

    Args:
        dataset: map-style dataset.
        transform: a disguise, or a ``v2.Compose`` that ends in one; it sees the whole sample.
        labels: renames the classes: the second item of a tuple; in a dict, there or alone, the value under ``"label"``,
            another name with "label" in it, or ``"cls"``, if there is one such name.

    Samples keep their structure. Without noise, the same index gives the same bytes in any worker.

    A perturbation runs a model many times for each sample: perturb the data set once, with
    :func:`torchprotect.data.export`, and train on :func:`torchprotect.data.read`.
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any], labels: LabelKey | None = None) -> None:
        self.dataset, self.transform, self.labels = dataset, transform, labels
        self._require_parts()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.protect(self.dataset[index])


class ProtectedIterableDataset(_Protection, IterableDataset[Any]):
    """An iterable dataset whose samples are protected as they are read.

    Args:
        dataset: iterable of samples; it divides itself among workers, as every iterable dataset must.
        transform: a disguise, or a ``v2.Compose`` that ends in one; it sees the whole sample.
        labels: renames the classes: the second item of a tuple; in a dict, there or alone, the value under ``"label"``,
            another name with "label" in it, or ``"cls"``, if there is one such name.
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any], labels: LabelKey | None = None) -> None:
        self.dataset, self.transform, self.labels = dataset, transform, labels
        self._require_parts()

    def __iter__(self) -> Iterator[Any]:
        return map(self.protect, self.dataset)


def _protects_nothing(transform: Any) -> bool:
    """Return whether a pipeline runs nothing but torchvision's own transforms. Functions are trusted."""
    kinds = [type(step) for step in leaves(transform)]
    return all(kind.__module__.startswith("torchvision.") and kind.__name__ != "Lambda" for kind in kinds)


def _rename(sample: Any, labels: LabelKey) -> Any:
    """Rename the labels of a sample; a single picture has one number."""

    def rename(label: Any) -> Any:
        pictures = sample.values() if isinstance(sample, Mapping) else sample[:1]
        if isinstance(label, Tensor) and label.numel() > 1 and any(map(_is_single, pictures)):
            raise InputTypeError(
                f"one picture has a label of shape {list(label.shape)}; give its class number, of a one-hot row "
                "label.argmax()"
            )
        return labels.map(label)

    return map_labels(sample, rename)


def _is_single(value: Any) -> bool:
    return isinstance(value, PIL.Image.Image) or (isinstance(value, Tensor) and value.ndim == 3)
