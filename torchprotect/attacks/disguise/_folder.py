"""The files of a folder and the members of its tar archives, one after the other, whatever they hold.

Nothing is unpacked, no link is followed, and no more is read than stated limits allow: a folder may be hostile.
"""

import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from torchprotect._tarwalk import walk
from torchprotect.errors import SourceError

ENTRIES = 1_000_000  # files and members looked at, all together


@dataclass
class Entry:
    """A file, or a member of an archive.

    Attributes:
        name: its path in the archive, or in the folder.
        size: bytes.
        time: of the last change, as stated.
        mode: permission bits.
        owned: an owner is stated other than number 0 without a name; of members only.
        extended: the header holds fields that a plain one cannot; of members only.
        regular: it is a file, no link, folder or device.
        member: it is a member of an archive.
        file: where its content can be read; closed after the iteration has gone on.
        start: where in the file its content begins.
    """

    name: PurePosixPath
    size: int
    time: float
    mode: int
    owned: bool
    extended: bool
    regular: bool
    member: bool
    file: BinaryIO | None
    start: int

    def read(self, limit: int, skip: int = 0) -> bytes:
        """Return at most ``limit`` bytes of its content after the first ``skip``."""
        if self.file is None:
            return b""
        self.file.seek(self.start + skip)
        return self.file.read(max(0, min(limit, self.size - skip)))


@dataclass
class Folder:
    """Goes through a folder and counts what could not be looked at.

    Attributes:
        path: of the folder.
        seen: files and members so far.
        unread: files that are damaged, compressed archives, or beyond the limits.
    """

    path: Path
    seen: int = 0
    unread: int = 0
    files: int = field(default=0, init=False)

    def entries(self) -> Iterator[Entry]:
        """Yield files, sorted by name, and for each tar archive its members, in their order.

        Raises:
            SourceError: there is no such folder, or it cannot be read.
        """
        if not self.path.is_dir():
            raise SourceError(f"{self.path} is no folder; give the folder of an export")
        for parent, folders, names in os.walk(self.path, onerror=_raise):
            folders.sort()
            links = [name for name in folders if (Path(parent) / name).is_symlink()]
            for name in sorted(names + links):
                yield from self._file(Path(parent) / name)
                if self.seen >= ENTRIES:
                    self.unread += 1
                    return

    def _file(self, path: Path) -> Iterator[Entry]:
        self.files += 1
        try:
            state = path.lstat()
            regular = stat.S_ISREG(state.st_mode)
            name = PurePosixPath(path.relative_to(self.path).as_posix())
            if not regular:
                yield self._count(Entry(name, 0, 0, 0, False, False, False, False, None, 0))
                return
            with path.open("rb") as file:
                if path.name.endswith(".tar"):
                    yield from self._members(file, state.st_size)
                    return
                self.unread += path.name.endswith((".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip"))
                time, mode = state.st_mtime, stat.S_IMODE(state.st_mode)
                yield self._count(Entry(name, state.st_size, time, mode, False, False, True, False, file, 0))
        except OSError:
            self.unread += 1

    def _members(self, file: BinaryIO, size: int) -> Iterator[Entry]:
        """Yield the members of an open archive; stops where it is damaged."""
        try:
            for info in walk(file, 0, size):
                owned = bool(info.uid or info.gid or info.uname or info.gname)
                yield self._count(
                    Entry(
                        PurePosixPath(info.name),
                        info.size,
                        float(info.mtime),
                        info.mode,
                        owned,
                        bool(info.pax_headers),
                        info.isreg() and not info.issparse(),
                        True,
                        file,
                        info.offset_data,
                    )
                )
                if self.seen >= ENTRIES:
                    return
        except tarfile.ReadError:
            self.unread += 1

    def _count(self, entry: Entry) -> Entry:
        self.seen += 1
        return entry


def _raise(error: OSError) -> None:
    raise SourceError(f"cannot read {error.filename}: {error.strerror}") from error
