"""Datasets whose pictures come out disguised and whose labels come out renamed."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from torchprotect.errors import LabelError
from torchprotect.keys import LabelKey

Labels = TypeVar("Labels", int, Tensor)


class _Protection:
    """What both wrappers do to a sample: the transform on all of it, the label map on its label."""

    transform: Callable[[Any], Any]
    labels: LabelKey | None

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
    """A map-style dataset seen through a disguise.

    Args:
        dataset: map-style dataset.
        transform: a disguise, or a ``v2.Compose`` that ends in one; it sees the whole sample.
        labels: renames the classes: the second item of a tuple, or ``"label"`` of a dict.

    Samples keep their structure. Without noise, the same index gives the same bytes in any worker.

    A perturbation runs a model many times for each sample: perturb the data set once, with
    :func:`torchprotect.data.export`, and train on :func:`torchprotect.data.read`.
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any], labels: LabelKey | None = None) -> None:
        self.dataset, self.transform, self.labels = dataset, transform, labels

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.protect(self.dataset[index])


class ProtectedIterableDataset(_Protection, IterableDataset[Any]):
    """An iterable dataset seen through a disguise.

    Args:
        dataset: iterable of samples; it divides itself among workers, as every iterable dataset must.
        transform: a disguise, or a ``v2.Compose`` that ends in one; it sees the whole sample.
        labels: renames the classes: the second item of a tuple, or ``"label"`` of a dict.
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any], labels: LabelKey | None = None) -> None:
        self.dataset, self.transform, self.labels = dataset, transform, labels

    def __iter__(self) -> Iterator[Any]:
        return map(self.protect, self.dataset)


def _rename(sample: Any, labels: LabelKey) -> Any:
    if isinstance(sample, dict) and "label" in sample:
        return {**sample, "label": labels.map(sample["label"])}
    if isinstance(sample, tuple | list) and len(sample) >= 2:
        make = getattr(type(sample), "_make", type(sample))  # a named tuple is made of its items in its own way
        return make([sample[0], labels.map(sample[1]), *sample[2:]])
    raise LabelError(f"no label in a {type(sample).__name__}: expected (image, label, ...) or a dict with 'label'")
