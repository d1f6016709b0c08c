"""Any map-style dataset of ``(image, label)`` as a source."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from torchvision import tv_tensors

from torchprotect.data.preparation import Preparation
from torchprotect.data.sources._base import Preparable, Sample, require_image
from torchprotect.data.sources._pictures import prepare_tensor, to_tensor
from torchprotect.errors import ExportError, SourceError

_LISTED = 16


class DatasetSource(Preparable):
    """Reads a dataset by index. The same index must give the same image each time."""

    def __init__(self, dataset: Any) -> None:
        if isinstance(dataset, DataLoader):
            raise ExportError(
                "an export reads by index, so it takes the data set, not a DataLoader: give loader.dataset"
            )
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise ExportError(
                f"an export reads by index, but {type(dataset).__name__} has no length; write it with data.ShardWriter"
            )
        self.folders: tuple[Path | str, ...] = ()
        self.left_out: Counter[str] = Counter()
        self.description = f"{type(dataset).__qualname__} given in Python"
        self.class_names = _class_names(dataset)
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        try:
            item = self._dataset[index]
        except Exception as error:  # decoders fail in many ways on a broken file
            raise SourceError(f"cannot read sample {index}: {error}") from error
        try:
            image, label = _take_apart(item)
            sample = Sample(_to_plain_tensor(image, self.preparation), None if label is None else _to_class(label))
        except (TypeError, ValueError) as error:
            raise SourceError(f"sample {index} is not (image, class number): {error}") from error
        require_image(sample.image, str(index))
        return sample

    def name(self, index: int) -> str:
        """Return the index."""
        return str(index)

    def locate(self, index: int) -> str:
        """Return the index."""
        return str(index)

    def listing(self) -> Iterator[bytes]:
        """Yield type and length of the dataset."""
        yield f"{type(self._dataset).__qualname__}\0{len(self)}".encode()

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield digests of at most 16 evenly spaced samples: reading all of them could take as long as an export."""
        step = -(-len(indices) // _LISTED) or 1
        for index in indices[::step]:
            try:
                image, label = self[index]
            except SourceError:
                yield b"unreadable"
            else:
                yield hashlib.sha256(image.contiguous().numpy().tobytes()).digest() + str(label).encode()


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    """Return the names of the classes of a data set, or of the one that a subset is of."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    names = getattr(dataset, "classes", getattr(dataset, "class_names", None))  # as torchvision's sets; as sources
    return tuple(map(str, names)) if isinstance(names, list | tuple) else None


def _take_apart(item: Any) -> tuple[Any, Any]:
    """Return image and label of an item: a pair, or an image alone.

    Raises:
        TypeError: it is something else, part of which could be lost.
    """
    if isinstance(item, Mapping):
        names = ", ".join(repr(name) for name in item)
        raise TypeError(
            f"it is a dictionary with {names}; wrap the data set in one whose __getitem__ returns "
            "(sample['image'], sample['label']), whatever these are called"
        )
    if isinstance(item, tuple | list) and len(item) != 2:
        raise TypeError(f"it has {len(item)} parts; wrap the data set in one whose __getitem__ returns (image, label)")
    return (item[0], item[1]) if isinstance(item, tuple | list) else (item, None)


def _to_plain_tensor(image: Any, preparation: Preparation) -> Tensor:
    if isinstance(image, PIL.Image.Image):
        return to_tensor(image, preparation)
    if isinstance(image, tv_tensors.Image):
        return prepare_tensor(image.as_subclass(Tensor), preparation)
    if isinstance(image, np.ndarray):
        raise TypeError(
            "the image is a NumPy array, whose channels may come first or last; convert it with "
            "torchvision.transforms.v2.functional.to_image or PIL.Image.fromarray"
        )
    if type(image) is not Tensor:
        raise TypeError(f"the image is of type {type(image).__name__}, not a PIL image or a tensor")
    return prepare_tensor(image, preparation)


def _to_class(label: Any) -> int:
    if isinstance(label, Tensor | np.ndarray | list) and len(np.shape(label)) and np.size(label) != 1:
        raise TypeError(
            f"the label has the shape {list(np.shape(label))}, not one class number; for a one-hot label take argmax()"
        )
    number = label.item() if hasattr(label, "item") else label
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise TypeError(f"the label is {type(label).__name__} {number!r:.40}, not a class number from 0 up")
    return number
