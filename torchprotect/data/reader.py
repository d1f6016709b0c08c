"""Reading a finished export."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from torchprotect.data import manifest as documents
from torchprotect.data._labels import multi_hot
from torchprotect.data._readable import ReadableShards
from torchprotect.data._stored import read_shard
from torchprotect.data.cache import ShardCache
from torchprotect.data.finished import FinishedExport, Identities, open_finished
from torchprotect.data.several import Exports, as_list, require_one_key
from torchprotect.envelope import Signer
from torchprotect.errors import ExportError, InputRangeError


def read(
    export: Exports,
    *,
    verify: bool = True,
    cache: str | os.PathLike[str] | None = None,
    identity: Identities = None,
    signer: Signer | str | os.PathLike[str] | None = None,
    expect: str | None = None,
    shardshuffle: int | bool = False,
    seed: int | None = None,
    resampled: bool = False,
) -> Any:
    """Open a finished export as a WebDataset of ``(image, label)``.

    Every shard is compared with the manifest while it is read: its size, members and image sizes at once, the number of
    samples and the SHA-256 after its last sample. So an epoch that ends without an error was complete. Under
    ``torchrun``, each rank reads its own shards, and within it each ``DataLoader`` worker: an export needs at least as
    many shards as there are ranks, and if the number of ranks does not divide that of the shards, ranks see different
    numbers of images: take ``resampled=True`` and ``.with_epoch(...)``.

    Args:
        export: its folder or URL; or those of several exports of one key.
        verify: whether to hash the shards too; the other checks stay.
        cache: folder for copies of shards that are read from a URL. A shard is fetched whole and compared with the
            manifest before its first sample, and read from the copy from then on. Without one shards are streamed: of a
            damaged shard, samples are seen before the error. Copies of sealed shards are sealed.
        identity: opens the export if it is sealed: path of a file of age identities or of an ssh key, an
            :class:`torchprotect.envelope.Identity`, the key it was made with, or several of these.
        signer: who must have signed the export: an Ed25519 public key, or the path of its PEM file.
        expect: SHA-256 in hex that the manifest must have, as the export printed it; of a single export.
        shardshuffle: number of shards in the buffer from which the next is drawn; ``False`` keeps their order.
        seed: of the shard shuffle; ``None`` draws one, or takes ``WDS_SEED`` from the environment.
        resampled: draw shards with replacement, without end.

    Returns:
        An iterable dataset of tensors ``[C, H, W]`` and ints (``None`` where the export has no labels; int64
        ``[classes]`` of zeros and ones where images have several), with the methods of ``webdataset.WebDataset``, such
        as ``shuffle`` and ``batched``. Only what an export writes is decoded: PNG, npy and class numbers.

    Raises:
        ExportError: it is no finished export, or several do not go together. While reading: there are fewer shards
            than ranks.
        EnvelopeError: it is sealed, and no identity was given, or none that opens it.
        VerificationError: the manifest is malformed, or not the one that signer or digest vouch for. While reading: a
            shard is not what the manifest says.
    """
    import webdataset

    exports = as_list(export)
    if expect is not None and len(exports) > 1:
        raise InputRangeError("expect is the digest of one manifest; read several exports without it")
    opened = [open_finished(each, identity=identity, signer=signer, expect=expect) for each in exports]
    require_one_key(opened)
    copies = None if cache is None else ShardCache(cache)
    reader = _Readers([_Reader(each, verify, copies) for each in opened])
    if not reader.shards:
        raise ExportError(f"{opened[0].store.location} holds no shards")
    shards = webdataset.ResampledShards if resampled else webdataset.SimpleShardList
    dataset = webdataset.FluidWrapper(shards(reader.shards))
    dataset.append(_split_by_rank)
    dataset.append(webdataset.split_by_worker)
    if shardshuffle:
        dataset.append(webdataset.shuffle(int(shardshuffle), seed=seed))
    dataset.append(reader)
    return dataset


def _split_by_rank(shards: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    from webdataset import split_by_node

    none = True
    for shard in split_by_node(shards):
        none = False
        yield shard
    if none:
        raise ExportError(
            "the export has fewer shards than there are ranks, so one of them would train on nothing: export with a "
            "smaller shard_size, or read with resampled=True and .with_epoch(...)"
        )


class _Readers:
    """The stage of the pipeline that turns shards into samples; can be pickled.

    Args:
        readers: of the exports.
    """

    def __init__(self, readers: "list[_Reader]") -> None:
        self._by_url = {
            url: (reader, number) for reader in readers for number, url in enumerate(reader.shards.locations)
        }

    @property
    def shards(self) -> list[str]:
        """Paths or URLs of the shards."""
        return list(self._by_url)

    def __call__(self, shards: Iterable[dict[str, Any]]) -> Iterator[tuple[Tensor, int | Tensor | None]]:
        for shard in shards:
            reader, number = self._by_url[shard["url"]]
            yield from reader.samples(number)


class _Reader:
    """Reads the shards of one export."""

    def __init__(self, export: FinishedExport, verify: bool, cache: ShardCache | None) -> None:
        self.shards, self._verify = ReadableShards(export, cache), verify
        self._image_size, self._classes = documents.image_size(export.manifest), export.manifest.get("classes")

    def samples(self, number: int) -> Iterator[tuple[Tensor, int | Tensor | None]]:
        """Yield images and labels of a shard."""
        store, entry, verified = self.shards.fetch(number)
        verify = self._verify and not verified
        for _, image, label in read_shard(store, entry, self._image_size, classes=self._classes, verify=verify):
            yield image, multi_hot(label, self._classes or 0) if isinstance(label, tuple) else label
