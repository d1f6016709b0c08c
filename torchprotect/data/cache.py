"""Local copies of whole shards, which several processes may share."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from torchprotect._files import atomic_file, make_folder, open_regular
from torchprotect.data.store import Store
from torchprotect.errors import ProtectError, StoreError, VerificationError

_CHUNK = 1 << 20


class ShardCache:
    """A folder of copies. A copy is complete or absent, and nothing is ever deleted from the folder.

    Args:
        folder: created unless it exists; processes on one machine may share it.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        if not os.fspath(folder) or ":/" in os.fspath(folder):
            raise StoreError(f"a cache must be a local folder, got {os.fspath(folder)!r}")
        self.folder = Path(folder)

    def fetch(self, store: Store, name: str, copy: str, *, size: int, sha256: str | None = None) -> Path:
        """Return the path of the copy of a file, after downloading it if there is none yet.

        Args:
            store: the store that has the file.
            name: name of the file.
            copy: name of the copy, which must identify the content: its hash, or that of its URL and tag.
            size: size of the file, in bytes.
            sha256: hash of the file, in hex; the copy is then read and compared each time, and a damaged one is
                replaced.

        Raises:
            VerificationError: the download has another size or hash; none of it is kept.
        """
        try:
            return self._fetch(store, name, self.folder / copy, size, sha256)
        except OSError as error:
            if isinstance(error, ProtectError | FileNotFoundError):
                raise
            raise StoreError(f"cannot keep copies in {self.folder}: {error.strerror or error}") from error

    def _fetch(self, store: Store, name: str, path: Path, size: int, sha256: str | None) -> Path:
        exists = os.path.lexists(path)
        if exists and self._is_whole(path, size, sha256):
            return path
        make_folder(self.folder)
        try:
            with atomic_file(path, overwrite=exists) as file:  # a damaged copy is replaced
                self._copy(store, name, file, size, sha256)
        except FileExistsError:  # another process was faster, and may have opened its copy already
            return self._fetch(store, name, path, size, sha256)
        return path

    def _copy(self, store: Store, name: str, file: BinaryIO, size: int, sha256: str | None) -> None:
        digest, count = hashlib.sha256(), 0
        for block in _blocks(store, name):
            file.write(block)
            digest.update(block)
            count += len(block)
        if count != size:
            raise _damaged(store, name, f"it has {count:,} bytes where {size:,} were expected")
        if sha256 not in (None, digest.hexdigest()):
            raise _damaged(store, name, "its SHA-256 is not the one that was expected")

    def _is_whole(self, path: Path, size: int, sha256: str | None) -> bool:
        try:
            with open_regular(path) as file:
                if os.fstat(file.fileno()).st_size != size:
                    return False
                return sha256 is None or _sha256(file) == sha256
        except FileNotFoundError:
            return False


def _damaged(store: Store, name: str, how: str) -> VerificationError:
    return VerificationError(f"{store.path_of(name)} is damaged, or it was replaced: {how}")


def _blocks(store: Store, name: str) -> Iterator[bytes]:
    with store.open(name) as file:
        while block := file.read(_CHUNK):
            yield block


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while block := file.read(_CHUNK):
        digest.update(block)
    return digest.hexdigest()
