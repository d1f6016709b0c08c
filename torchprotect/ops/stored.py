"""Read images with a common layout from any offset in any file: one call for a batch."""

import ctypes
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchprotect.ops import _kernels

_SCRATCH = 1 << 18  # bytes of files that are read before their pixels are copied: they stay in the cache


class StoredError(Exception):
    """An image is not stored in the expected layout.

    Attributes:
        image: its index among the requested images.
        how: what is wrong with it.
    """

    def __init__(self, image: int, how: str) -> None:
        super().__init__(f"image {image} {how}")
        self.image, self.how = image, how


class StoredImages:
    """Reader of images that all have the same layout in their files. It has its own memory: use one per thread.

    Args:
        parts: lengths in bytes of the consecutive parts of a file, which alternate: not pixels, pixels, not pixels, and
            so on.
        fixed: uint8, the bytes that are not pixels.
        matters: bool, one for each of these bytes: whether it is the same in all files.
        row: bytes in a row of pixels, each of which follows a byte of 0, as in PNG. With 0, pixels follow one another.
    """

    def __init__(self, parts: Sequence[int], fixed: NDArray[np.uint8], matters: NDArray[np.bool_], row: int) -> None:
        self._parts, self._fixed, self._matters, self._row = np.array(parts, np.int64), fixed, matters, row
        self._span, stored = sum(parts), sum(parts[1::2])
        self._size = stored if row == 0 else stored // (1 + row) * row
        self._native = _kernels.function("torchprotect_read_stored", ctypes.c_int64)
        self._scratch = _Scratch(self._parts, max(1, _SCRATCH // self._span)) if self._native is None else None

    def read(self, files: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the pixels of images, ``[N, bytes of an image]``.

        Args:
            files: descriptor of the file of each image.
            offsets: offset of its first byte in that file.

        Raises:
            StoredError: an image is not stored in this layout.
        """
        out = np.empty((len(files), self._size), np.uint8)
        if self._native is None:
            self._read(files.tolist(), offsets.tolist(), out)
            return out
        files, offsets = np.ascontiguousarray(files, np.int32), np.ascontiguousarray(offsets, np.int64)
        counts, fixed = (len(files), len(self._parts)), (self._fixed, self._matters)
        found = self._native(
            _at(files), _at(offsets), ctypes.c_int64(counts[0]), _at(self._parts), ctypes.c_int64(counts[1]),
            *map(_at, fixed), ctypes.c_int64(self._row), _at(out),
        )  # fmt: skip
        if found == -2:
            raise MemoryError
        if found >= 0:
            raise StoredError(found // 2, _OTHER if found % 2 else _CUT)
        return out

    def _read(self, files: list[int], offsets: list[int], out: NDArray[np.uint8]) -> None:
        """Do the work of the compiled function in Python."""
        assert self._scratch is not None  # noqa: S101 - for the type checker
        rows = len(self._scratch.buffers)
        for start in range(0, len(files), rows):
            places = list(zip(files[start : start + rows], offsets[start : start + rows], strict=True))
            for number, ((file, offset), buffers) in enumerate(zip(places, self._scratch.buffers, strict=False)):
                try:
                    found = os.preadv(file, buffers, offset)
                except OSError:
                    found = 0
                if found != self._span:
                    raise StoredError(start + number, _CUT)
            self._unpack(out[start : start + len(places)], start)

    def _unpack(self, out: NDArray[np.uint8], start: int) -> None:
        """Copy the pixels of the files that were read; ``start`` is the index of the first."""
        assert self._scratch is not None  # noqa: S101 - for the type checker
        fixed, pixels = (memory[: len(out)] for memory in self._scratch.memory)
        wrong = (fixed != self._fixed)[:, self._matters].any(1)
        if self._row == 0:
            out[:] = pixels
        else:
            rows = pixels.reshape(len(out), -1, 1 + self._row)
            wrong |= rows[:, :, 0].any(1)
            out.reshape(len(out), -1, self._row)[:] = rows[:, :, 1:]
        if wrong.any():
            raise StoredError(start + int(wrong.argmax()), _OTHER)


_CUT, _OTHER = "cannot be read in full", "is not stored as the others are"


class _Scratch:
    """Memory for a few files, into which the system reads: pixels are separate from the bytes between them.

    Attributes:
        memory: uint8, for each file the bytes that are not pixels, and the pixels.
        buffers: buffers of each file, in the order of its bytes.
    """

    def __init__(self, parts: NDArray[np.int64], files: int) -> None:
        self.memory = [np.empty((files, int(parts[side::2].sum())), np.uint8) for side in (0, 1)]
        self.buffers = [list(self._cut(parts, file)) for file in range(files)]

    def _cut(self, parts: NDArray[np.int64], file: int) -> Iterator[memoryview]:
        used = [0, 0]
        for number, size in enumerate(parts.tolist()):
            side = number % 2
            yield self.memory[side][file, used[side] : used[side] + size].data
            used[side] += size


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
