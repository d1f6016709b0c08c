"""Writing indexes to files of their own."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchprotect._files import atomic_file
from torchprotect.data.store import is_url, lies_in
from torchprotect.errors import ExportError


def write_indexes(indexes: Sequence[tuple[Path, dict[str, Any]]], *, export: str | os.PathLike[str]) -> None:
    """Write documents about an export as JSON, each whole or not at all.

    Args:
        indexes: path of each file, and what to write to it.
        export: folder or URL of the export they are about.

    Raises:
        ExportError: a file would lie inside the export, or at a URL.
        FileExistsError: there is such a file; none is overwritten.
    """
    for path, _ in indexes:
        _require_outside(path, export)
    for path, document in indexes:
        with atomic_file(path, overwrite=False) as file:
            file.write(json.dumps(document, indent=2).encode("ascii") + b"\n")  # escapes carry any file name


def _require_outside(path: Path, export: str | os.PathLike[str]) -> None:
    if not is_url(path) and lies_in(path.parent, export):
        raise ExportError(f"{path} lies inside the export {export}, which holds no other files: write it elsewhere")
