"""One export a folder: a lock on the folder itself, shared with the worker processes."""

import os
from multiprocessing import reduction
from pathlib import Path
from typing import Any

from torchprotect.errors import ExportError


class SharedDescriptor:
    """An open file descriptor that a process start method carries over to a worker, as the same open file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def close(self) -> None:
        """Close this process's descriptor."""
        os.close(self.descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, (reduction.DupFd(self.descriptor),)


def _receive(duplicate: Any) -> SharedDescriptor:
    return SharedDescriptor(duplicate.detach())


def lock_folder(folder: Path) -> SharedDescriptor:
    """Lock a folder until every process that holds the descriptor has closed it or ended.

    Raises:
        ExportError: another export holds it, or the system has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        raise ExportError("exports need file locks (flock), which this system does not have") from None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise ExportError(f"{folder} is in use by another export; wait for it to end") from None
    return SharedDescriptor(descriptor)
