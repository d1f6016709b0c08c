"""The interface of a source of plain images."""

import copy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

import torch
from torch import Tensor

from torchprotect._inputs import type_name
from torchprotect.data.preparation import Preparation, Shape
from torchprotect.errors import InputTypeError, SourceError

Label: TypeAlias = int | tuple[int, ...] | None
"""A class number; several of them, ascending and perhaps none; or ``None`` for no label."""


class Sample(NamedTuple):
    """One plain image ``[C, H, W]`` and its class number, if it has one.

    A source may instead give each of its samples a tuple of class numbers, ascending and perhaps none.
    """

    image: Tensor
    label: Label


class Header(NamedTuple):
    """Facts about an image that are known without decoding it.

    Attributes:
        shape: that it is read with, after the source's preparation.
        turned: whether its EXIF orientation is ignored, so that it lies on its side or stands on its head.
    """

    shape: Shape
    turned: bool = False


class Source(Protocol):
    """Plain images read by index. A source can be pickled, for worker processes.

    A source may also have:

    * ``known_labels() -> list[Label]``, all labels, and ``header(index) -> Header``, each without decoding an
      image: an export then finds samples that do not fit before it writes a shard.
    * ``prepared(preparation) -> Source``: the same source, whose images are prepared as they are decoded.
    * ``class_names: tuple[str, ...] | None``, of the class numbers from 0 up, and ``description: str``: an export keeps
      them for its owner.
    * ``digests() -> Iterator[bytes | None]``, which tells equal files: images that are in two splits are found by it.
    * ``read(indices) -> Iterator[Sample | SourceError]``, which yields many samples in the order of their indices, an
      error in place of one that cannot be read: a source that is far away then fetches them together. An error that is
      raised instead, as by a store that cannot be reached, stops an export even if it skips images.

    Attributes:
        folders: folders, as paths or URLs, that are searched or read as a whole; an export refuses to write in there.
        left_out: kinds of files that were found but are not part of the source, and how many of each.
    """

    folders: tuple[Path | str, ...]
    left_out: Counter[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; raise :class:`SourceError` with its name if it cannot be read."""

    def name(self, index: int) -> str:
        """Return the sample's name within the source; it is not written into the export."""

    def locate(self, index: int) -> str:
        """Return a location that helps a person find the sample: its name, and the file that holds it."""

    def listing(self) -> Iterator[bytes]:
        """Yield what identifies this source, whatever its files contain: the names of the samples."""

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield values that change when one of these samples is replaced, as far as they are known without decoding.

        Raises:
            SourceError: the source itself changed since it was opened, so that an export of it must stop.
        """


def read_samples(source: Source, indices: list[int]) -> Iterator[Sample | SourceError]:
    """Yield the samples at these indices, in their order; an error in place of one that cannot be read."""
    if hasattr(source, "read"):
        yield from source.read(indices)
        return
    for index in indices:
        try:
            sample = source[index]
        except SourceError as error:
            yield error
        else:
            yield sample


SelfSource = TypeVar("SelfSource", bound="Preparable")


class Preparable:
    """Base of sources that prepare pictures as they decode them.

    Attributes:
        preparation: steps between decoding a picture and handing it out.
    """

    preparation = Preparation()

    def prepared(self: SelfSource, preparation: Preparation) -> SelfSource:
        """Return the same source, whose pictures are prepared."""
        made = copy.copy(self)
        made.preparation = preparation
        return made


def prepare_source(source: Source, preparation: Preparation) -> Source:
    """Return the same source, whose images are prepared.

    Raises:
        InputTypeError: it prepares nothing.
    """
    if not preparation:
        return source
    if not hasattr(source, "prepared"):
        raise InputTypeError(f"{type_name(source)} takes no preparation: give it a method prepared(preparation)")
    made: Source = source.prepared(preparation)
    return made


def unprepared(source: Source) -> Source | None:
    """Return the same source, whose pictures are as they are stored; ``None`` of a source that is not one of ours."""
    return source.prepared(Preparation()) if isinstance(source, Preparable) else None


def describe_source(source: Source) -> str:
    """Return what a source says of itself, or its type."""
    return str(getattr(source, "description", type_name(source)))


def class_names_of(source: Source) -> tuple[str, ...] | None:
    """Return the names of the classes from 0 up, if the source knows them."""
    names: tuple[str, ...] | None = getattr(source, "class_names", None)
    return names


def require_image(image: Tensor, name: str) -> Tensor:
    """Check that a sample's image is a tensor ``[C, H, W]``."""
    if type(image) is not Tensor or image.ndim != 3 or image.device != torch.device("cpu"):
        raise SourceError(f"sample {name} is no image [C, H, W] on the CPU")
    return image
