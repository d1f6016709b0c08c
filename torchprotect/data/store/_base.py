"""The interface of a store."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, Protocol

from torchprotect._files import HashedFile
from torchprotect._lock import SharedDescriptor


class Entry(NamedTuple):
    """One file or object.

    Attributes:
        size: in bytes.
        tag: changes whenever the object is written; the server's ETag or generation. ``None`` where there is none, as
            in a local folder.
        modified: time of the last write, in seconds since 1970, by the clock of the store; ``None`` where unknown.
    """

    size: int
    tag: str | None = None
    modified: float | None = None


@dataclass
class Upload:
    """A file being written.

    Attributes:
        file: to write to.
        tag: tag of the finished object, set when the block has ended without an error; ``None`` in a local folder.
        sealed: SHA-256 in hex of the file as it is stored, set likewise; ``None`` where files are stored as they are.
    """

    file: HashedFile
    tag: str | None = None
    sealed: str | None = None


class Store(Protocol):
    """Files by name. Holds no credentials and can be pickled.

    Every method raises :class:`torchprotect.errors.StoreError` where the store cannot be reached or refuses, unless
    it says otherwise. Names are relative and use ``/``.
    """

    @property
    def location(self) -> str:
        """Path or URL, as it was given."""

    @property
    def shared(self) -> bool:
        """Whether other processes see what this one writes."""

    @property
    def local(self) -> bool:
        """Whether this is a folder of the local file system."""

    def path_of(self, name: str) -> str:
        """Return the path or URL of a file."""

    def entries(self) -> dict[str, Entry]:
        """List all files, at any depth; of a local folder those at its top, with the names of subfolders."""

    def stat(self, name: str) -> Entry:
        """Return size and tag of a file; raise ``FileNotFoundError`` if there is none."""

    def stat_all(self, names: Iterable[str], *, alike: bool = False) -> dict[str, Entry]:
        """Return size and tag of many files, fresh from the store; those that are gone are left out.

        Args:
            names: names of the files.
            alike: whether few other names in their folders begin like these, so that a listing takes fewer requests.
        """

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of a file of at most ``limit`` bytes; raise ``FileNotFoundError`` if there is none."""

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of many small files; those that are gone are left out."""

    def open(self, name: str) -> BinaryIO:
        """Open a file to be read from start to end; raise ``FileNotFoundError`` if there is none."""

    def read_ranges(self, ranges: list[tuple[str, int, int]]) -> list[bytes]:
        """Return parts of files, each given by name, first byte and the byte behind the last."""

    def write(self, name: str) -> AbstractContextManager[Upload]:
        """Open a file for writing. It appears whole when the block has succeeded, and never in part."""

    def create(self, name: str, content: bytes) -> None:
        """Write a new file; of several callers exactly one succeeds, the others get ``FileExistsError``."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; those that are gone already are passed over."""

    def require_writable(self) -> None:
        """Check that the store can be written to at all; nothing is written for it."""

    def prepare(self) -> None:
        """Make the place ready for writing: a folder is made unless it exists."""

    def lock(self, in_use: str, *, shared: bool) -> AbstractContextManager[SharedDescriptor | None]:
        """Keep other processes of this machine out of a local folder; does nothing elsewhere.

        Args:
            in_use: message of the error where another process holds the lock.
            shared: whether others that ask for the same may come in.

        Raises:
            ExportError: another process holds the lock.
        """
