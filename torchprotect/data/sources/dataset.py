"""Any map-style dataset of ``(image, label)`` as a source."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
from torch import Tensor
from torchvision import tv_tensors

from torchprotect.data.sources._base import Sample, require_image, to_tensor
from torchprotect.errors import ExportError, SourceError

_LISTED = 16


class DatasetSource:
    """Reads a dataset by index. Its own transforms must not draw random numbers."""

    def __init__(self, dataset: Any) -> None:
        if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
            raise ExportError(
                f"an export reads by index, but {type(dataset).__name__} has no length; write it with data.ShardWriter"
            )
        self.folders: tuple[Path, ...] = ()
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Sample:
        try:
            item = self._dataset[index]
        except Exception as error:  # decoders fail in many ways on a broken file
            raise SourceError(f"cannot read sample {index}: {error}") from error
        image, label = item if isinstance(item, tuple | list) and len(item) == 2 else (item, None)
        try:
            tensor = _to_plain_tensor(image)
            number = None if label is None else _to_class(label)
        except (TypeError, ValueError) as error:
            raise SourceError(f"sample {index} is not (image, class number): {error}") from error
        return Sample(require_image(tensor, str(index)), number)

    def name(self, index: int) -> str:
        """Return the index."""
        return str(index)

    def listing(self) -> Iterator[bytes]:
        """Yield type and length of the dataset, and digests of a few samples: reading all would take too long."""
        yield f"{type(self._dataset).__qualname__}\0{len(self)}".encode()
        step = max(1, len(self) // _LISTED)
        for index in range(0, len(self), step):
            try:
                image, label = self[index]
            except SourceError:
                yield b"unreadable"
            else:
                yield hashlib.sha256(image.contiguous().numpy().tobytes()).digest() + str(label).encode()


def _to_plain_tensor(image: Any) -> Tensor:
    if isinstance(image, PIL.Image.Image):
        return to_tensor(image)
    if isinstance(image, tv_tensors.Image):
        return image.as_subclass(Tensor)
    if type(image) is not Tensor:
        raise TypeError(f"the image is a {type(image).__name__}, not a PIL image or a tensor")
    return image


def _to_class(label: Any) -> int:
    number = label.item() if isinstance(label, Tensor) or hasattr(label, "item") else label
    if isinstance(number, bool) or not isinstance(number, int) or number < 0:
        raise TypeError(f"the label is a {type(label).__name__}, not a class number from 0 up")
    return number
