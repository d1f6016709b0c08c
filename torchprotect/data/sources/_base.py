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
"""A class number; a tuple of several in ascending order, possibly empty; or ``None`` for no label."""


class Sample(NamedTuple):
    """One plain image ``[C, H, W]`` and its class number, if it has one.

    A source may instead give every sample a tuple of class numbers in ascending order, which may be empty.
    """

    image: Tensor
    label: Label


class Header(NamedTuple):
    """Facts about an image that are known without decoding it.

    Attributes:
        shape: the shape it is read with, after the source's preparation.
        turned: whether its EXIF orientation is ignored, so that it appears sideways or upside down.
    """

    shape: Shape
    turned: bool = False


class Source(Protocol):
    """Base class of sources: plain images read by index. A source can be pickled, for worker processes.

    A source may also have:

    * ``known_labels() -> list[Label]``, all labels, and ``header(index) -> Header``, both without decoding an image. An
      export then finds samples that do not fit before it writes a shard.
    * ``prepared(preparation) -> Source``: the same source with images prepared as they are decoded.
    * ``class_names: tuple[str, ...] | None``, names of the class numbers from 0 up, and ``description: str``. An export
      keeps them for its owner.
    * ``digests() -> Iterator[bytes | None]``, equal for equal files; it finds images that are in two splits.
    * ``read(indices) -> Iterator[Sample | SourceError]``, which yields many samples in the order of their indices, and
      an error in place of a sample that cannot be read. A remote source can then fetch them together. An error that is
      raised instead of yielded, as by a store that cannot be reached, stops an export even if it skips images.

    Attributes:
        folders: folders, as paths or URLs, that are searched or read as a whole; an export refuses to write into them.
        left_out: kinds of files that were found but are not part of the source, and the number of each.
    """

    folders: tuple[Path | str, ...]
    left_out: Counter[str]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample; raise :class:`SourceError` with its name if it cannot be read."""

    def name(self, index: int) -> str:
        """Return the sample's name within the source; it is not written into the export."""

    def locate(self, index: int) -> str:
        """Return a location by which a person finds the sample: its name and the file that holds it."""

    def listing(self) -> Iterator[bytes]:
        """Yield the names of the samples, which identify this source regardless of the content of its files."""

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield values that change if one of these samples is replaced, as far as they are known without decoding.

        Raises:
            SourceError: the source itself has changed since it was opened, so an export of it must stop.
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
    """Return the same source with pictures as stored; ``None`` for a source of another package."""
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
        raise SourceError(f"sample {name} is not an image [C, H, W] on the CPU")
    return image
