"""Images of an export in memory, with their ids and labels; and the encoding of one image."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchprotect.data import manifest as documents
from torchprotect.data._encode import encode, extension
from torchprotect.data._labels import single_labels
from torchprotect.data._stored import read_shard
from torchprotect.data.sources import Label
from torchprotect.data.store import Store
from torchprotect.errors import ExportError


class ExportedImages(NamedTuple):
    """Samples of an export, in the order in which they were written.

    Attributes:
        images: disguised, ``[N, C, H, W]``.
        ids: 32 hex digits each.
        labels: class numbers as written, int64 ``[N]``; ``None`` unless every sample has one, and one alone.
        per_shard: number of samples from each shard.
    """

    images: Tensor
    ids: list[str]
    labels: Tensor | None
    per_shard: list[int]


def encode_image(image: Tensor) -> tuple[str, bytes]:
    """Return the extension and the bytes that an image ``[C, H, W]`` is stored under in an export."""
    return extension(image), next(encode(image[None]))


def read_images(store: Store, manifest: dict[str, Any], limit: int) -> ExportedImages:
    """Read the first ``limit`` samples of a finished export. Because of the keyed order, they are a fair sample.

    Args:
        store: store of the export.
        manifest: its manifest.
        limit: largest number of samples, at least 1.

    Raises:
        ExportError: the images have several sizes, or there are none.
        VerificationError: a shard is damaged.
    """
    images: list[Tensor] = []
    labels: list[Label] = []
    ids: list[str] = []
    per_shard: list[int] = []
    for entry in manifest["shards"]:
        start = len(ids)
        for identity, image, label in read_shard(
            store, entry, documents.image_size(manifest), classes=manifest.get("classes")
        ):
            if len(ids) == limit:
                break
            ids.append(identity)
            images.append(image)
            labels.append(label)
        per_shard.append(len(ids) - start)
        if len(ids) == limit:
            break
    if not images or len({image.shape for image in images}) > 1:
        raise ExportError(f"images of one size are needed; {store.location} holds several sizes, or no images")
    return ExportedImages(torch.stack(images), ids, single_labels(labels), per_shard)
