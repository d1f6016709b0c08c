"""Wrappers that disguise the pictures of a data set and rename its labels.

Attributes of the wrapped data set are not passed on, because ``data``, ``samples`` or ``targets`` hold plain pictures
and labels, and code that uses them would bypass the protection. The exceptions are names of classes, which the wrappers
keep consistent with renamed labels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from torchprotect._inputs import type_name
from torchprotect.errors import InputTypeError, LabelError
from torchprotect.keys import LabelKey
from torchprotect.transforms.protection import Protection

Labels = TypeVar("Labels", int, Tensor)


class _ProtectedSamples(Protection):
    """Base class of both wrappers."""

    dataset: Any

    def _require_parts(self) -> None:
        """Refuse arguments that are often mixed up."""
        if isinstance(self.dataset, DataLoader):
            raise InputTypeError("dataset must be a data set, got a DataLoader; give loader.dataset")
        self.require_parts(type(self).__name__, stacklevel=3)

    def __getattr__(self, name: str) -> Any:
        """Return the names of the classes, under the numbers that samples have; refuse other attributes.

        Raises:
            AttributeError: another attribute, or the names do not belong to the label map.
        """
        # called for names that are not set: while an unpickled wrapper is still empty, "dataset" is one of them
        if name == "classes":
            return _in_order_of_labels(self.dataset.classes, self.labels)
        if name == "class_to_idx":
            return _with_renamed_labels(self.dataset.class_to_idx, self.labels)
        raise AttributeError(
            f"{type(self).__name__} has no attribute {name!r}, and passes on only the names of classes of the data set "
            f"it wraps, whose other attributes may hold plain pictures or labels: they are at .dataset.{name}"
        )

    def unmap(self, labels: Labels) -> Labels:
        """Turn renamed labels, such as a model's predictions, back into plain ones.

        Args:
            labels: an int, or an integer tensor of any shape.
        """
        return labels if self.labels is None else self.labels.unmap(labels)


class ProtectedDataset(_ProtectedSamples, Dataset[Any]):
    """A map-style dataset that disguises each sample when it is read.

    Args:
        dataset: map-style dataset with plain samples.
        transform: a disguise, or a ``v2.Compose`` that ends in one; it receives the whole sample.
        labels: renames the classes. Labels are found as the second item of a tuple; in a dict (as that item or as the
            sample itself), under ``"label"``, under another name that contains "label", or under ``"cls"``, if there is
            exactly one such name.

    Warns:
        LabelsLeftPlainWarning: the disguise was made from a bundle with a label map, but ``labels`` is missing.

    Attributes:
        classes: names of the classes, if the wrapped data set has them: ``classes[y]`` names the class of samples with
            the label ``y``. With ``labels``, the names are in the order of the renamed classes and so reveal the label
            map.
        class_to_idx: label by class name; the same caveat applies.

    No other attribute of the wrapped data set is passed on: ``protected.dataset.targets`` are its plain labels. Samples
    keep their structure. Without noise, the same index gives the same bytes in any worker.

    A perturbation runs a model many times for each sample. Perturb the data set once instead, with
    :func:`torchprotect.data.export`, and train on :func:`torchprotect.data.read`.

    Example::

        protected = data.ProtectedDataset(plain, transforms.from_key(bundle), labels=bundle.labels)
        loader = DataLoader(protected, batch_size=128, num_workers=4)
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any], labels: LabelKey | None = None) -> None:
        self.dataset, self.transform, self.labels = dataset, transform, labels
        self._require_parts()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.protect(self.dataset[index])

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return several samples, read at once where the wrapped data set can; a ``DataLoader`` calls it."""
        fetch = getattr(self.dataset, "__getitems__", None)
        samples = fetch(indices) if callable(fetch) else [self.dataset[index] for index in indices]
        return [self.protect(sample) for sample in samples]


class ProtectedIterableDataset(_ProtectedSamples, IterableDataset[Any]):
    """An iterable dataset that disguises each sample when it is read.

    Args:
        dataset: iterable of plain samples. Like every iterable dataset, it must divide itself among workers.
        transform: a disguise, or a ``v2.Compose`` that ends in one; it receives the whole sample.
        labels: renames the classes. Labels are found as the second item of a tuple; in a dict (as that item or as the
            sample itself), under ``"label"``, under another name that contains "label", or under ``"cls"``, if there is
            exactly one such name.

    Warns:
        LabelsLeftPlainWarning: the disguise was made from a bundle with a label map, but ``labels`` is missing.

    ``classes`` and ``class_to_idx`` of the wrapped data set are passed on as by :class:`ProtectedDataset`.
    """

    def __init__(self, dataset: Any, transform: Callable[[Any], Any], labels: LabelKey | None = None) -> None:
        self.dataset, self.transform, self.labels = dataset, transform, labels
        self._require_parts()

    def __iter__(self) -> Iterator[Any]:
        return map(self.protect, self.dataset)


def _in_order_of_labels(names: Any, labels: LabelKey | None) -> list[Any]:
    """Return the names of classes in the order of renamed labels."""
    if not isinstance(names, Sequence) or isinstance(names, str):
        received = type_name(names)
        raise AttributeError(f"classes of the wrapped data set must be a list of names, got {received}")  # noqa: TRY004 - for hasattr
    if labels is None:
        return list(names)
    if len(names) != labels.classes:
        raise AttributeError(
            f"the wrapped data set names {len(names)} classes, but the label map has {labels.classes}; its own names "
            "are at .dataset.classes"
        )
    return [names[labels.unmap(label)] for label in range(len(names))]


def _with_renamed_labels(numbers: Mapping[Any, int], labels: LabelKey | None) -> dict[Any, int]:
    """Return class numbers by name, renamed."""
    try:
        return {name: number if labels is None else labels.map(number) for name, number in numbers.items()}
    except (LabelError, InputTypeError) as error:
        raise AttributeError(f"class_to_idx of the wrapped data set: {error}") from None
