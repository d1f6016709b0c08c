"""A lock on a folder that worker processes share, so that no two exports or audits write to it."""

import errno
import os
from collections.abc import Callable
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from torchprotect.errors import ExportError


class SharedDescriptor:
    """An open file descriptor that a process start method passes to a worker, as the same open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self, close: Callable[[int], None] = os.close) -> None:
        """Close this process's descriptor, also while the interpreter exits and the names of modules are gone."""
        close(self.descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, (reduction.DupFd(self.descriptor),)


def _receive(duplicate: Any) -> SharedDescriptor:
    return SharedDescriptor(duplicate.detach())


def lock_folder(folder: Path, in_use: str, *, shared: bool = False) -> SharedDescriptor:
    """Lock a folder until every process that holds the descriptor has closed it or ended.

    Args:
        folder: to lock.
        in_use: message of the error where another process holds the lock.
        shared: whether others that ask for a shared lock may hold it too.

    Raises:
        ExportError: another process holds it, or the file system has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        raise ExportError("file locks (flock) are needed, which this system does not have") from None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
            raise ExportError(in_use) from None
        raise ExportError(
            f"{folder} cannot be locked (flock: {error.strerror}): its file system has no locks that keep two "
            "processes apart; write to a local folder and copy the result"
        ) from error
    return SharedDescriptor(descriptor)


def unlock_folder(lock: SharedDescriptor) -> None:
    """Unlock a folder for all processes that hold the descriptor.

    A process pool that the caller forked meanwhile holds a copy, and may live on.
    """
    import fcntl

    fcntl.flock(lock.descriptor, fcntl.LOCK_UN)
