"""The shards of a finished export."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from torchprotect.data import manifest as documents
from torchprotect.data.store import Store, open_store
from torchprotect.errors import ExportError


class Shards(NamedTuple):
    """A finished export.

    Attributes:
        store: store of the export; it names files by URL or absolute path.
        manifest: manifest of the export.
        entries: those in the manifest of shards that hold samples; at least one.
    """

    store: Store
    manifest: dict[str, Any]
    entries: list[dict[str, Any]]


def open_shards(export: str | os.PathLike[str]) -> Shards:
    """Read the manifest of an export; the shards are not read.

    Raises:
        ExportError: it is not a finished export, or holds no images.
        VerificationError: the manifest is malformed.
    """
    store = open_store(export)
    if store.local:
        store = open_store(Path(store.location).resolve())
    manifest = documents.read_manifest(store)
    entries = [entry for entry in manifest["shards"] if entry["count"]]
    if not entries:
        raise ExportError(f"{store.location} holds no images, so there is nothing to list")
    return Shards(store, manifest, entries)
