"""The images that settings are compared on."""

import hashlib
from collections import Counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.audit.evidence.evidence import tensor_digest
from torchprotect.data import Preparation, open_source
from torchprotect.data.sources import as_source, prepare_source, read_samples
from torchprotect.errors import InputRangeError, InputTypeError, LabelError, SourceError

LEAST_IMAGES = 100
"""Half of the images are attacked; with fewer than 50 of them, intervals span over half of the scale."""


class Images(NamedTuple):
    """Plain images, uint8 ``[N, C, H, W]``, their classes, int64 ``[N]``, and how many there are in the source."""

    plain: Tensor
    labels: Tensor
    in_source: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.plain.shape[-2], self.plain.shape[-1]

    @property
    def classes(self) -> int:
        """One more than the largest class number."""
        return int(self.labels.max()) + 1

    @property
    def digest(self) -> str:
        """SHA-256 of images and labels, 64 hex digits."""
        return hashlib.sha256(f"{tensor_digest(self.plain)} {tensor_digest(self.labels)}".encode()).hexdigest()


def read_images(source: Any, *, labels_from: str | None, prepare: Preparation | None, limit: int, seed: int) -> Images:
    """Read a drawn sample of a source.

    Args:
        source: by name, or opened; or a map-style data set of images and labels.
        labels_from: where labels of a source given by name come from.
        prepare: what is done to pictures before the disguise.
        limit: images to read at most.
        seed: seed of the sample.

    Raises:
        SourceError: an image cannot be read, or images have several shapes or are not of 8 bits.
        LabelError: images have no label, or several; or there is one class.
        InputRangeError: there are too few images.
    """
    require_int("limit", limit, at_least=LEAST_IMAGES)
    opened = open_source(source, labels_from=labels_from) if _is_name(source) else as_source(source)
    opened = prepare_source(opened, prepare or Preparation())
    if len(opened) < LEAST_IMAGES:
        raise InputRangeError(
            f"at least {LEAST_IMAGES} images are needed to compare settings, but the source has {len(opened):,}"
        )
    drawn = torch.randperm(len(opened), generator=torch.Generator().manual_seed(seed))[:limit]
    images, labels = list[Tensor](), list[int]()
    for sample in read_samples(opened, drawn.sort().values.tolist()):
        if isinstance(sample, SourceError):
            raise sample
        if not isinstance(sample.label, int):
            raise LabelError(_NO_LABEL if sample.label is None else _SEVERAL_LABELS)
        if sample.image.dtype != torch.uint8:
            raise InputTypeError(f"images must be 8-bit (uint8), got {sample.image.dtype}: only such are compared")
        images.append(sample.image)
        labels.append(sample.label)
    _require_one_shape(images)
    known = torch.tensor(labels)
    if len(known.unique()) < 2:
        raise LabelError(
            "all images are of one class: what a network keeps is how well it tells classes apart. Give a source with "
            "two classes or more"
        )
    return Images(torch.stack(images), known, len(opened))


_NO_LABEL = (
    "the images have no labels: what a network keeps is how well it learns them. Say where they are with labels_from "
    "(--labels-from)"
)
_SEVERAL_LABELS = "images with several labels cannot be compared: the networks here learn one class an image"


def _is_name(source: Any) -> bool:
    return isinstance(source, str) or hasattr(source, "__fspath__")


def _require_one_shape(images: list[Tensor]) -> None:
    shapes = Counter(tuple(image.shape) for image in images)
    if len(shapes) > 1:
        told = ", ".join(f"{count:,} of {' x '.join(map(str, shape))}" for shape, count in shapes.most_common(3))
        raise SourceError(
            f"the images have {len(shapes)} shapes ({told}): prepare them as for an export, for example with "
            "prepare=Preparation(mode='rgb', resize=(64, 64)) (--mode rgb --resize 64x64)"
        )
