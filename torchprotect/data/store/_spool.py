"""A file that is held back until it is complete: in memory or, if it is large, in an unnamed temporary file."""

import contextlib
import tempfile
from collections.abc import Iterator
from typing import BinaryIO, cast

from torchprotect._files import HashedFile
from torchprotect.errors import StoreError

IN_MEMORY = 64 << 20
"""Largest number of bytes that are kept in memory."""


class SpooledFile(HashedFile):
    """A hashed file whose errors say which folder is full."""

    def write(self, content: bytes | memoryview) -> None:
        """Append to the file."""
        try:
            super().write(content)
        except OSError as error:
            raise StoreError(
                f"cannot keep a shard in {tempfile.gettempdir()} until it is complete: {error.strerror or error}; make "
                "room there, or name another folder in the environment variable TMPDIR"
            ) from error


@contextlib.contextmanager
def spooled_file() -> Iterator[SpooledFile]:
    """Open such a file; it is gone when the block ends."""
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        yield SpooledFile(cast(BinaryIO, file))
