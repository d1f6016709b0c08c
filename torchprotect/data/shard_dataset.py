"""A finished export as a map-style dataset: any image at any time, whole batches in one read."""

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from torchprotect._inputs import type_name
from torchprotect.data import manifest as documents
from torchprotect.data._readable import ReadableShards
from torchprotect.data._sample_index import index_samples
from torchprotect.data._shard_files import FileState, ShardFiles, path_in
from torchprotect.data._stored import Located, damage, decode_located
from torchprotect.data._tar import BLOCK, parse_header
from torchprotect.data.cache import ShardCache
from torchprotect.data.finished import Identities, open_finished
from torchprotect.envelope import Signer
from torchprotect.errors import ExportError, InputShapeError, InputTypeError, StoreError, VerificationError

Label = int | Tensor | None


class ShardDataset(Dataset[tuple[Tensor, Label]]):
    """Images and labels of a finished export, in any order.

    All shards are read once when the export is opened, to compare them with the manifest and to note where each image
    lies; from then on an image costs one read at its place. One index returns a sample, a list of indices a batch in
    one read::

        dataset = data.ShardDataset("out/")
        batches = BatchSampler(RandomSampler(dataset), 256, drop_last=False)
        loader = DataLoader(dataset, sampler=batches, batch_size=None, num_workers=2)

    ``DataLoader(dataset, batch_size=256, shuffle=True)`` works as for any data set, and takes longer: it takes batches
    apart to collate them. Samplers such as ``DistributedSampler`` and ``Subset`` work too. Workers open the shards by
    their paths, and read nothing but the images they are asked for.

    Images are those of :func:`torchprotect.data.read`, in the same order. Those of 8 bits lie channels last in memory,
    as they are stored, which is the faster order for convolutions; ``.contiguous()`` changes it.

    Args:
        export: its folder; or its URL, with a cache.
        verify: whether to compare the SHA-256 of the shards with the manifest while they are read the first time.
        cache: folder for copies of the shards of a URL, all of which are fetched now.
        identity: opens the export if it is sealed, as of :func:`torchprotect.data.read`. Images of sealed exports, and
            of those whose images differ in shape, are read one by one, which takes longer.
        signer: who must have signed the export: an Ed25519 public key, or the path of its PEM file.
        expect: SHA-256 in hex that the manifest must have, as the export printed it.

    Raises:
        ExportError: it is no finished export.
        EnvelopeError: it is sealed, and no identity was given, or none that opens it.
        StoreError: it is a URL, and no cache was given.
        VerificationError: manifest or shards are damaged, or not what signer or digest vouch for. Later, while images
            are read: a shard was written to or replaced since.
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
                f"{opened.store.location} is no local folder: give cache=FOLDER for copies of its shards, or read them "
                "one after the other with data.read"
            )
        if not opened.manifest["shards"]:
            raise ExportError(f"{opened.store.location} holds no shards")
        readable = ReadableShards(opened, None if cache is None else ShardCache(cache))
        self._shards = [readable.fetch(number) for number in range(len(readable))]
        self._image_size = documents.image_size(opened.manifest)
        sealed = opened.public is not None
        paths = [] if sealed else [path_in(store, entry["name"]) for store, entry, _ in self._shards]
        states = [FileState.of(path) for path in paths]  # before they are read: later is too late
        classes = opened.manifest.get("classes")
        self._index = index_samples(self._shards, self._image_size, classes=classes, verify=verify)
        layout = None if sealed else self._index.layout
        self._files = ShardFiles(paths, states, layout) if layout is not None and layout.is_readable else None

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"ShardDataset({len(self):,} images in {len(self._shards):,} shards)"

    @property
    def labels(self) -> Tensor | None:
        """Class numbers, int64 ``[N]``, to draw by class; ``None`` unless every image has one, and one alone."""
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
        if isinstance(index, int | np.integer) and not isinstance(index, bool):
            samples = self._checked(np.array([index]))
            return self._read(samples)[0], self._index.label(int(samples[0]))
        samples = self._checked(_as_array(index, len(self)))
        images = self._read(samples)
        if not isinstance(images, Tensor):
            raise InputShapeError(
                f"these images differ in shape, such as {_two_shapes(images)}, so they make no batch: read them one by "
                "one, or collate them yourself"
            )
        return images, self._index.labels(samples) if self._index.has_labels else None

    def __getitems__(self, indices: Sequence[int]) -> list[tuple[Tensor, Label]]:
        """Return several samples, read at once; a ``DataLoader`` calls it."""
        samples = self._checked(np.asarray(indices, np.int64))
        return list(zip(self._read(samples), map(self._index.label, samples.tolist()), strict=True))

    def _checked(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return indices counted from 0."""
        count = len(self)
        if ((samples < -count) | (samples >= count)).any():
            wrong = samples[(samples < -count) | (samples >= count)][0]
            raise IndexError(f"index {wrong} is out of range: the export has {count:,} images")
        return np.where(samples < 0, samples + count, samples)

    def _read(self, samples: NDArray[np.int64]) -> Tensor | list[Tensor]:
        """Return images ``[N, C, H, W]``, or one by one if they differ in shape."""
        shards, offsets = self._index.shards_of(samples), self._index.offsets[samples]
        if self._files is not None:
            return self._files.read(shards, offsets)
        images: dict[int, Tensor] = {}
        ends = offsets + self._index.sizes[samples]
        places = sorted(zip(shards.tolist(), offsets.tolist(), ends.tolist(), range(len(samples)), strict=True))
        for shard, of_shard in groupby(places, itemgetter(0)):
            images.update(self._read_one_by_one(shard, [place[1:] for place in of_shard]))
        found = [images[number] for number in range(len(samples))]
        alike = found and len({(image.shape, image.dtype) for image in found}) == 1
        return torch.stack(found) if alike else found

    def _read_one_by_one(self, shard: int, places: list[tuple[int, int, int]]) -> Iterator[tuple[int, Tensor]]:
        """Yield images of a shard, each with the number that was given with its place."""
        store, entry, _ = self._shards[shard]
        path = store.path_of(entry["name"])
        try:
            with store.open(entry["name"]) as file:
                for start, end, number in places:
                    file.seek(start - BLOCK)
                    yield number, self._decode(file.read(end - start + BLOCK), path, start)
        except OSError as error:
            raise VerificationError(f"cannot read {path}: {error.strerror or error}") from error

    def _decode(self, member: bytes, path: str, offset: int) -> Tensor:
        """Return the image of a member, whose header comes first."""
        try:
            name, size = parse_header(member[:BLOCK])
        except ValueError:
            raise damage(path, f"there is no header of a member before byte {offset:,}") from None
        identity, _, kind = name.partition(".")
        if size != len(member) - BLOCK or kind not in ("png", "npy"):
            raise damage(path, f"there is another member at byte {offset:,} than before")
        return decode_located(Located(identity, kind, offset, member[BLOCK:], None), path, self._image_size)


def _as_array(index: Any, count: int) -> NDArray[np.int64]:
    """Return the indices in a list, a tensor, an array or a slice."""
    if isinstance(index, slice):
        return np.arange(*index.indices(count))
    array = np.asarray(index)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputTypeError(f"an index must be an int, or a list, tensor or slice of ints, got {type_name(index)}")
    return array.astype(np.int64)


def _two_shapes(images: list[Tensor]) -> str:
    first = images[0]
    other = next((each for each in images if (each.shape, each.dtype) != (first.shape, first.dtype)), first)
    return f"{list(first.shape)} {first.dtype} and {list(other.shape)} {other.dtype}"
