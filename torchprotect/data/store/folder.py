"""A folder of the local file system as a store."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from torchprotect._files import HashedFile, atomic_file, make_folder, open_regular, read_regular
from torchprotect._lock import SharedDescriptor, lock_folder, unlock_folder
from torchprotect.data.store._base import Entry, Upload
from torchprotect.errors import ProtectError, StoreError


class FolderStore:
    """A folder. Files are written under a temporary name, flushed and renamed."""

    shared = True
    local = True

    def __init__(self, path: Path) -> None:
        self.path, self.location = path.absolute(), str(path)  # a process may change its folder later

    def __repr__(self) -> str:
        return f"FolderStore({self.location!r})"

    def path_of(self, name: str) -> str:
        """Return the path of a file."""
        return str(Path(self.location) / name)

    def entries(self) -> dict[str, Entry]:
        """List the files at the top of the folder, and its subfolders as names that end in a slash."""
        found = {}
        with self._as_store_error("list"), contextlib.suppress(FileNotFoundError), os.scandir(self.path) as entries:
            for entry in entries:
                if entry.is_dir():
                    found[f"{entry.name}/"] = Entry(0)
                else:
                    with contextlib.suppress(FileNotFoundError):  # a link to nothing, or just deleted
                        state = entry.stat()
                        found[entry.name] = Entry(state.st_size, None, state.st_mtime)
        return found

    def stat(self, name: str) -> Entry:
        """Return the size of a file."""
        with self._as_store_error(f"read {name} in"):
            state = (self.path / name).stat()
        return Entry(state.st_size, None, state.st_mtime)

    def stat_all(self, names: Iterable[str], *, alike: bool = False) -> dict[str, Entry]:
        """Return the sizes of many files."""
        found = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found[name] = self.stat(name)
        return found

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a regular file."""
        with self._as_store_error(f"read {name} in"):
            return read_regular(self.path / name, limit, StoreError)

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of many files."""
        found = {}
        for name in names:
            with contextlib.suppress(FileNotFoundError), self.open(name) as file:
                found[name] = file.read()
        return found

    def open(self, name: str) -> BinaryIO:
        """Open a regular file for reading."""
        with self._as_store_error(f"read {name} in"):
            return open_regular(self.path / name)

    def read_ranges(self, ranges: list[tuple[str, int, int]]) -> list[bytes]:
        """Return parts of files."""
        found = []
        for name, start, end in ranges:
            with self._as_store_error(f"read {name} in"), open_regular(self.path / name) as file:
                found.append(os.pread(file.fileno(), end - start, start))
        return found

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[Upload]:
        """Open a file that takes its final name when the block succeeds."""
        with self._as_store_error("write to", _WRITING), atomic_file(self.path / name) as file:
            yield Upload(HashedFile(file))

    def create(self, name: str, content: bytes) -> None:
        """Write a new file."""
        with self._as_store_error("write to", _WRITING), atomic_file(self.path / name, overwrite=False) as file:
            file.write(content)

    def delete(self, names: Iterable[str]) -> None:
        """Delete files."""
        with self._as_store_error("delete files in"):
            for name in names:
                (self.path / name).unlink(missing_ok=True)

    def require_writable(self) -> None:
        """Do nothing: whether a folder is writable only shows when it is written to."""

    def prepare(self) -> None:
        """Make the folder unless it exists."""
        make_folder(self.path)

    @contextlib.contextmanager
    def lock(self, in_use: str, *, shared: bool) -> Iterator[SharedDescriptor | None]:
        """Lock the folder for this process and its workers."""
        descriptor, holder = lock_folder(self.path, in_use, shared=shared), os.getpid()
        try:
            yield descriptor
        finally:
            if os.getpid() == holder:  # a forked process may drop its copy of this block, but the lock is its parent's
                unlock_folder(descriptor)
            descriptor.close()

    @contextlib.contextmanager
    def _as_store_error(self, action: str, advice: str = "") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, ProtectError | FileNotFoundError | FileExistsError):
                raise
            raise StoreError(f"cannot {action} {self.location}: {error.strerror or error}{advice}") from error


_WRITING = (
    "; nothing half-written was left behind. Make room or repair the disk, then run the same export again to resume"
)
