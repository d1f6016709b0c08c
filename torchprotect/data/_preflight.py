"""What can be said of an export before its first shard is made, without decoding every image."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchprotect.data._job import DisguiseJob, steps
from torchprotect.errors import KeySizeError, SourceError
from torchprotect.keys import BlockKey
from torchprotect.transforms import AESECBDisguise, Disguise, SaltAndPepper

_LOOKED_AT = 300  # images
_MOST_BYTES = 1 << 27  # of these images together
_MOST_UNITS = 500_000
_FEW_REPEATS = 0.1


def check_labels(job: DisguiseJob) -> None:
    """Check the labels that the source knows, one sample for each class.

    Raises:
        LabelError: a label cannot be written; the message says where the sample is.
    """
    if hasattr(job.source, "known_labels"):
        first: dict[int | None, int] = {}
        for index, label in enumerate(job.source.known_labels()):
            first.setdefault(label, index)
        for label, index in first.items():
            job.check_label(label, job.source.locate(index))


def check_shapes(job: DisguiseJob, tasks: list[tuple[int, Any]]) -> None:
    """Check the shapes of the images that are left to do, from their headers, unless a step resizes them.

    Raises:
        KeySizeError: an image does not fit the key; the message says where it is.
        SourceError: a header cannot be read, or the picture would be refused.
    """
    every = steps(job.transform)
    keys: list[BlockKey] = [k for step in every if isinstance(k := getattr(step, "key", None), BlockKey)]
    if not keys or not hasattr(job.source, "shape") or not all(isinstance(step, Disguise) for step in every):
        return
    fitting = set[tuple[int, int, int]]()
    for _, indices in tasks:
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


def make_notes(job: DisguiseJob, key_given: bool) -> tuple[str, ...]:
    """Return what the owner of the images should know, in whole sentences."""
    found = (_note_left_out(job), None if key_given else _note_plain_labels(job), _note_labels(job), _note_repeats(job))
    return tuple(note for note in found if note is not None)


def _note_left_out(job: DisguiseJob) -> str | None:
    left_out = job.source.left_out
    return (
        f"left out of the source: {', '.join(f'{n:,} x {what}' for what, n in left_out.items())}" if left_out else None
    )


def _note_plain_labels(job: DisguiseJob) -> str | None:
    """Say that labels stay: a transform does not know the label map of the bundle that it was made from."""
    if not job.labelled:
        return None
    return "no key was given, so class numbers are written as they are; to rename them give the bundle as key="


def _note_labels(job: DisguiseJob) -> str | None:
    if not hasattr(job.source, "known_labels"):
        return None
    return note_classes(job, len({label for label in job.source.known_labels() if label is not None}))


def note_classes(job: DisguiseJob, used: int) -> str | None:
    """Say that the key renames another number of classes than there are."""
    if job.labels is None or used == job.labels.classes:
        return None
    return (
        f"the key renames {job.labels.classes} classes, the source has {used}: a model trained on the export needs "
        f"{job.labels.classes} outputs"
    )


def _note_repeats(job: DisguiseJob) -> str | None:
    """Say when AES leaves a network next to nothing: all it keeps is which units are equal."""
    every = [step for step in steps(job.transform) if not isinstance(step, SaltAndPepper)]
    if len(every) != 1 or not isinstance(every[0], AESECBDisguise):
        return None
    images = _evenly_spaced(job)
    units = _units(images, every[0].key.block_size, every[0].unit_pixels) if len(images) else np.empty(0)
    if not len(units):
        return None
    repeated = _share_of_repeats(units)
    if repeated >= _FEW_REPEATS:
        return None
    return (
        f"in {len(images)} images looked at, {repeated:.1%} of the units of {every[0].unit_pixels} pixels occur twice "
        "at their position. AES keeps nothing else, so a network will hardly learn from this export; photographs "
        "stay usable under RMT or a block permutation"
    )


def _evenly_spaced(job: DisguiseJob) -> list[Tensor]:
    """Return some images of the source that have the size of the first of them."""
    count, found = len(job.source), list[Tensor]()
    for place in range(min(_LOOKED_AT, count)):
        try:
            image = job.source[place * count // min(_LOOKED_AT, count)].image
        except SourceError:
            continue
        if image.dtype == torch.uint8 and (not found or image.shape == found[0].shape):
            found.append(image)
        if len(found) * image.numel() > _MOST_BYTES:
            break
    return found


def _units(images: list[Tensor], block: tuple[int, int], pixels: int) -> np.ndarray:
    """Return the units of images ``[C, H, W]``, each with the number of its block, as rows of bytes.

    Of large images only every so many blocks are taken, from all images alike.
    """
    (height, width), (h, w) = images[0].shape[-2:], block
    if height % h or width % w:
        return np.empty(0)
    blocks = torch.stack(images).unflatten(-1, (width // w, w)).unflatten(-3, (height // h, h)).movedim(-2, -3)
    units = blocks.flatten(-2).flatten(-3, -2).unflatten(-1, (-1, pixels))  # [N, C, positions, units, pixels]
    units = units[:, :, :: -(-units.numel() // (_MOST_UNITS * pixels))]
    position = torch.arange(units.shape[2], dtype=torch.int32).view(torch.uint8).reshape(-1, 1, 4)
    named = torch.cat([units, position.expand(*units.shape[:-1], 4)], dim=-1)
    return named.reshape(-1, pixels + 4).numpy()


def _share_of_repeats(units: np.ndarray) -> float:
    rows = np.ascontiguousarray(units).view(np.dtype((np.void, units.shape[1])))
    counts = np.unique(rows, return_counts=True)[1]
    return float(counts[counts > 1].sum() / counts.sum())
