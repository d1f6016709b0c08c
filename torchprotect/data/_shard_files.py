"""Reading images at any place in shards on disk, many in one call."""

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from torchprotect.data._layout import Layout
from torchprotect.data._stored import damage
from torchprotect.data.store import Store
from torchprotect.errors import VerificationError
from torchprotect.ops import StoredError, StoredImages

_OPEN_FILES = 128  # of a thread; shards beyond that are closed and opened again


def path_in(store: Store, name: str) -> str:
    """Return the absolute path of a file in a folder: a process may change its own folder later."""
    return str(Path(store.path_of(name)).absolute())


class FileState(NamedTuple):
    """What tells that a file is the one that was read before, and was not written to since."""

    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, path: str) -> "FileState":
        """Return the state of a file."""
        result = os.stat(path)  # noqa: PTH116 - of many files for each batch
        return cls(result.st_dev, result.st_ino, result.st_size, result.st_mtime_ns)


class ShardFiles:
    """Shards on disk whose images are stored alike. Can be pickled; workers open the files by their paths.

    Args:
        paths: of the shards.
        states: what they were when their hashes were compared.
        layout: of the images.
    """

    def __init__(self, paths: list[str], states: list[FileState], layout: Layout) -> None:
        self._paths, self._states, self._layout = paths, states, layout
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
        self._require_unchanged(shards)
        return self._layout.as_images(pixels[0] if few else np.concatenate(pixels))

    def _read(self, shards: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return pixels of images in few shards."""
        files, reader = self._mine()
        try:
            return reader.read(files.descriptors(shards.tolist()), offsets)
        except StoredError as error:
            self._require_unchanged(shards)
            place = f"the image at byte {offsets[error.image]:,} {error.how}"
            raise damage(self._paths[shards[error.image]], place) from None

    def _mine(self) -> "tuple[_OpenFiles, StoredImages]":
        """Return what the calling thread reads with."""
        if not hasattr(self._local, "mine"):
            self._local.mine = _OpenFiles(self._paths), self._layout.reader()
        mine: tuple[_OpenFiles, StoredImages] = self._local.mine
        return mine

    def _require_unchanged(self, shards: NDArray[np.int64]) -> None:
        for shard in set(shards.tolist()):
            path = self._paths[shard]
            try:
                found = FileState.of(path)
            except OSError as error:
                raise VerificationError(f"cannot read {path}: {error.strerror or error}") from error
            if found != self._states[shard]:
                raise damage(path, "it was written to since the export was opened")


class _OpenFiles:
    """Open shards by number.

    Args:
        paths: of the shards.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths, self._opened = paths, dict[int, int]()
        weakref.finalize(self, _close, self._opened)

    def descriptors(self, shards: list[int]) -> NDArray[np.int32]:
        """Return the descriptor of each of these shards; others may be closed."""
        wanted = set(shards)
        missing = wanted - self._opened.keys()
        spare = [shard for shard in self._opened if shard not in wanted]
        for shard in spare[: max(0, len(self._opened) + len(missing) - _OPEN_FILES)]:
            os.close(self._opened.pop(shard))
        for shard in missing:
            self._opened[shard] = self._open(self._paths[shard])
        return np.array([self._opened[shard] for shard in shards], np.int32)

    def _open(self, path: str) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise VerificationError(f"cannot read {path}: {error.strerror or error}") from error


def _close(opened: dict[int, int]) -> None:
    for descriptor in opened.values():
        os.close(descriptor)
