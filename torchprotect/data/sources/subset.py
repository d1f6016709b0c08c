"""Some samples of a source."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from torch.utils.data import Subset

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
from torchprotect.errors import SourceError

T = TypeVar("T")


class SubsetSource(Preparable):
    """Samples of a source, with the names, files and labels that they have there.

    Args:
        inner: source of the samples.
        places: index in ``inner`` of each sample.

    Raises:
        SourceError: ``inner`` has no sample at one of them.
    """

    def __init__(self, inner: Source, places: list[int]) -> None:
        self.folders, self.left_out = inner.folders, inner.left_out
        self.class_names, self.description = class_names_of(inner), f"part of {describe_source(inner)}"
        try:
            self._places = [range(len(inner))[place] for place in places]
        except IndexError:
            wrong = next(place for place in places if not -len(inner) <= place < len(inner))
            raise SourceError(f"the subset has the index {wrong}, but the source has {len(inner)} samples") from None
        self._inner = inner

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Sample:
        return self._inner[self._places[index]]

    def read(self, indices: list[int]) -> Iterator[Sample | SourceError]:
        """Yield the samples at these indices, in their order; an error in place of one that cannot be read."""
        return read_samples(self._inner, [self._places[index] for index in indices])

    def name(self, index: int) -> str:
        """Return the sample's name within the whole source."""
        return self._inner.name(self._places[index])

    def locate(self, index: int) -> str:
        """Return a location that helps a person find the sample."""
        return self._inner.locate(self._places[index])

    @property
    def known_labels(self) -> Callable[[], list[Label]]:
        """Returns all labels; missing if the whole source does not know them in advance."""
        known: Callable[[], list[Label]] = self._inner.known_labels  # type: ignore[attr-defined]

        return lambda: self._select(known())

    @property
    def header(self) -> Callable[[int], Header]:
        """Reads the shape of an image without decoding; missing if the whole source cannot."""
        header: Callable[[int], Header] = self._inner.header  # type: ignore[attr-defined]
        return lambda index: header(self._places[index])

    @property
    def digests(self) -> Callable[[], Iterator[bytes | None]]:
        """Yields digests of the samples' files; missing if the whole source has none."""
        digests: Callable[[], Iterator[bytes | None]] = self._inner.digests  # type: ignore[attr-defined]
        return lambda: iter(self._select(list(digests())))

    def prepared(self, preparation: Preparation) -> "SubsetSource":
        """Return the same samples, prepared."""
        inner = prepare_source(self._inner, preparation) if preparation else unprepared(self._inner) or self._inner
        return SubsetSource(inner, self._places)

    def listing(self) -> Iterator[bytes]:
        """Yield the name of each sample, as the listing of a whole source need not have one entry for each."""
        return (self.name(index).encode(errors="surrogateescape") for index in range(len(self)))

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield what changes when one of these samples is replaced."""
        return self._inner.content([self._places[index] for index in indices])

    def _select(self, of_all: Sequence[T]) -> list[T]:
        return [of_all[place] for place in self._places]


def flatten(dataset: Any) -> tuple[Any, list[int] | None]:
    """Return the data set that subsets of subsets select from, and the places in it; ``None`` for all of them.

    A class derived from ``Subset`` counts as a data set of its own, as it may return other samples.
    """
    places = None
    while type(dataset) is Subset:
        indices = [int(index) for index in dataset.indices]
        places = indices if places is None else [indices[place] for place in places]
        dataset = dataset.dataset
    return dataset, places
