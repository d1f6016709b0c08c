"""Reading whole files that a stranger may have made."""

import stat
from pathlib import Path

from torchprotect.errors import ProtectError


def read_regular_file(path: Path, most: int, error: type[ProtectError]) -> bytes:
    """Return the content of a regular file: pipes and devices, which may block or never end, are not opened.

    Args:
        path: of the file.
        most: bytes that a file of its kind has at most.
        error: raised for anything else than a regular file of that size.

    Raises:
        OSError: the file does not exist or cannot be read.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise error(f"{path} is not a regular file; copy its content into one first")
    if status.st_size > most:
        raise error(f"{path} has {status.st_size:,} bytes; files of this kind have at most {most:,}")
    with path.open("rb") as file:
        return file.read(status.st_size)
