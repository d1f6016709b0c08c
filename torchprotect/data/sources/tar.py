"""WebDataset shards, indexed once and read by offset."""

import copy
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from torchprotect.data.sources._archives import Archives, LocalArchives, Row
from torchprotect.data.sources._base import Header, Preparable, Sample
from torchprotect.data.sources._pictures import decode, decode_header
from torchprotect.data.sources._samples import TarSamples
from torchprotect.errors import SourceError

SelfSource = TypeVar("SelfSource", bound="TarSource")


class TarSource(Preparable):
    """Samples ``KEY.png`` (or another image format) with ``KEY.cls`` in tar archives.

    As in webdataset, neighbours whose names are equal up to the first dot are one sample. Several archives in one file
    (``cat a.tar b.tar``) and hard links inside an archive are followed; what cannot be followed is refused. Other
    members of a sample, and groups without image and label, are left out and counted.

    Args:
        archives: that hold the samples.
        samples: where they are in there.
    """

    def __init__(self, archives: Archives, samples: TarSamples) -> None:
        self.folders: tuple[Path | str, ...] = ()
        self.left_out: Counter[str] = samples.left_out
        first, more = archives.names[0].rpartition("/")[2], len(archives.names) - 1
        self.description = f"tar archives {first} and {more} more" if more else f"tar archive {first}"
        self._archives, self._keys, self._rows = archives, samples.keys, samples.rows

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Sample:
        found = next(self.read([index]))
        if isinstance(found, SourceError):
            raise found
        return found

    def read(self, indices: list[int]) -> Iterator[Sample | SourceError]:
        """Yield the samples at these indices, in their order; an error in place of one that cannot be read."""
        rows = [self._row(index) for index in indices]
        for index, row, content in zip(indices, rows, self._archives.read(rows), strict=True):
            yield self._to_sample(self.locate(index), row, content)

    def name(self, index: int) -> str:
        """Return the sample's key, in webdataset's sense."""
        return self._keys[index]

    def locate(self, index: int) -> str:
        """Return the sample's key and the archive it is in."""
        return f"{self._keys[index]} in {self._archives.names[self._row(index).archive]}"

    def known_labels(self) -> list[int | None]:
        """Return all labels without reading an image."""
        return [None if label < 0 else label for label in self._rows[:, -1].tolist()]

    def unlabelled(self: SelfSource) -> SelfSource:
        """Return the same images without labels."""
        made = copy.copy(self)
        made._rows = self._rows.copy()
        made._rows[:, -1] = -1
        return made

    def listing(self) -> Iterator[bytes]:
        """Yield the key of each sample."""
        return iter(self._keys)

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield a digest of each image's file and its label; or what the store says of an archive, and the place in it.

        Raises:
            SourceError: an archive in a bucket is not the one that was indexed.
        """
        return self._archives.content([self._row(index) for index in indices])

    def _row(self, index: int) -> Row:
        return Row(*self._rows[index].tolist())

    def _to_sample(self, name: str, row: Row, content: bytes | OSError) -> Sample | SourceError:
        if isinstance(content, OSError):
            error = SourceError(f"cannot read image {name}: {content.strerror or content}")
            error.__cause__ = content
            return error
        try:
            return Sample(decode(content, name, self.preparation), None if row.label < 0 else row.label)
        except SourceError as error:
            return error


class LocalTarSource(TarSource):
    """Samples in local tar files, whose headers are near enough to be looked at one by one."""

    def __init__(self, archives: LocalArchives, samples: TarSamples) -> None:
        super().__init__(archives, samples)
        self._local = archives

    def digests(self) -> Iterator[bytes | None]:
        """Yield a digest of each image's file, ``None`` where it cannot be read."""
        for content in self._local.read([self._row(index) for index in range(len(self))]):
            yield None if isinstance(content, OSError) else hashlib.sha256(content).digest()[:16]

    def header(self, index: int) -> Header:
        """Return the shape of an image from its header."""
        return decode_header(self._local.window(self._row(index)), self.locate(index), self.preparation)
