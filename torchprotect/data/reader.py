"""Reading a finished export."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from torchprotect.data import manifest as documents
from torchprotect.data._stored import read_shard
from torchprotect.data.cache import ShardCache
from torchprotect.data.store import Store, open_store
from torchprotect.errors import ExportError


def read(
    export: str | os.PathLike[str],
    *,
    verify: bool = True,
    cache: str | os.PathLike[str] | None = None,
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
        export: its folder or URL.
        verify: whether to hash the shards too; the other checks stay.
        cache: folder for copies of shards that are read from a URL. A shard is fetched whole and compared with the
            manifest before its first sample, and read from the copy from then on. Without one shards are streamed: of a
            damaged shard, samples are seen before the error.
        shardshuffle: number of shards in the buffer from which the next is drawn; ``False`` keeps their order.
        seed: of the shard shuffle; ``None`` draws one, or takes ``WDS_SEED`` from the environment.
        resampled: draw shards with replacement, without end.

    Returns:
        An iterable dataset of tensors ``[C, H, W]`` and ints (``None`` where the export has no labels), with the
        methods of ``webdataset.WebDataset``, such as ``shuffle`` and ``batched``. Only what an export writes is
        decoded: PNG, npy and class numbers.

    Raises:
        ExportError: it is no finished export. While reading: there are fewer shards than ranks.
        VerificationError: the manifest is malformed. While reading: a shard is not what the manifest says.
    """
    import webdataset

    store = open_store(export)
    copies = ShardCache(cache) if cache is not None and not store.local else None
    reader = _Reader(documents.read_manifest(store), store, verify, copies)
    if not reader.shards:
        raise ExportError(f"{store.location} holds no shards")
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


class _Reader:
    """The stage of the pipeline that turns shards into samples; can be pickled."""

    def __init__(self, manifest: dict[str, Any], store: Store, verify: bool, cache: ShardCache | None) -> None:
        self._cache = cache
        self._entries = {store.path_of(entry["name"]): entry for entry in manifest["shards"]}
        self._store, self._image_size, self._verify = store, documents.image_size(manifest), verify

    @property
    def shards(self) -> list[str]:
        """Paths or URLs of the shards."""
        return list(self._entries)

    def __call__(self, shards: Iterable[dict[str, Any]]) -> Iterator[tuple[Tensor, int | None]]:
        for shard in shards:
            store, entry, verify = self._fetch(self._entries[shard["url"]])
            for _, image, label in read_shard(store, entry, self._image_size, verify=verify):
                yield image, label

    def _fetch(self, entry: dict[str, Any]) -> tuple[Store, dict[str, Any], bool]:
        """Return where to read a shard: from its copy, if there is a cache, which has compared its hash already."""
        if self._cache is None:
            return self._store, entry, self._verify
        digest = entry["sha256"]
        path = self._cache.fetch(self._store, entry["name"], f"{digest}.tar", size=entry["size"], sha256=digest)
        return open_store(path.parent), entry | {"name": path.name}, False
