"""Checks and notes before the first shard of an export is made, without decoding every image."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from torchprotect.data._job import DisguiseJob
from torchprotect.data.sources import read_samples
from torchprotect.errors import KeySizeError, SourceError
from torchprotect.keys import BlockKey

_MOST_IMAGES = 300
_MOST_BYTES = 1 << 27  # of their pixels


def check_labels(job: DisguiseJob) -> None:
    """Check the labels that the source knows in advance, one sample for each class.

    Raises:
        LabelError: a label cannot be written; the message says where the sample is.
    """
    if hasattr(job.source, "known_labels"):
        first: dict[int | None, int] = {}
        for index, label in enumerate(job.source.known_labels()):
            first.setdefault(label, index)
        for label, index in first.items():
            job.check_label(label, job.source.locate(index))


def check_shapes(job: DisguiseJob, shards: list[Any]) -> None:
    """Check the shapes of the images that are left to do, from their headers, unless a step may resize them.

    Raises:
        KeySizeError: an image does not fit the key; the message says where it is.
        SourceError: a header cannot be read, or the picture would be refused.
    """
    keys = job.pipeline.size_keys
    if not keys or not hasattr(job.source, "shape"):
        return
    fitting = set[tuple[int, int, int]]()
    for indices in shards:
        for index in indices.tolist():
            if (shape := job.source.shape(index)) not in fitting:
                _require_fit(keys, shape, job.source.locate(index))
                fitting.add(shape)


def _require_fit(keys: list[BlockKey], shape: tuple[int, int, int], where: str) -> None:
    for key in keys:
        try:
            key.require_fit(torch.empty(shape, device="meta"))
        except KeySizeError as error:
            raise KeySizeError(f"sample {where}: {error}") from error


def make_notes(job: DisguiseJob, *, key_given: bool, is_part: bool) -> tuple[str, ...]:
    """Return notes for the owner of the images, in whole sentences; those of a part take no reading of images."""
    found = (
        _note_left_out(job),
        None if key_given else _note_plain_labels(job),
        _note_labels(job),
        None if is_part else job.pipeline.note_on(_sample_images(job)),
    )
    return tuple(note for note in found if note is not None)


def _note_left_out(job: DisguiseJob) -> str | None:
    left_out = job.source.left_out
    return (
        f"left out of the source: {', '.join(f'{n:,} x {what}' for what, n in left_out.items())}" if left_out else None
    )


def _note_plain_labels(job: DisguiseJob) -> str | None:
    """Note that labels stay plain: a transform does not know the label map of the bundle that it was made from."""
    if not job.labelled:
        return None
    return "no key was given, so class numbers are written as they are; to rename them give the bundle as key="


def _note_labels(job: DisguiseJob) -> str | None:
    if not hasattr(job.source, "known_labels"):
        return None
    return note_classes(job, len({label for label in job.source.known_labels() if label is not None}))


def note_classes(job: DisguiseJob, used: int) -> str | None:
    """Note that the key renames another number of classes than there are."""
    if job.labels is None or used == job.labels.classes:
        return None
    return (
        f"the key renames {job.labels.classes} classes, the source has {used}: a model trained on the export needs "
        f"{job.labels.classes} outputs"
    )


def _sample_images(job: DisguiseJob) -> Iterator[Tensor]:
    """Yield evenly spaced 8-bit images of the source that have the size of the first of them."""
    total, shape, size = len(job.source), None, 0
    count = min(_MOST_IMAGES, total)
    for sample in read_samples(job.source, [position * total // count for position in range(count)]):
        if isinstance(sample, SourceError):
            continue
        image = sample.image
        if image.dtype == torch.uint8 and shape in (None, image.shape):
            yield image
            shape, size = image.shape, size + image.nbytes
        if size > _MOST_BYTES:
            return
