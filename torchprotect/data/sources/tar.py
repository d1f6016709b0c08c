"""WebDataset shards, indexed once and read by offset."""

import gzip
import hashlib
import io
import os
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchprotect._files import open_regular
from torchprotect._lock import SharedDescriptor
from torchprotect.data.sources._base import Sample, decode, decode_shape
from torchprotect.data.sources._tar_index import index_archives
from torchprotect.errors import SourceError

_OPEN_FILES = 64
_CHUNK = 1 << 20
_SPARE, _MOST_RATIO = 64 << 20, 100  # bytes, and a factor: images hardly compress, so more is a decompression bomb


class _Row(NamedTuple):
    """Location of a sample: index of the file, the image's offset and size, the label or -1."""

    file: int
    offset: int
    size: int
    label: int


class TarSource:
    """Samples ``KEY.png`` (or another image format) with ``KEY.cls`` in local tar files, gzipped or not.

    As in webdataset, neighbours whose names are equal up to the first dot are one sample. Several archives in one file
    (``cat a.tar b.tar``) and hard links inside an archive are followed; what cannot be followed is refused. Other
    members of a sample, and groups without image and label, are left out and counted. Gzipped files are unpacked into
    one temporary file without a name, which vanishes with the last process that reads it.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.folders: tuple[Path, ...] = ()
        self.left_out: Counter[str] = Counter()
        self._paths = paths
        self._handles: dict[int, int] = {}
        self._unpacked: SharedDescriptor | None = None
        self._keys: list[str] = []
        rows: list[_Row] = []
        with ExitStack() as stack:
            store = stack.enter_context(tempfile.TemporaryFile()) if any(map(_is_gzipped, paths)) else None
            for number, path in enumerate(paths):
                try:
                    for key, member in self._index(path, store):
                        self._keys.append(key)
                        rows.append(_Row(number, member.offset, member.size, member.label))
                except SourceError:
                    raise
                except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
                    raise SourceError(f"cannot read {path}: {error}") from error
            if store is not None:
                store.flush()
                self._unpacked = SharedDescriptor(os.dup(store.fileno()))
        if not rows:
            raise SourceError(f"no images in {paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""))
        self._rows = np.array(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Sample:
        name = self.locate(index)
        try:
            content, label = self._read(index)
        except OSError as error:
            raise SourceError(f"cannot read image {name}: {error.strerror or error}") from error
        return Sample(decode(content, name), label)

    def name(self, index: int) -> str:
        """Return the sample's key, in webdataset's sense."""
        return self._keys[index]

    def locate(self, index: int) -> str:
        """Return the sample's key and the file it is in."""
        return f"{self._keys[index]} in {self._paths[self._row(index).file]}"

    def known_labels(self) -> list[int | None]:
        """Return all labels without reading an image."""
        return [None if label < 0 else label for label in self._rows[:, -1].tolist()]

    def shape(self, index: int) -> tuple[int, int, int]:
        """Return the shape of an image from its header."""
        row = self._row(index)
        window: Any = io.BufferedReader(_Window(self._descriptor(row.file), row.offset, row.size))
        return decode_shape(window, self.locate(index))

    def listing(self) -> Iterator[bytes]:
        """Yield the key of each sample."""
        return (key.encode(errors="surrogateescape") for key in self._keys)

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield a digest of each image's file, and its label."""
        for index in indices:
            try:
                body, label = self._read(index)
            except OSError:
                yield b"missing"
            else:
                yield hashlib.sha256(body).digest() + str(label).encode()

    def _index(self, path: Path, store: Any) -> Iterator[tuple[str, Any]]:
        """Yield key and location of each image in a file; gzipped files are unpacked into ``store``."""
        with open_regular(path) as file:
            if not _is_gzipped(path):
                yield from index_archives(file, 0, os.fstat(file.fileno()).st_size, path, self.left_out)
                return
            start = store.seek(0, os.SEEK_END)
            with gzip.open(file) as packed:
                most = _SPARE + _MOST_RATIO * os.fstat(file.fileno()).st_size
                while block := packed.read(_CHUNK):
                    store.write(block)
                    if store.tell() - start > most:
                        raise SourceError(f"{path} unpacks to over {_MOST_RATIO} times its size; unpack it yourself")
        yield from index_archives(store, start, store.seek(0, os.SEEK_END), path, self.left_out)

    def _row(self, index: int) -> _Row:
        return _Row(*self._rows[index].tolist())

    def _read(self, index: int) -> tuple[bytes, int | None]:
        row = self._row(index)
        content = os.pread(self._descriptor(row.file), row.size, row.offset)
        if len(content) < row.size:
            raise OSError(f"{self._paths[row.file]} has become shorter since it was opened")
        return content, None if row.label < 0 else row.label

    def _descriptor(self, file: int) -> int:
        if self._unpacked is not None and _is_gzipped(self._paths[file]):
            return self._unpacked.descriptor
        if file not in self._handles:
            if len(self._handles) >= _OPEN_FILES:
                os.close(self._handles.pop(next(iter(self._handles))))
            self._handles[file] = os.open(self._paths[file], os.O_RDONLY | os.O_NONBLOCK)
        return self._handles[file]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": {}}

    def __del__(self) -> None:
        for descriptor in self.__dict__.get("_handles", {}).values():
            os.close(descriptor)
        if self.__dict__.get("_unpacked") is not None:
            self._unpacked.close()  # type: ignore[union-attr]


def _is_gzipped(path: Path) -> bool:
    return path.suffix in (".gz", ".tgz")


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
