"""Patterns of tar archives, such as ``train-{000000..000020}.tar``, local or behind URLs."""

import os
from pathlib import Path
from urllib.parse import urlsplit

from torchprotect.data.cache import ShardCache
from torchprotect.data.sources._archives import LocalArchives
from torchprotect.data.sources._index_file import load_or_scan
from torchprotect.data.sources._label_members import LabelMembers
from torchprotect.data.sources._remote import CachedArchives, ObjectArchives
from torchprotect.data.sources._samples import scan
from torchprotect.data.sources._unpacked import is_gzipped
from torchprotect.data.sources.tar import LocalTarSource, TarSource
from torchprotect.errors import SourceError

_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_USE_BRACES = "is not a pattern of shards: use braces, as in train-{000000..000020}.tar"


def is_pattern(spec: str) -> bool:
    """Return whether this is the name of tar archives."""
    return _name(spec).endswith(_SUFFIXES)


def open_local_tars(pattern: str, index: str | os.PathLike[str] | None, labels: LabelMembers) -> TarSource:
    """Open local archives, without an index with the labels in these members.

    Raises:
        SourceError: some are missing, they cannot be read, or the index is not theirs.
    """
    paths = [Path(name) for name in _expand(pattern)]
    _require_files(pattern, paths)
    if index is None:
        archives = LocalArchives(paths)
        return LocalTarSource(archives, scan(archives, labels))
    if packed := next(filter(is_gzipped, paths), None):
        raise SourceError(f"{packed} is gzipped and unpacked in each run, so an index saves nothing; leave it out")
    archives = LocalArchives([path.absolute() for path in paths])  # an index may be used from another folder
    return LocalTarSource(archives, load_or_scan(index, archives))


def open_remote_tars(
    pattern: str, cache: str | os.PathLike[str] | None, index: str | os.PathLike[str] | None, labels: LabelMembers
) -> TarSource:
    """Open archives behind URLs, without an index with the labels in these members.

    Raises:
        SourceError: some are missing, they cannot be read by parts, or the index is not theirs.
        StoreError: their store cannot be reached or refuses.
    """
    urls = _expand(pattern)
    if packed := [url for url in urls if not _name(url).endswith(".tar")]:
        raise SourceError(
            f"{packed[0]} is gzipped, so its parts cannot be read by offset; unpack it there, or copy it to a local "
            "folder"
        )
    if starred := [url for url in urls if "*" in url]:
        raise SourceError(f"{starred[0]} {_USE_BRACES}")
    archives = ObjectArchives(urls) if cache is None else CachedArchives(urls, ShardCache(cache))
    return TarSource(archives, scan(archives, labels) if index is None else load_or_scan(index, archives))


def _name(spec: str) -> str:
    """Return a path, or a URL without what follows the path on a web server."""
    return urlsplit(spec).path if spec.lower().startswith(("http://", "https://")) else spec


def _expand(pattern: str) -> list[str]:
    from webdataset.shardlists import expand_urls

    names: list[str] = expand_urls(pattern)
    return names


def _require_files(pattern: str, paths: list[Path]) -> None:
    """Check that all archives exist and are regular files."""
    if "*" in pattern and not all(path.exists() for path in paths):
        raise SourceError(f"{pattern} {_USE_BRACES}")
    if special := [path for path in paths if path.exists() and not path.is_file()]:
        raise SourceError(f"{special[0]} is not a regular file; a shard is read by offset")
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise SourceError(
            f"{missing[0]} does not exist ({len(missing)} of {len(paths)} shards of {pattern} are missing)"
        )
