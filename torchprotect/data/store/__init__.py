"""Storage: a local folder, or objects below any URL that fsspec knows, behind one interface."""

import os
from pathlib import Path

from torchprotect.data.store._base import Entry, Store, Upload
from torchprotect.data.store._urls import is_url, lies_in, normalise_url
from torchprotect.data.store.folder import FolderStore
from torchprotect.data.store.sealed import SUFFIX, SealedStore

__all__ = [
    "SUFFIX",
    "Entry",
    "SealedStore",
    "Store",
    "Upload",
    "is_url",
    "lies_in",
    "normalise_url",
    "open_parent",
    "open_store",
]


def open_store(location: str | os.PathLike[str]) -> Store:
    """Open a folder or the objects below a URL; nothing is read or made yet.

    Args:
        location: path of a folder; or a URL such as ``s3://bucket/prefix``, ``gs://``, ``az://`` or ``memory://``, and
            for reading ``hf://`` and ``https://``. Credentials and endpoints come from the environment or from
            fsspec's configuration files, never from the URL.

    Raises:
        StoreError: the URL has credentials in it, its scheme is unknown, or a package for it is not installed.
    """
    if not is_url(location):
        return FolderStore(Path(location))
    url = normalise_url(os.fspath(location))
    if url.startswith("file://"):
        return FolderStore(Path(url.removeprefix("file://")))
    from torchprotect.data.store.objects import ObjectStore

    return ObjectStore(url)


def open_parent(location: str | os.PathLike[str]) -> tuple[Store, str]:
    """Return the store that holds a file or object, and its name in there."""
    folder, _, name = os.fspath(location).rpartition("/")
    if not is_url(location):
        path = Path(location)
        return FolderStore(path.parent), path.name
    return open_store(folder), name
