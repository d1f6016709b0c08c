"""Reading the shards of an export with the names of their samples."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchprotect.data import manifest as documents
from torchprotect.data._stored import read_shard
from torchprotect.errors import ExportError


class Written(NamedTuple):
    """Samples as they were written: images ``[N, C, H, W]``, ids, labels, and how many came from each shard."""

    images: Tensor
    ids: list[str]
    labels: Tensor | None
    per_shard: list[int]


def read_written(folder: Path, manifest: dict[str, Any], limit: int) -> Written:
    """Read the first ``limit`` samples of an export.

    Raises:
        ExportError: the images have several sizes, or there are none.
        VerificationError: a shard is damaged.
    """
    images: list[Tensor] = []
    labels: list[int | None] = []
    ids: list[str] = []
    per_shard: list[int] = []
    for entry in manifest["shards"]:
        start = len(ids)
        for identity, image, label in read_shard(folder / entry["name"], entry, documents.image_size(manifest)):
            if len(ids) == limit:
                break
            ids.append(identity)
            images.append(image)
            labels.append(label)
        per_shard.append(len(ids) - start)
        if len(ids) == limit:
            break
    if not images or len({image.shape for image in images}) > 1:
        raise ExportError(f"an audit needs images of one size; {folder} holds several, or none")
    known = None if None in labels else torch.tensor(labels)
    return Written(torch.stack(images), ids, known, per_shard)
