"""Reading images at any place in shards on disk, many in one call."""

import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from torchprotect.data._layout import Layout
from torchprotect.data._stored import damage
from torchprotect.data.store import Store
from torchprotect.errors import VerificationError

_OPEN_FILES = 128  # of a thread; shards beyond that are closed and opened again
_SCRATCH = 1 << 18  # bytes of files that are read before their pixels are copied: they stay in the cache


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
        files, scratch = self._mine()
        unpacked = self._layout.empty(len(shards))
        places = list(zip(shards.tolist(), offsets.tolist(), strict=True))
        for start in range(0, len(places), scratch.rows):
            some = places[start : start + scratch.rows]
            for (shard, offset), buffers in zip(some, scratch.buffers, strict=False):
                if os.preadv(files[shard], buffers, offset) != self._layout.span:
                    raise damage(self._paths[shard], f"it ends within the image at byte {offset:,}")
            try:
                scratch.unpack_into(unpacked[start : start + len(some)])
            except ValueError as error:
                self._require_unchanged(places)
                between = ", ".join(sorted({self._paths[shard] for shard, _ in some}))
                raise damage(between, f"an image: {error}") from None
        self._require_unchanged(places)
        return self._layout.as_images(unpacked)

    def _mine(self) -> "tuple[_OpenFiles, _Scratch]":
        """Return what the calling thread reads with."""
        if not hasattr(self._local, "mine"):
            self._local.mine = _OpenFiles(self._paths), _Scratch(self._layout)
        mine: tuple[_OpenFiles, _Scratch] = self._local.mine
        return mine

    def _require_unchanged(self, places: Iterable[tuple[int, int]]) -> None:
        for shard in dict.fromkeys(shard for shard, _ in places):
            path = self._paths[shard]
            try:
                found = FileState.of(path)
            except OSError as error:
                raise VerificationError(f"cannot read {path}: {error.strerror or error}") from error
            if found != self._states[shard]:
                raise damage(path, "it was written to since the export was opened")


class _OpenFiles(dict[int, int]):
    """Descriptors of shards by number; files are opened when they are asked for, and the oldest are closed.

    Args:
        paths: of the shards.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__()
        self._paths = paths
        weakref.finalize(self, _close, opened := dict[int, int]())
        self._opened = opened  # the finalizer must not hold this object

    def __missing__(self, shard: int) -> int:
        if len(self) >= _OPEN_FILES:
            oldest = next(iter(self))
            del self._opened[oldest]
            os.close(self.pop(oldest))
        path = self._paths[shard]
        try:
            self[shard] = self._opened[shard] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise VerificationError(f"cannot read {path}: {error.strerror or error}") from error
        return self[shard]


def _close(opened: dict[int, int]) -> None:
    for descriptor in opened.values():
        os.close(descriptor)


class _Scratch:
    """Memory for a few files, which the system writes to: pixels apart from the bytes between them.

    Attributes:
        rows: how many files there is room for.
        buffers: of each file, in the order of its bytes.

    Args:
        layout: of the files.
    """

    def __init__(self, layout: Layout) -> None:
        self.rows = max(1, _SCRATCH // layout.span)
        self._layout = layout
        self._fixed = np.empty((self.rows, layout.fixed), np.uint8)
        self._pixels = np.empty((self.rows, layout.pixels), np.uint8)
        self.buffers = [list(self._parts(row)) for row in range(self.rows)]

    def _parts(self, row: int) -> Iterator[memoryview]:
        used = [0, 0]
        for number, size in enumerate(self._layout.parts):
            side, memory = number % 2, (self._fixed, self._pixels)[number % 2][row]
            yield memoryview(memory[used[side] : used[side] + size])
            used[side] += size

    def unpack_into(self, out: NDArray[np.uint8]) -> None:
        """Copy the pixels of the first ``len(out)`` files."""
        self._layout.unpack(self._fixed[: len(out)], self._pixels[: len(out)], out)
