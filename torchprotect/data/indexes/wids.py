"""The index of ``wids``, which opens WebDataset shards for random access."""

import os
from typing import Any

from torchprotect.data.indexes._shards import open_shards


def wids_index(export: str | os.PathLike[str]) -> dict[str, Any]:
    """Return an index that ``wids.ShardListDataset`` reads as JSON, for random access to an export.

    The index lists the shards by URL or absolute path. ``wids`` compares nothing with the manifest: verify the export
    first.

    Args:
        export: its folder or URL.

    Raises:
        ExportError: it is not a finished export, or holds no images.
        VerificationError: the manifest is malformed.
    """
    shards = open_shards(export)
    listed = [
        {"url": shards.store.path_of(entry["name"]), "nsamples": entry["count"], "filesize": entry["size"]}
        for entry in shards.entries
    ]
    return {"wids_version": 1, "shardlist": listed}
