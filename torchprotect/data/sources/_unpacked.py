"""Gzipped tar files, unpacked into one temporary file."""

import gzip
import os
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

from torchprotect._files import open_regular
from torchprotect._lock import SharedDescriptor
from torchprotect.errors import SourceError

_CHUNK = 1 << 20
_SPARE, _MOST_RATIO = 64 << 20, 100  # bytes, and a factor: images hardly compress, so more is a decompression bomb


class Unpacked:
    """The gzipped files among some paths, in one file without a name, which vanishes with the last process to read it.

    Attributes:
        bounds: first byte of each unpacked file and the byte behind the last, by the file's place among the paths.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.bounds: dict[int, tuple[int, int]] = {}
        with tempfile.TemporaryFile() as store:
            for number, path in enumerate(paths):
                if is_gzipped(path):
                    start = store.tell()
                    _unpack(path, store)
                    self.bounds[number] = start, store.tell()
            store.flush()
            self._shared = SharedDescriptor(os.dup(store.fileno()))

    @property
    def descriptor(self) -> int:
        """Descriptor to read the file with, by offset."""
        return self._shared.descriptor

    def reopen(self) -> BinaryIO:
        """Return the file, open for reading."""
        return os.fdopen(os.dup(self.descriptor), "rb")

    def __del__(self) -> None:
        if "_shared" in self.__dict__:
            self._shared.close()


def is_gzipped(path: Path) -> bool:
    """Return whether a file is gzipped, by its name."""
    return path.suffix in (".gz", ".tgz")


def _unpack(path: Path, store: BinaryIO) -> None:
    start = store.tell()
    try:
        with open_regular(path) as file, gzip.open(file) as packed:
            most = _SPARE + _MOST_RATIO * os.fstat(file.fileno()).st_size
            while (block := packed.read(_CHUNK)) and store.tell() - start <= most:
                store.write(block)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"cannot read {path}: {error}") from error
    if store.tell() - start > most:
        raise SourceError(f"{path} unpacks to over {_MOST_RATIO} times its size; unpack it yourself")
