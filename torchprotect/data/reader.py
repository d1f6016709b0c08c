"""Read a finished export."""

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

    Every shard is compared with the manifest while it is read: its size, members and image sizes at once; the number of
    samples and the SHA-256 after its last sample. An epoch that ends without an error was therefore complete.

    Under ``torchrun``, each rank reads its own shards, divided among its ``DataLoader`` workers. An export needs at
    least as many shards as there are ranks. If the number of ranks does not divide the number of shards, ranks see
    different numbers of images: use ``resampled=True`` and ``.with_epoch(...)``.

    Args:
        export: its folder or URL; or the folders or URLs of several exports of one key.
        verify: whether to hash the shards too; the other checks always run.
        cache: folder for copies of shards that are read from a URL. A shard is downloaded whole and compared with the
            manifest before its first sample; later epochs read the copy. Without a cache, shards are streamed, and
            samples of a damaged shard are delivered before the error. Copies of sealed shards stay sealed.
        identity: opens the export if it is sealed: path of a file of age identities or of an ssh key, an
            :class:`torchprotect.envelope.Identity`, the key that the export was made with, or several of these.
        signer: who must have signed the export: an Ed25519 public key, or the path of its PEM file.
        expect: SHA-256 in hex that the manifest must have, as the export printed it; for a single export.
        shardshuffle: number of shards in the shuffle buffer; ``False`` keeps their order.
        seed: seed of the shard shuffle; ``None`` draws one, or takes ``WDS_SEED`` from the environment.
        resampled: draw shards with replacement, without end.

    Returns:
        An iterable dataset of tensors ``[C, H, W]`` and ints, with the methods of ``webdataset.WebDataset``, such as
        ``shuffle`` and ``batched``. Instead of an int, the label is ``None`` if the export has no labels, or int64
        ``[classes]`` of zeros and ones if images have several. Only the formats that an export writes are decoded: PNG,
        npy and class numbers.

    Raises:
        ExportError: it is not a finished export, or several exports do not belong together. While reading: there are
            fewer shards than ranks.
        EnvelopeError: the export is sealed, and no identity was given, or none that opens it.
        VerificationError: the manifest is malformed, or signer or digest do not vouch for it. While reading: a shard
            differs from the manifest.

    Example::

        loader = DataLoader(data.read("out/").shuffle(1000).batched(64), batch_size=None, num_workers=2)
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
        readers: readers of the exports.
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
