"""A finished export as a map-style dataset with random access and whole batches."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from torchprotect._inputs import type_name
from torchprotect.data import manifest as documents
from torchprotect.data._one_by_one import OneByOne
from torchprotect.data._readable import ReadableShards
from torchprotect.data._sample_index import index_samples
from torchprotect.data._shard_files import FileState, ShardFiles, WatchedFiles, path_in
from torchprotect.data.cache import ShardCache
from torchprotect.data.finished import Identities, open_finished
from torchprotect.envelope import Signer
from torchprotect.errors import ExportError, InputShapeError, InputTypeError, StoreError

Label = int | Tensor | None


class ShardDataset(Dataset[tuple[Tensor, Label]]):
    """Random access to the images and labels of a finished export.

    When it is opened, all shards are read once, to compare them with the manifest and to note where each image lies.
    From then on, only the requested images are read. An index returns one sample; a list of indices returns a batch::

        dataset = data.ShardDataset("out/")
        batches = BatchSampler(RandomSampler(dataset), 256, drop_last=False)
        loader = DataLoader(dataset, sampler=batches, batch_size=None, num_workers=2)

    ``DataLoader(dataset, batch_size=256, shuffle=True)`` works as for any data set if images have labels, but it is
    slower, because it collates the images of each batch one by one. Samplers such as ``DistributedSampler`` work, and
    so does ``Subset``. Workers open the shards by their paths.

    The images are those of :func:`torchprotect.data.read`, in the same order. PNG images have channels-last memory
    layout, as they are stored, which is faster for convolutions; ``.contiguous()`` changes it.

    Images are read one by one, which is slower, if the export is sealed, if its images differ in shape or dtype, or if
    an image has more than about 30 MB.

    Args:
        export: its folder; or its URL, with a cache.
        verify: whether to compare the SHA-256 of the shards with the manifest when the export is opened. Unlike
            :func:`torchprotect.data.read`, it does not compare the checksums inside PNG files.
        cache: folder for copies of the shards of a URL; all shards are downloaded when the export is opened.
        identity: opens the export if it is sealed, as in :func:`torchprotect.data.read`.
        signer: who must have signed the export: an Ed25519 public key, or the path of its PEM file.
        expect: SHA-256 in hex that the manifest must have, as the export printed it.

    Raises:
        ExportError: it is not a finished export.
        EnvelopeError: the export is sealed, and no identity was given, or none that opens it.
        StoreError: it is a URL, and no cache was given. While reading: too many files are open.
        VerificationError: manifest or shards are damaged, or signer or digest do not vouch for them. While reading: a
            shard was written to, replaced or removed since it was opened.
    """

    def __init__(
        self,
        export: str | os.PathLike[str],
        *,
        verify: bool = True,
        cache: str | os.PathLike[str] | None = None,
        identity: Identities = None,
        signer: Signer | str | os.PathLike[str] | None = None,
        expect: str | None = None,
    ) -> None:
        opened = open_finished(export, identity=identity, signer=signer, expect=expect)
        if not opened.store.local and cache is None:
            raise StoreError(
                f"{opened.store.location} is not a local folder: give cache=FOLDER for copies of its shards, or read "
                "them one after the other with data.read"
            )
        if not opened.manifest["shards"]:
            raise ExportError(f"{opened.store.location} holds no shards")
        readable = ReadableShards(opened, None if cache is None else ShardCache(cache))
        self._shards = [readable.fetch(number) for number in range(len(readable))]
        image_size = documents.image_size(opened.manifest)
        paths = [path_in(store, entry["name"]) for store, entry, _ in self._shards]
        states = [FileState.of(Path(path).stat()) for path in paths]  # before their contents are checked
        watched = WatchedFiles(paths, states)
        classes = opened.manifest.get("classes")
        self._index = index_samples(self._shards, image_size, classes=classes, verify=verify)
        layout = self._index.layout
        self._one_by_one = OneByOne(self._shards, watched, image_size)
        self._files = None
        if layout is not None and layout.is_readable and opened.public is None:
            self._files = ShardFiles(watched, layout)

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"ShardDataset({len(self):,} images in {len(self._shards):,} shards)"

    @property
    def labels(self) -> Tensor | None:
        """A copy of the class numbers, int64 ``[N]``; ``None`` unless every image has exactly one."""
        return self._index.class_numbers

    def __getitem__(self, index: Any) -> tuple[Tensor, Any]:
        """Return a sample, or a batch for a list, an integer tensor or array, or a slice of indices.

        Returns:
            For one index the image ``[C, H, W]`` and its label: a class number, ``None`` without one, or int64
            ``[classes]`` of zeros and ones where images have several. For several: images ``[N, C, H, W]`` and labels
            int64 ``[N]`` or ``[N, classes]``, ``None`` where the export has none.

        Raises:
            IndexError: there is no such image.
            InputShapeError: images of a batch differ in shape.
            InputTypeError: another kind of index.
            LabelError: some images of a batch have a label, others have none.
            VerificationError: a shard was written to or replaced since the export was opened.
        """
        array = _as_array(index, len(self))
        samples = self._checked(array.reshape(-1))
        images = self._read(samples)
        if array.ndim == 0:
            return images[0], self._index.label(int(samples[0]))
        if not isinstance(images, Tensor):
            raise InputShapeError(
                f"these images make no batch, since they have {_shapes(images)}: read them one by one, or collate them "
                "yourself"
            )
        return images, self._index.labels(samples) if self._index.has_labels else None

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, Label]]:
        """Return several samples, read in one call; a ``DataLoader`` calls it. Their images share memory."""
        samples = self._checked(_as_array(indices, len(self)))
        return list(zip(self._read(samples), map(self._index.label, samples.tolist()), strict=True))

    def _checked(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return indices counted from 0."""
        count = len(self)
        if ((samples < -count) | (samples >= count)).any():
            wrong = samples[(samples < -count) | (samples >= count)][0]
            raise IndexError(f"index {wrong} is out of range: the export has {count:,} images")
        return np.where(samples < 0, samples + count, samples)

    def _read(self, samples: NDArray[np.int64]) -> Tensor | list[Tensor]:
        """Return images ``[N, C, H, W]``, or a list of them if they differ in shape."""
        shards, offsets = self._index.shards_of(samples), self._index.offsets[samples]
        if self._files is not None:
            return self._files.read(shards, offsets)
        if not len(samples) and self._index.layout is not None:
            return torch.empty(0, *self._index.layout.shape, dtype=self._index.layout.dtype)
        return self._one_by_one.read(shards, offsets, self._index.sizes[samples])


def _as_array(index: Any, count: int) -> NDArray[np.int64]:
    """Return an index without dimensions, or those in a list, a tensor, an array or a slice."""
    if isinstance(index, slice):
        return np.arange(*index.indices(count))
    try:
        array = np.asarray(index)
    except (ValueError, TypeError, RuntimeError):  # a list of lists; a tensor that is nothing for NumPy
        array = np.asarray(None)
    if array.shape == (0,):
        return np.empty(0, np.int64)
    if array.ndim > 1 or array.dtype.kind not in "iu":
        raise InputTypeError(
            f"an index must be an int, or a list, tensor or slice of ints, got {type_name(index)}; for a mask give "
            "mask.nonzero().flatten()"
        )
    if array.dtype == np.uint64:
        array = np.minimum(array, np.uint64(np.iinfo(np.int64).max))  # what is larger is out of range anyway
    return array.astype(np.int64)


def _shapes(images: list[Tensor]) -> str:
    found = sorted({f"shape {list(image.shape)} and {image.dtype}" for image in images})
    return ", ".join(found[:2]) or "no shape: they are none"
