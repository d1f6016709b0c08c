"""Read the members of untrusted tar archives: bounded reads, one kind of error, no silent truncation."""

import re
import tarfile
from collections.abc import Iterator
from typing import BinaryIO, cast

_HEADER_LIMIT = 1 << 16  # bytes of one read while headers are parsed; extended headers may claim any length
_GLOBAL_LIMIT = 100  # global records: tarfile processes all of them for each member
_LONG_NUMBER = re.compile(rb"[0-9]{64}")  # tarfile's regular expressions take quadratic time on them (CVE-2024-6232)
_CHUNK = 1 << 16


def walk(file: BinaryIO, start: int, end: int) -> Iterator[tarfile.TarInfo]:
    """Yield the members of the archive, or of several archives one after the other, in ``file[start:end]``.

    Offsets of the members count from the start of the file. ``tarfile`` takes a bad header, or the end of the file, for
    the end of the archive; here each archive must end in a block of zeros.

    Raises:
        tarfile.ReadError: the file is truncated or damaged, or a member does not lie within it.
    """
    offset = _skip_zeros(file, start, end)
    while offset < end:
        window = _Window(file, offset, end)
        try:
            with tarfile.open(fileobj=cast(BinaryIO, window), mode="r:") as archive:
                yield from _checked(archive, end)
                ended = archive.offset
        except (tarfile.TarError, EOFError, ValueError, ArithmeticError, LookupError, RecursionError) as error:
            raise tarfile.ReadError(f"damaged after byte {window.tell():,}: {error}") from error
        after = _skip_zeros(file, ended, end)
        if ended == offset or after < min(ended + tarfile.BLOCKSIZE, end) or ended >= end:
            raise tarfile.ReadError(f"truncated or damaged: no member and no end of the archive at byte {ended:,}")
        offset = after


def _checked(archive: tarfile.TarFile, end: int) -> Iterator[tarfile.TarInfo]:
    last = -1
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # keeps memory constant
        holds_data = member.isreg() or member.type not in tarfile.SUPPORTED_TYPES
        if member.offset <= last or member.size < 0 or (holds_data and member.size > end - member.offset_data):
            raise tarfile.ReadError(f"member {member.name!r} does not lie within the file")
        if len(archive.pax_headers) > _GLOBAL_LIMIT:
            raise tarfile.ReadError("too many global records")
        last = member.offset
        yield member


def _skip_zeros(file: BinaryIO, offset: int, end: int) -> int:
    """Return where the first block begins, from ``offset`` on, that is not zero throughout, or ``end``."""
    while offset < end:
        file.seek(offset)
        chunk = file.read(min(_CHUNK, end - offset))
        if not chunk:
            return end
        rest = chunk.lstrip(b"\0")
        if rest:
            return offset + (len(chunk) - len(rest)) // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        offset += len(chunk)
    return end


class _Window:
    """A limited view of an open file for ``tarfile``: from ``offset`` to ``end``, a little at a time.

    It keeps its own position, because reading a member's content changes that of the file.
    """

    def __init__(self, file: BinaryIO, offset: int, end: int) -> None:
        self._file, self._offset, self._end = file, offset, end

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _HEADER_LIMIT:
            raise tarfile.ReadError("a header is too long")
        if not 0 <= self._offset < self._end:
            return b""
        self._file.seek(self._offset)
        found = self._file.read(min(size, self._end - self._offset))
        self._offset += len(found)
        if size > tarfile.BLOCKSIZE and _LONG_NUMBER.search(found):
            raise tarfile.ReadError("an extended header has a number of 64 or more digits")
        return found

    def seek(self, offset: int) -> None:
        self._offset = offset

    def tell(self) -> int:
        return self._offset
