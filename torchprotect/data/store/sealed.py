"""A store whose files are sealed: what is written is encrypted, what is read has been authenticated."""

import contextlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from torchprotect._files import HashedFile
from torchprotect._lock import SharedDescriptor
from torchprotect.data.store._base import Entry, Store, Upload
from torchprotect.data.store._spool import spooled_file
from torchprotect.data.store.folder import FolderStore
from torchprotect.envelope.data_key import DataKey, Place
from torchprotect.envelope.streaming import opened_size
from torchprotect.errors import StoreError, VerificationError

SUFFIX = ".sealed"


@dataclass(frozen=True)
class SealedStore:
    """The sealed files of an export, by the names and with the content that they have in an open one.

    File ``X`` stands in the store below as ``X.sealed``. Files there that are not sealed are not in this store.

    Attributes:
        inner: the store below.
        data_key: of the export.
        plan: digest of its plan.
        shards: their number.
        copies: names in ``inner`` of files that have another name there.
    """

    inner: Store
    data_key: DataKey
    plan: str
    shards: int
    copies: Mapping[str, str] = field(default_factory=dict)

    @property
    def location(self) -> str:
        """Path or URL of the store below."""
        return self.inner.location

    @property
    def shared(self) -> bool:
        """Whether other processes see what this one writes."""
        return self.inner.shared

    @property
    def local(self) -> bool:
        """Whether the store below is a folder."""
        return self.inner.local

    def with_copy(self, name: str, path: Path) -> "SealedStore":
        """Return a store that has one file, of which a sealed copy is at a path."""
        return replace(self, inner=FolderStore(path.parent), copies={name: path.name})

    def path_of(self, name: str) -> str:
        """Return the path or URL of a sealed file."""
        return self.inner.path_of(self._below(name))

    def _below(self, name: str) -> str:
        return self.copies.get(name, name + SUFFIX)

    def _place(self, name: str) -> Place:
        return Place(self.plan, name, self.shards)

    def entries(self) -> dict[str, Entry]:
        """List all sealed files, with their sizes after opening."""
        return self.opened(self.inner.entries())

    def opened(self, stored: dict[str, Entry]) -> dict[str, Entry]:
        """Return the entries of this store, from a listing of the one below."""
        return {name.removesuffix(SUFFIX): _opened(entry) for name, entry in stored.items() if name.endswith(SUFFIX)}

    def stat(self, name: str) -> Entry:
        """Return the size of a file after opening, and its tag."""
        return _opened(self.inner.stat(self._below(name)))

    def stat_all(self, names: Iterable[str], *, alike: bool = False) -> dict[str, Entry]:
        """Return sizes after opening, and tags, of many files."""
        below = {self._below(name): name for name in names}
        found = self.inner.stat_all(below, alike=alike)
        return {below[name]: _opened(entry) for name, entry in found.items()}

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a file."""
        size = self.stat(name).size
        if size > limit:
            raise StoreError(f"{self.path_of(name)} has {size:,} bytes; files of this kind have at most {limit:,}")
        with self.open(name) as file:
            return file.read()

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of many small files; those that are gone or damaged are left out."""
        below = {self._below(name): name for name in names}
        opened = {}
        for stored, content in self.inner.read_all(below).items():
            with contextlib.suppress(VerificationError):
                opened[below[stored]] = self.unsealed(below[stored], content)
        return opened

    def open(self, name: str) -> BinaryIO:
        """Open a file; see :func:`torchprotect.envelope.streaming.open_sealed`."""
        file = self.inner.open(self._below(name))
        try:
            return self.open_file(file, name)
        except BaseException:
            file.close()
            raise

    def open_file(self, file: BinaryIO, name: str) -> BinaryIO:
        """Open what a file of this name is stored as."""
        return self.data_key.open(file, self._place(name), self.path_of(name))

    def read_ranges(self, ranges: list[tuple[str, int, int]]) -> list[bytes]:
        """Return parts of files."""
        found = []
        for name, start, end in ranges:
            with self.open(name) as file:
                file.seek(start)
                found.append(file.read(end - start))
        return found

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[Upload]:
        """Collect the content of a file, then seal it: its hash decides the salt."""
        with spooled_file() as plain:
            upload = Upload(plain)
            yield upload
            with self.inner.write(self._below(name)) as below:
                self.data_key.seal(plain, below.file, self._place(name))
            upload.tag, upload.sealed = below.tag, below.file.sha256

    def create(self, name: str, content: bytes) -> None:
        """Seal and write a new file."""
        self.inner.create(self._below(name), self.sealed(name, content))

    def sealed(self, name: str, content: bytes) -> bytes:
        """Return a small file as it would be stored."""
        plain, sealed = HashedFile(io.BytesIO()), HashedFile(io.BytesIO())
        plain.write(content)
        self.data_key.seal(plain, sealed, self._place(name))
        return sealed.reread().read()

    def unsealed(self, name: str, content: bytes) -> bytes:
        """Return what a small file holds, from its bytes as they are stored."""
        with self.open_file(io.BytesIO(content), name) as file:
            return file.read()

    def delete(self, names: Iterable[str]) -> None:
        """Delete files."""
        self.inner.delete([self._below(name) for name in names])

    def require_writable(self) -> None:
        """Check that the store below can be written to at all."""
        self.inner.require_writable()

    def prepare(self) -> None:
        """Make the store below ready."""
        self.inner.prepare()

    def lock(self, in_use: str, *, shared: bool) -> contextlib.AbstractContextManager[SharedDescriptor | None]:
        """Lock the store below."""
        return self.inner.lock(in_use, shared=shared)


def _opened(entry: Entry) -> Entry:
    """Return the entry of a file after opening; sizes that no sealed file has become 0, which no file here has."""
    return entry._replace(size=opened_size(entry.size) or 0)
