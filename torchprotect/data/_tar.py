"""USTAR files of names and contents alone, without owner or time: a minimal writer and a strict reader."""

from functools import cache
from typing import Any

BLOCK = 512
_RECORD = 20 * BLOCK
_NAME_LIMIT = 100


@cache
def _frame(size: int) -> tuple[bytes, bytes, int]:
    """Return a header for this size before and after its checksum, without the name, and the sum over both."""
    before = b"0000644\0" + b"0000000\0" * 2 + b"%011o\0" % size + b"00000000000\0"  # mode, uid, gid, size, time
    after = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2 + bytes(167)
    return before, after, sum(before) + sum(after) + 8 * ord(" ")


def member_header(name: bytes, size: int) -> bytes:
    """Return the 512-byte header of one regular file: owner and time 0, mode 0644."""
    if len(name) > _NAME_LIMIT or size >= 8**11:
        raise ValueError("a member's name has at most 100 bytes and its content less than 8 GiB")
    before, after, checksum = _frame(size)
    return name.ljust(_NAME_LIMIT, b"\0") + before + b"%06o\0 " % (checksum + sum(name)) + after


def parse_header(block: bytes) -> tuple[str, int]:
    """Return name and size of a member whose header :func:`member_header` made.

    Raises:
        ValueError: it is any other header.
    """
    name = block[:_NAME_LIMIT].rstrip(b"\0")
    size = int(block[124:135], 8)
    if size < 0 or member_header(name, size) != block:
        raise ValueError("not a header that an export writes")
    return name.decode("ascii"), size


class TarStream:
    """Writes members to an open file.

    Args:
        file: anything with a method ``write``.
    """

    def __init__(self, file: Any) -> None:
        self._file, self._size = file, 0

    def write(self, members: list[tuple[str, bytes]]) -> None:
        """Append members, in one write."""
        parts = []
        for name, content in members:
            parts += [member_header(name.encode(), len(content)), content, bytes(-len(content) % BLOCK)]
        self._put(b"".join(parts))

    def finish(self) -> None:
        """Write the end of the archive."""
        self._put(bytes(2 * BLOCK + -(self._size + 2 * BLOCK) % _RECORD))

    def _put(self, content: bytes) -> None:
        self._file.write(content)
        self._size += len(content)
