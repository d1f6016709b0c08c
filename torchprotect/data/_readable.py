"""Locate the shards of a finished export for reading: in place, or as copies."""

from pathlib import Path
from typing import Any, NamedTuple

from torchprotect.data.cache import ShardCache
from torchprotect.data.finished import FinishedExport
from torchprotect.data.store import SUFFIX, SealedStore, Store, open_store


class ReadableShard(NamedTuple):
    """One shard, ready to be read.

    Attributes:
        store: the store that holds it.
        entry: entry of the shard, with its name in that store.
        verified: whether its hash was already compared.
    """

    store: Store
    entry: dict[str, Any]
    verified: bool


class ReadableShards:
    """The shards of an export; can be pickled.

    Args:
        export: the opened export.
        cache: for copies of shards that are not in a local folder; ``None`` reads them in place.
    """

    def __init__(self, export: FinishedExport, cache: ShardCache | None) -> None:
        self._store, self._cache = export.store, None if export.store.local else cache
        self._entries = export.manifest["shards"]
        self._stored = self._entries if export.public is None else export.public["shards"]

    @property
    def locations(self) -> list[str]:
        """Paths or URLs of the shards."""
        return [self._store.path_of(entry["name"]) for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def fetch(self, number: int) -> ReadableShard:
        """Return a shard, after copying it if there is a cache without a copy of it.

        Raises:
            VerificationError: the copy differs from the manifest.
        """
        entry, stored = self._entries[number], self._stored[number]
        if self._cache is None:
            return ReadableShard(self._store, entry, verified=False)
        if isinstance(self._store, SealedStore):
            path = _copy(self._cache, self._store.inner, stored, f"tar{SUFFIX}")
            return ReadableShard(self._store.with_copy(entry["name"], path), entry, verified=False)
        path = _copy(self._cache, self._store, stored, "tar")
        return ReadableShard(open_store(path.parent), entry | {"name": path.name}, verified=True)


def _copy(cache: ShardCache, store: Store, entry: dict[str, Any], kind: str) -> Path:
    """Return the path of the copy of a file that a manifest lists."""
    digest = entry["sha256"]
    return cache.fetch(store, entry["name"], f"{digest}.{kind}", size=entry["size"], sha256=digest)
