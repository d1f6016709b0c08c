"""The location and label of each image of an export, for random access."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchprotect.data._labels import multi_hot, numbers_in
from torchprotect.data._layout import Layout
from torchprotect.data._readable import ReadableShard
from torchprotect.data._stored import Located, decode_located, locate
from torchprotect.errors import LabelError

_NONE = -1  # stands for no label; labels are never negative


@dataclass(frozen=True)
class SampleIndex:
    """Locations and labels of all samples: 16 bytes per sample, plus its class numbers.

    Attributes:
        ends: int64, one for each shard: cumulative number of samples up to and including it.
        offsets: int64, one for each sample: first byte of its image in the shard.
        sizes: int64, one for each sample: number of bytes of its image.
        layout: common layout of all images, if there is one.
        numbers: int64, class numbers of all samples in sequence; ``-1`` for a sample without a label.
        number_ends: int64, one for each sample: where its numbers end; for exports with several labels per image.
        classes: number of classes of such exports.
    """

    ends: NDArray[np.int64]
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    layout: Layout | None
    numbers: NDArray[np.int64]
    number_ends: NDArray[np.int64] | None
    classes: int | None

    def __len__(self) -> int:
        return len(self.offsets)

    def shards_of(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of the shard of each sample."""
        return np.searchsorted(self.ends, samples, side="right")

    def label(self, sample: int) -> int | Tensor | None:
        """Return the class number of a sample, ``None`` without one; int64 ``[classes]`` of zeros and ones."""
        found = self._numbers_of(sample)
        if _NONE in found:
            return None
        return int(found[0]) if self.classes is None else multi_hot(tuple(found.tolist()), self.classes)

    def labels(self, samples: NDArray[np.int64]) -> Tensor:
        """Return int64 ``[N]``, or ``[N, classes]`` of zeros and ones.

        Raises:
            LabelError: some of the images have no label.
        """
        found = self.numbers[samples] if self.number_ends is None else self._numbers_of_all(samples)
        if (found == _NONE).any():
            raise LabelError("some of these images have no label, so the labels are not a tensor; read them one by one")
        if self.classes is None:
            return torch.from_numpy(found)
        rows = torch.zeros(len(samples), self.classes, dtype=torch.int64)
        for row, sample in zip(rows, samples.tolist(), strict=True):
            row[torch.from_numpy(self._numbers_of(sample))] = 1
        return rows

    def _numbers_of(self, sample: int) -> NDArray[np.int64]:
        if self.number_ends is None:
            return self.numbers[sample : sample + 1]
        return self.numbers[self.number_ends[sample - 1] if sample else 0 : self.number_ends[sample]]

    def _numbers_of_all(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.concatenate([self._numbers_of(sample) for sample in samples.tolist()] or [self.numbers[:0]])

    @property
    def class_numbers(self) -> Tensor | None:
        """int64 ``[N]``, ``None`` unless every image has one label."""
        if self.classes is not None or (self.numbers == _NONE).any():
            return None
        return torch.from_numpy(self.numbers.copy())

    @cached_property
    def has_labels(self) -> bool:
        """Whether any image has a label."""
        return self.classes is not None or bool((self.numbers != _NONE).any())


def index_samples(
    shards: Sequence[ReadableShard],
    image_size: tuple[int, int] | None,
    *,
    classes: int | None,
    verify: bool,
) -> SampleIndex:
    """Read all shards once, and note where each image lies.

    Args:
        shards: shards of the export.
        image_size: of all images, if the manifest states it.
        classes: number of classes, where images have several labels.
        verify: compare the SHA-256 of each shard with the manifest.

    Raises:
        VerificationError: a shard is damaged, or is not the one in the manifest.
    """
    noted = _Collector(classes)
    for store, entry, verified in shards:
        path = store.path_of(entry["name"])
        for found in locate(store, entry, image_size, classes=classes, verify=verify and not verified):
            if not noted.is_known(found):
                decode_located(found, path, image_size)  # raises if it is not an image
            noted.add(found)
        noted.end_shard()
    return noted.index()


class _Collector:
    """Collects facts about samples, one after the other."""

    def __init__(self, classes: int | None) -> None:
        self._classes = classes
        self._layout: Layout | None = None
        self._alike = True
        self._ends = list[int]()
        self._parts = list[tuple[NDArray[np.int64], ...]]()
        self._begin_shard()

    def _begin_shard(self) -> None:
        self._offsets, self._sizes, self._numbers, self._counts = list[int](), list[int](), list[int](), list[int]()

    def is_known(self, found: Located) -> bool:
        """Return whether an image has the layout of the first one."""
        return self._layout is not None and self._layout.begins(found.kind, found.content)

    def add(self, found: Located) -> None:
        """Add a sample whose image can be decoded."""
        if self._layout is None:
            self._layout = Layout(found.kind, found.content)
        self._alike = self._alike and self.is_known(found)
        self._offsets.append(found.offset)
        self._sizes.append(len(found.content))
        numbers = (_NONE,) if found.label is None else numbers_in(found.label)
        self._numbers.extend(numbers)
        self._counts.append(len(numbers))

    def end_shard(self) -> None:
        self._ends.append(len(self._offsets))
        lists = (self._offsets, self._sizes, self._numbers, self._counts)
        self._parts.append(tuple(np.array(each, np.int64) for each in lists))
        self._begin_shard()

    def index(self) -> SampleIndex:
        offsets, sizes, numbers, counts = map(np.concatenate, zip(*self._parts, strict=True))
        return SampleIndex(
            np.cumsum(self._ends),
            offsets,
            sizes,
            self._layout if self._alike else None,
            numbers,
            None if self._classes is None else np.cumsum(counts),
            self._classes,
        )
