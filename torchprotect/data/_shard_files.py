"""Random access to images in shards on disk, many in one call."""

import errno
import os
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from torchprotect.data._layout import Layout
from torchprotect.data._stored import damage
from torchprotect.data.store import Store
from torchprotect.errors import ProtectError, StoreError, VerificationError
from torchprotect.ops import StoredError, StoredImages

_OPEN_FILES = 64  # of a thread; shards beyond that are closed and opened again


def path_in(store: Store, name: str) -> str:
    """Return the absolute path of a file in a folder, because a process may change its working directory later."""
    return str(Path(store.path_of(name)).absolute())


class FileState(NamedTuple):
    """Identifies a file with its content, by inode, size and time of the last write."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, result: os.stat_result) -> "FileState":
        """Return the state from the result of ``stat``."""
        return cls(result.st_dev, result.st_ino, result.st_size, result.st_mtime_ns)


class WatchedFiles:
    """Files that must not change.

    Args:
        paths: paths of the files.
        states: their states when their contents were checked.
    """

    def __init__(self, paths: Sequence[str], states: Sequence[FileState]) -> None:
        self.paths, self._states = paths, states

    def require_unchanged(self, numbers: Iterable[int]) -> None:
        """Check some of the files, by their numbers.

        Raises:
            VerificationError: one was written to, replaced or removed.
        """
        for number in numbers:
            path = self.paths[number]
            try:
                self._compare(number, FileState.of(os.stat(path)))  # noqa: PTH116 - of many files for each batch
            except OSError as error:
                raise _unreadable(path, error) from error

    def open(self, number: int) -> int:
        """Return a descriptor of a file.

        Raises:
            VerificationError: it is another file by now.
            StoreError: too many files are open.
        """
        try:
            descriptor = os.open(self.paths[number], os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _unreadable(self.paths[number], error) from error
        try:
            self._compare(number, FileState.of(os.fstat(descriptor)))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _compare(self, number: int, state: FileState) -> None:
        if state != self._states[number]:
            raise damage(self.paths[number], "it was written to since the export was opened")


def _unreadable(path: str, error: OSError) -> ProtectError:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return StoreError(f"cannot open {path}: {error.strerror}; raise the limit, `ulimit -n`, or use fewer threads")
    return VerificationError(f"cannot read {path}: {error.strerror or error}")


class ShardFiles:
    """Shards on disk whose images have a common layout. Can be pickled; workers open the files by their paths.

    Args:
        watched: the shards.
        layout: layout of the images.
    """

    def __init__(self, watched: WatchedFiles, layout: Layout) -> None:
        self._watched, self._layout = watched, layout
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def read(self, shards: NDArray[np.int64], offsets: NDArray[np.int64]) -> torch.Tensor:
        """Return images ``[N, C, H, W]``.

        Args:
            shards: number of the shard of each image.
            offsets: first byte of each image in its shard.

        Raises:
            VerificationError: a shard is gone, was changed since it was opened, or holds something else there.
        """
        few = len(set(shards.tolist())) <= _OPEN_FILES
        step = max(1, len(shards)) if few else _OPEN_FILES
        cuts = range(step, len(shards), step)
        parts = zip(np.split(shards, cuts), np.split(offsets, cuts), strict=True)
        pixels = [self._read(*part) for part in parts]
        self._watched.require_unchanged(set(shards.tolist()))
        return self._layout.as_images(pixels[0] if few else np.concatenate(pixels))

    def _read(self, shards: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return pixels of images in few shards."""
        files, reader = self._mine()
        try:
            return reader.read(files.descriptors(shards.tolist()), offsets)
        except StoredError as error:
            self._watched.require_unchanged(set(shards.tolist()))
            place = f"the image at byte {offsets[error.image]:,} {error.how}"
            raise damage(self._watched.paths[shards[error.image]], place) from None

    def _mine(self) -> "tuple[_OpenFiles, StoredImages]":
        """Return the calling thread's own reader."""
        if not hasattr(self._local, "mine"):
            self._local.mine = _OpenFiles(self._watched), self._layout.reader()
        mine: tuple[_OpenFiles, StoredImages] = self._local.mine
        return mine


class _OpenFiles:
    """Open shards by number.

    Args:
        watched: the shards.
    """

    def __init__(self, watched: WatchedFiles) -> None:
        self._watched, self._opened = watched, dict[int, int]()
        weakref.finalize(self, _close, self._opened)

    def descriptors(self, shards: list[int]) -> NDArray[np.int32]:
        """Return the descriptor of each of these shards; others may be closed."""
        wanted = set(shards)
        missing = wanted - self._opened.keys()
        spare = [shard for shard in self._opened if shard not in wanted]
        for shard in spare[: max(0, len(self._opened) + len(missing) - _OPEN_FILES)]:
            os.close(self._opened.pop(shard))
        for shard in missing:
            self._opened[shard] = self._watched.open(shard)
        return np.array([self._opened[shard] for shard in shards], np.int32)


def _close(opened: dict[int, int]) -> None:
    for descriptor in opened.values():
        os.close(descriptor)
