"""Reading the shards of an export with the names of their samples."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect.data import manifest
from torchprotect.errors import ExportError


class Written(NamedTuple):
    """Samples as they were written: images ``[N, C, H, W]``, ids, labels, and how many came from each shard."""

    images: Tensor
    ids: list[str]
    labels: Tensor | None
    per_shard: list[int]


def read_written(folder: Path, limit: int) -> Written:
    """Read the first ``limit`` samples of an export.

    Raises:
        ExportError: a sample is no image with at most one class number, or the images have several sizes.
    """
    path = folder / manifest.MANIFEST
    entries = manifest.shard_entries(manifest.read_document(path, manifest.MANIFEST_FORMAT), path)
    images: list[Tensor] = []
    labels: list[int | None] = []
    ids: list[str] = []
    per_shard: list[int] = []
    for entry in entries:
        start = len(ids)
        for identity, image, label in _samples(folder / entry["name"]):
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


def _samples(path: Path) -> Iterator[tuple[str, Tensor, int | None]]:
    """Yield id, image and label of each sample in a shard."""
    current: tuple[str, Tensor] | None = None
    label: int | None = None
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            identity, _, kind = member.name.partition(".")
            file = archive.extractfile(member)
            content = b"" if file is None else file.read()
            if kind == "cls" and current is not None and current[0] == identity:
                label = _class_number(content, f"{member.name} in {path}")
                continue
            if current is not None:
                yield *current, label
            current, label = (identity, _decode(content, kind, f"{member.name} in {path}")), None
    if current is not None:
        yield *current, label


def _class_number(content: bytes, name: str) -> int:
    if not content.isdigit() or len(content) > 18:  # int64
        raise ExportError(f"{name} is no class number")
    return int(content)


def _decode(content: bytes, kind: str, name: str) -> Tensor:
    try:
        if kind == "png":
            return pil_to_tensor(PIL.Image.open(io.BytesIO(content), formats=["PNG"]))
        if kind == "npy":
            return torch.from_numpy(np.lib.format.read_array(io.BytesIO(content), allow_pickle=False))
    except (ValueError, OSError) as error:
        raise ExportError(f"cannot read {name}: {error}") from error
    raise ExportError(f"{name} is not what an export holds: one png or npy and its cls for each sample")
