"""Names that mean a file or folder of this machine."""

import os
import re

from torchprotect.errors import ExportError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_PATH_OF_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # pathlib makes one slash of two


def require_local(name: str | os.PathLike[str]) -> None:
    """Refuse URLs, which would otherwise name a folder such as ``s3:`` here.

    Raises:
        ExportError: it is a URL.
    """
    text = os.fspath(name)
    if (_URL if isinstance(name, str) else _PATH_OF_URL).match(text):
        scheme = text.partition(":")[0]
        raise ExportError(f"{text} is a URL, and {scheme}:// is not supported: use a local path, and copy it yourself")
