"""The common layout of images in their files: which bytes are pixels, and the values of the other bytes."""

import os
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from torchprotect.data._decode import decode
from torchprotect.data._encode import npy_header
from torchprotect.data._png import stored_parts
from torchprotect.ops import StoredImages

_CHECKSUMS = 8  # bytes behind the pixels of a PNG that depend on them


class Layout:
    """The layout of images of one kind, dtype and shape.

    Attributes:
        kind: ``"png"`` or ``"npy"``.
        span: number of bytes in a file.
        parts: lengths in bytes of the consecutive parts of a file, which alternate: not pixels, pixels, not pixels, and
            so on.
        row_starts: whether each row of pixels begins with a byte of 0, as in PNG.
        dtype: dtype of the images.
        shape: ``(C, H, W)``.

    Args:
        kind: ``"png"`` or ``"npy"``.
        content: content of one file.

    Raises:
        ValueError: an export would not write such a file.
    """

    def __init__(self, kind: str, content: bytes) -> None:
        image = decode(kind, content)
        self.span, self.dtype = len(content), image.dtype
        channels, height, width = self.shape = (image.shape[0], image.shape[1], image.shape[2])
        self.kind, self.row_starts = kind, kind == "png"
        if self.row_starts:
            self.parts: Sequence[int] = stored_parts(channels, height, width)
        else:
            array = image.numpy()
            header = len(npy_header(array.dtype.newbyteorder("<").str, array.shape))
            self.parts = [header, len(content) - header]
        self._fixed, self._matters = self._template(np.frombuffer(content, np.uint8))
        self._beginning = content[: self.parts[0]]

    @property
    def is_readable(self) -> bool:
        """Whether the system can read a file in one call: not on Windows, above about 30 MB, or for an empty image."""
        return hasattr(os, "preadv") and 0 not in self.shape and len(self.parts) <= os.sysconf("SC_IOV_MAX")

    def reader(self) -> StoredImages:
        """Return a reader of such files, for one thread."""
        row = self.shape[0] * self.shape[2] if self.row_starts else 0
        return StoredImages(self.parts, self._fixed, self._matters, row)

    def begins(self, kind: str, content: bytes) -> bool:
        """Return whether a file begins as all files of this layout do, which determines dtype and shape."""
        return kind == self.kind and len(content) == self.span and content.startswith(self._beginning)

    def as_images(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Return the pixels from a reader as images ``[N, C, H, W]``, without a copy; PNG images have channels last."""
        channels, height, width = self.shape
        if self.row_starts:
            return torch.from_numpy(pixels).reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        return torch.from_numpy(pixels.reshape(-1)).view(self.dtype).reshape(-1, channels, height, width)

    def _template(self, content: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the bytes that are not pixels, and which of them do not depend on pixels."""
        ends = np.cumsum(self.parts)
        fixed = np.concatenate(
            [content[end - size : end] for end, size in zip(ends[::2], self.parts[::2], strict=True)]
        )
        matters = np.ones(len(fixed), np.bool_)
        if self.row_starts:
            tail = len(fixed) - self.parts[-1]
            matters[tail : tail + _CHECKSUMS] = False
        return fixed, matters
