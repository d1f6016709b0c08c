"""A source with replaced labels."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from torchprotect._json import canonical
from torchprotect.data.preparation import Preparation
from torchprotect.data.sources._base import (
    Header,
    Label,
    Preparable,
    Sample,
    Source,
    class_names_of,
    describe_source,
    prepare_source,
    read_samples,
    unprepared,
)
from torchprotect.data.sources._class_numbers import RawLabel, number_labels
from torchprotect.errors import SourceError


class RelabelledSource(Preparable):
    """The images of a source with given labels.

    Args:
        inner: source of the images; its own labels are not used.
        codes: place in ``table`` of each sample's label, or -1 for none.
        table: distinct labels.
        class_names: of the class numbers from 0 up, if they have names.
    """

    def __init__(
        self, inner: Source, codes: Sequence[int], table: Sequence[Label], class_names: tuple[str, ...] | None
    ) -> None:
        self.folders, self.left_out = inner.folders, inner.left_out
        self.class_names, self.description = class_names, describe_source(inner)
        self._inner = inner
        self._codes = np.array(codes, dtype=np.int64)
        self._table = (*table, None)  # so that code -1 is no label

    @property
    def most_classes(self) -> int:
        """One more than the largest class number in the table, which other splits may share."""
        numbers = [
            number
            for label in self._table
            if label is not None
            for number in (label if isinstance(label, tuple) else (label,))
        ]
        return 1 + max(numbers, default=-1)

    def __len__(self) -> int:
        return len(self._inner)

    def __getitem__(self, index: int) -> Sample:
        return self._inner[index]._replace(label=self._label(index))

    def read(self, indices: list[int]) -> Iterator[Sample | SourceError]:
        """Yield the samples at these indices, in their order; an error in place of one that cannot be read."""
        for index, found in zip(indices, read_samples(self._inner, indices), strict=True):
            yield found if isinstance(found, SourceError) else found._replace(label=self._label(index))

    def name(self, index: int) -> str:
        """Return the sample's name within the source."""
        return self._inner.name(index)

    def locate(self, index: int) -> str:
        """Return a location that helps a person find the sample."""
        return self._inner.locate(index)

    def known_labels(self) -> list[Label]:
        """Return all labels."""
        return [self._table[code] for code in self._codes.tolist()]

    @property
    def header(self) -> Callable[[int], Header]:
        """The source's own ``header``, which reads the shape of an image without decoding; missing if it has none."""
        found: Callable[[int], Header] = self._inner.header  # type: ignore[attr-defined]
        return found

    @property
    def digests(self) -> Callable[[], Iterator[bytes | None]]:
        """The source's own ``digests``, which detect equal files; missing if it has none."""
        found: Callable[[], Iterator[bytes | None]] = self._inner.digests  # type: ignore[attr-defined]
        return found

    def prepared(self, preparation: Preparation) -> "RelabelledSource":
        """Return the same source, whose images are prepared."""
        inner = prepare_source(self._inner, preparation) if preparation else unprepared(self._inner) or self._inner
        return RelabelledSource(inner, self._codes.tolist(), self._table[:-1], self.class_names)

    def listing(self) -> Iterator[bytes]:
        """Yield what identifies the source of the images."""
        return self._inner.listing()

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield what changes when one of the images is replaced, then each label, in JSON."""
        yield from self._inner.content(indices)
        for index in indices:
            yield canonical(self._label(index))

    def _label(self, index: int) -> Label:
        return self._table[self._codes[range(len(self))[index]]]


def renumber(source: Source, class_names: tuple[str, ...]) -> RelabelledSource:
    """Return a source with other class numbers: those that the names of its classes have among ``class_names``.

    Args:
        source: that has ``class_names`` and knows its labels in advance.
        class_names: all of its class names, and others.
    """
    own: tuple[str, ...] = class_names_of(source) or ()
    known: list[Label] = source.known_labels()  # type: ignore[attr-defined]
    numbers = {number: class_names.index(name) for number, name in enumerate(own)}
    table: dict[Label, int] = {}
    codes = [-1 if label is None else table.setdefault(label, len(table)) for label in known]
    renamed = [
        tuple(sorted(numbers[each] for each in label)) if isinstance(label, tuple) else numbers[label]
        for label in table
        if label is not None
    ]
    return RelabelledSource(source, codes, renamed, class_names)


def relabel(
    source: Source, found: Iterable[RawLabel | None], class_names: tuple[str, ...] | None, *, text: bool
) -> RelabelledSource:
    """Return a source with the labels that were found for its samples; see :func:`relabel_together`."""
    (relabelled,) = relabel_together([(source, found)], class_names, text=text)
    return relabelled


def relabel_together(
    found: Iterable[tuple[Source, Iterable[RawLabel | None]]], class_names: tuple[str, ...] | None, *, text: bool
) -> list[RelabelledSource]:
    """Return sources with the labels that were found for their samples, numbered over all of them.

    Args:
        found: sources of images, and the label of each sample.
        class_names: that fix the numbers of classes.
        text: whether all labels come from text, where class numbers are written in decimal digits.

    Raises:
        LabelError: numbers and names are mixed, or one is not among ``class_names``.
    """
    distinct: dict[RawLabel, int] = {}
    coded = [
        (source, [-1 if label is None else distinct.setdefault(label, len(distinct)) for label in labels])
        for source, labels in found
    ]
    numbered = number_labels(list(distinct), class_names, text=text)
    return [RelabelledSource(source, codes, numbered.labels, numbered.class_names) for source, codes in coded]
