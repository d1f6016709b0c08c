"""Iterate over the files of a folder and the members of its tar archives, whatever they hold.

Nothing is unpacked, no link is followed, and no more is read than fixed limits allow, because a folder may be hostile.
"""

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from torchprotect._tarwalk import walk
from torchprotect.attacks.protocol import Files
from torchprotect.errors import SourceError

ENTRIES = 1_000_000  # files and members looked at, all together
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")


@dataclass
class Entry:
    """A file, or a member of an archive.

    Attributes:
        name: its path in the archive, or in the folder.
        size: in bytes.
        time: recorded time of the last change.
        mode: permission bits.
        owned: whether an owner other than number 0 without a name is recorded; for members only.
        extended: whether the header has fields that a plain one cannot have; for members only.
        regular: whether it is a regular file: no link, folder or device.
        member: whether it is a member of an archive.
        file: open file with its content; closed as soon as the iteration continues.
        start: offset of its content in that file.
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
        """Return at most ``limit`` bytes of its content, after the first ``skip`` bytes."""
        if self.file is None:
            return b""
        self.file.seek(self.start + skip)
        return self.file.read(max(0, min(limit, self.size - skip)))


@dataclass
class Folder:
    """Iterates over a folder, and counts what could not be examined.

    Attributes:
        location: path of the folder, or its files.
        seen: number of files and members so far.
        unread: number of files that are damaged, compressed archives, or beyond the limits.
    """

    location: Path | Files
    seen: int = 0
    unread: int = 0
    files: int = field(default=0, init=False)

    def entries(self) -> Iterator[Entry]:
        """Yield all files, sorted by name, and for each tar archive its members in their order.

        Raises:
            SourceError: there is no such folder, or it cannot be read.
        """
        for opened in self._each():
            self.files += 1
            try:
                yield from opened
            except OSError:
                self.unread += 1
            if self.seen >= ENTRIES:
                self.unread += 1
                return

    def _each(self) -> Iterator[Iterator[Entry]]:
        """Yield the entries of each file."""
        if isinstance(self.location, Mapping):
            for name in sorted(self.location):
                yield self._elsewhere(name, self.location[name])
            return
        if not self.location.is_dir():
            raise SourceError(f"{self.location} is not a folder; give the folder of an export")
        for parent, folders, names in os.walk(self.location, onerror=_raise):
            folders.sort()
            links = [name for name in folders if (Path(parent) / name).is_symlink()]
            for name in sorted(names + links):
                yield self._local(self.location, Path(parent) / name)

    def _local(self, folder: Path, path: Path) -> Iterator[Entry]:
        state = path.lstat()
        name = PurePosixPath(path.relative_to(folder).as_posix())
        if not stat.S_ISREG(state.st_mode):
            yield self._count(Entry(name, 0, 0, 0, False, False, False, False, None, 0))
            return
        with path.open("rb") as file:
            yield from self._file(name, file, state.st_size, state.st_mtime, stat.S_IMODE(state.st_mode))

    def _elsewhere(self, name: str, open_file: Callable[[], BinaryIO]) -> Iterator[Entry]:
        """Yield the entries of an object in a store; such objects have neither a mode nor a time set by the owner."""
        with open_file() as file:
            yield from self._file(PurePosixPath(name), file, file.seek(0, io.SEEK_END), 0, 0)

    def _file(self, name: PurePosixPath, file: BinaryIO, size: int, time: float, mode: int) -> Iterator[Entry]:
        if name.name.endswith(".tar"):
            yield from self._members(file, size)
            return
        self.unread += name.name.endswith(_COMPRESSED)
        yield self._count(Entry(name, size, time, mode, False, False, True, False, file, 0))

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
