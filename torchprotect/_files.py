"""Atomic files: a unique temporary name, a flush, then a rename to the final name."""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from torchprotect.errors import ProtectError

_TEMPORARY = re.compile(r"\.torchprotect-[0-9a-f]{16}\.tmp")
_SAFETENSORS_HEADER = 1 << 20  # bytes; this package writes a few thousand
_BINARY = getattr(os, "O_BINARY", 0)
_NO_FOLDER_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF, errno.EACCES}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def temporary_name() -> str:
    """Return a unique file name; its length does not depend on the final name, which may be long."""
    return f".torchprotect-{secrets.token_hex(8)}.tmp"


def temporary_name_of(name: str) -> str:
    """Return the temporary name that belongs to a final one, so that remains of a killed process are found again."""
    return f".torchprotect-{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.tmp"


def is_temporary(name: str) -> bool:
    """Return whether this may be the name of a file left by a process that was killed while writing."""
    return _TEMPORARY.fullmatch(name) is not None


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a power cut.

    Some file systems (SMB, FUSE) cannot flush folders, and a folder may be writable but not readable. The file
    itself is flushed and named by then, so there is nothing to undo.
    """
    if os.name == "nt":
        return  # Windows opens no folders
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless it exists.

    Raises:
        FileExistsError: something else has the name; the message says what.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        taken = next(path for path in (folder, *folder.parents) if os.path.lexists(path) and not path.is_dir())
        raise FileExistsError(f"{_nature(taken)}; a folder is needed there, choose another name") from None


def take_name(temporary: Path, path: Path) -> None:
    """Give a file its final name unless that name exists. Of several callers, exactly one succeeds.

    On a file system without hard links, the name is first claimed by an empty file, which a rename replaces.

    Raises:
        FileExistsError: the name exists; the temporary file is still there.
    """
    try:
        os.link(temporary, path)  # unlike a rename, fails where the name is taken
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _claim_and_replace(temporary, path)
    else:
        temporary.unlink()


def _claim_and_replace(temporary: Path, path: Path) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise _taken(path) from None
    try:
        temporary.replace(path)
    except OSError:
        path.unlink()  # no other error: an interrupt may come after the rename
        raise


@contextlib.contextmanager
def atomic_file(path: Path, *, mode: int = 0o644, overwrite: bool = True, flush: bool = True) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` for writing; it takes the final name only when the block succeeds.

    Args:
        path: final name; its folder must exist.
        mode: permission bits, set at creation, before any content is written.
        overwrite: whether an existing ``path`` may be replaced.
        flush: whether the file must survive a power cut from then on.

    Raises:
        FileExistsError: ``path`` exists and ``overwrite`` is false, or somebody else was faster.
        FileNotFoundError: its folder does not exist.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the folder to write into does not exist", str(path.parent))
    if not overwrite and os.path.lexists(path):
        raise _taken(path)
    temporary, writer = path.with_name(temporary_name()), os.getpid()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if flush:
                os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            take_name(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)  # a full disk does not say which file it is
        if os.getpid() == writer:  # a forked process may drop its copy of this block, but the file is its parent's
            temporary.unlink(missing_ok=True)
        raise
    if flush:
        sync_folder(path.parent)


class HashedFile:
    """A file that is written from start to end, counted and hashed on the way.

    Attributes:
        size: bytes written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self.size = file, hashlib.sha256(), 0

    def write(self, content: bytes | memoryview) -> None:
        """Append to the file."""
        self._file.write(content)
        self._digest.update(content)
        self.size += len(content)

    @property
    def sha256(self) -> str:
        """Hex digest of what has been written."""
        return self._digest.hexdigest()

    def reread(self) -> BinaryIO:
        """Return the file, open at its first byte, for reading what was written. Nothing may be written after that."""
        self._file.seek(0)
        return self._file


class HashedReading:
    """A file that is read from start to end, counted and hashed on the way; its size may be queried first.

    Attributes:
        size: bytes read.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._digest, self.size = file, hashlib.sha256(), 0

    def read(self, size: int) -> bytes:
        """Read from the file."""
        found = self._file.read(size)
        self._digest.update(found)
        self.size += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to the end or to the next byte that was not read; nowhere else."""
        place = self._file.seek(offset, whence)
        if whence == os.SEEK_SET and place != self.size:
            raise OSError(errno.ESPIPE, "a file that is hashed is read from start to end")
        return place

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def sha256(self) -> str:
        """Hex digest of what was read."""
        return self._digest.hexdigest()


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file for reading. Never waits for a FIFO, nor reads an endless device.

    Raises:
        OSError: it cannot be opened, or it is a folder, a FIFO, a socket or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | _BINARY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path, limit: int, error: type[ProtectError]) -> bytes:
    """Return the content of a regular file from an untrusted source.

    Args:
        path: path of the file.
        limit: bytes that a file of its kind has at most.
        error: raised if it is not a regular file of at most that size.

    Raises:
        OSError: the file does not exist or cannot be read.
    """
    with _open_for(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise error(f"{path} has {size:,} bytes; files of this kind have at most {limit:,}")
        return file.read()


def _open_for(path: Path, error: type[ProtectError]) -> BinaryIO:
    try:
        return open_regular(path)
    except OSError as reason:
        if reason.errno != errno.EINVAL:
            raise
        raise error(f"{path} is not a regular file; copy its content into one first") from None


def require_safetensors(path: Path, what: str, error: type[ProtectError]) -> None:
    """Check that a file has the size that its safetensors header claims, before reading all of it.

    Args:
        path: path of the file.
        what: it should be, with its article.
        error: raised if it does not.

    Raises:
        OSError: the file does not exist or cannot be read.
    """
    with _open_for(path, error) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if 0 < length <= min(_SAFETENSORS_HEADER, size - 8) else b"null"
    try:
        tensors = [each["data_offsets"][1] for name, each in json.loads(header).items() if name != "__metadata__"]
        fits = 8 + length + max(tensors, default=0) == size
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        fits = False
    if not fits:
        raise error(f"{path} is not {what}, or it is truncated or damaged")


def _taken(path: Path) -> FileExistsError:
    return FileExistsError(f"{_nature(path)}; it is never overwritten: choose another name or move it away")


def _nature(path: Path) -> str:
    if path.is_symlink() and not path.exists():
        return f"{path} is a symbolic link to {path.readlink()}, which does not exist"
    if path.is_file() and path.stat().st_size == 0:
        return f"{path} is an empty file, perhaps left by a process that was killed"
    return f"{path} is a file" if path.is_file() else f"{path} exists"
