"""Access to the bytes of tar archives: an interface, and local files."""

import hashlib
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, cast

from torchprotect._files import open_regular
from torchprotect.data.sources._label_members import LabelMembers
from torchprotect.data.sources._tar_index import ImageMember, index_archives
from torchprotect.data.sources._unpacked import Unpacked, is_gzipped
from torchprotect.data.store import Entry

_OPEN_FILES = 64


class Row(NamedTuple):
    """Location of a sample: number of the archive, the image's offset and size, a number for the label or -1."""

    archive: int
    offset: int
    size: int
    label: int


class Archives(Protocol):
    """Tar archives, by number.

    Attributes:
        names: their paths or URLs.
        entries: size of each, and a tag that changes when it is written, as they were when they were opened.
    """

    names: list[str]
    entries: list[Entry]

    def scan(self, number: int, left_out: Counter[str], labels: LabelMembers) -> Iterator[tuple[str, ImageMember]]:
        """Yield key and image of each sample of an archive; count members that are not used."""

    def read(self, rows: list[Row]) -> Iterator[bytes | OSError]:
        """Yield the content of each image's file, in the order asked for, an error in place of one that is lost."""

    def content(self, rows: list[Row]) -> Iterator[bytes]:
        """Yield values that change when one of these images is replaced."""


class LocalArchives:
    """Local tar files. Those that are gzipped are unpacked when they are opened."""

    def __init__(self, paths: list[Path]) -> None:
        self.names = [str(path) for path in paths]
        self.entries = [_entry(path) for path in paths]
        self._paths, self._handles = paths, Handles()
        self._unpacked = Unpacked(paths) if any(map(is_gzipped, paths)) else None

    def scan(self, number: int, left_out: Counter[str], labels: LabelMembers) -> Iterator[tuple[str, ImageMember]]:
        """Yield key and image of each sample of an archive."""
        if (unpacked := self._unpacked_part(number)) is not None:
            with unpacked.reopen() as file:
                yield from index_archives(file, *unpacked.bounds[number], self.names[number], left_out, labels)
        else:
            yield from scan_file(self._paths[number], self.names[number], left_out, labels)

    def read(self, rows: list[Row]) -> Iterator[bytes | OSError]:
        """Yield the content of each image's file."""
        for row in rows:
            try:
                yield self._read(row)
            except OSError as error:
                yield error

    def content(self, rows: list[Row]) -> Iterator[bytes]:
        """Yield a digest of each image's file, and its label."""
        for row, body in zip(rows, self.read(rows), strict=True):
            label = None if row.label < 0 else row.label
            yield b"missing" if isinstance(body, OSError) else hashlib.sha256(body).digest() + str(label).encode()

    def window(self, row: Row) -> BinaryIO:
        """Return an image's file as a file of its own."""
        return cast(BinaryIO, io.BufferedReader(_Window(self._descriptor(row.archive), row.offset, row.size)))

    def _read(self, row: Row) -> bytes:
        content = os.pread(self._descriptor(row.archive), row.size, row.offset)
        if len(content) < row.size:
            raise OSError(f"{self.names[row.archive]} has become shorter since it was opened")
        return content

    def _descriptor(self, number: int) -> int:
        unpacked = self._unpacked_part(number)
        return self._handles.open(self._paths[number]) if unpacked is None else unpacked.descriptor

    def _unpacked_part(self, number: int) -> Unpacked | None:
        return self._unpacked if self._unpacked is not None and number in self._unpacked.bounds else None


class Handles:
    """The last few opened files. They are left out when this is pickled."""

    def __init__(self) -> None:
        self.opened: dict[Path, int] = {}

    def open(self, path: Path) -> int:
        """Return a descriptor to read a file with."""
        if path not in self.opened:
            if len(self.opened) >= _OPEN_FILES:
                os.close(self.opened.pop(next(iter(self.opened))))
            self.opened[path] = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        return self.opened[path]

    def __reduce__(self) -> tuple[Any, ...]:
        return Handles, ()

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # bound early, because the names of modules are gone while the interpreter exits
        for descriptor in self.opened.values():
            close(descriptor)


def scan_file(path: Path, name: str, left_out: Counter[str], labels: LabelMembers) -> Iterator[tuple[str, ImageMember]]:
    """Yield key and image of each sample of a local file; ``name`` is used in messages."""
    with open_regular(path) as file:
        yield from index_archives(file, 0, os.fstat(file.fileno()).st_size, name, left_out, labels)


def _entry(path: Path) -> Entry:
    state = path.stat()
    return Entry(state.st_size, f"mtime_ns {state.st_mtime_ns}")


class _Window(io.RawIOBase):
    """A part of an open file as a file of its own."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor, self._offset, self._size, self._position = descriptor, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence])
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._position))
        found = os.pread(self._descriptor, count, self._offset + self._position)
        buffer[: len(found)] = found
        self._position += len(found)
        return len(found)
