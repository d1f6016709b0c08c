"""Keep finished parts of an audit on disk, so that an interrupted audit continues where it stopped."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from torchprotect._files import atomic_file
from torchprotect._lock import SharedDescriptor, lock_folder

_FORMAT = "torchprotect-audit-part"
_IN_USE = "another audit is writing this report and holds {folder}: wait for it to end, or give this one another name"


class Store:
    """Parts as JSON files in a folder beside the report; each is complete or absent.

    One audit at a time holds the folder, until the store is left as a context; a process that is killed releases it
    too. A part belongs to a digest of the images and the settings; parts of other audits are ignored. The folder holds
    plain pictures for the page, so only its owner may open it.

    Args:
        folder: where parts are kept; nothing is kept when ``None``.
        digest: digest of the audited images and the settings.

    Raises:
        ExportError: another audit holds the folder.
    """

    def __init__(self, folder: Path | None, digest: str) -> None:
        self._folder, self._digest = folder, digest
        self._lock = None if folder is None else _make_and_lock(folder)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.close()

    def load(self, name: str) -> dict[str, Any] | None:
        """Return a finished part, or ``None``."""
        if self._folder is None:
            return None
        try:
            document = json.loads((self._folder / _file_name(name)).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(document, dict) or document.get("digest") != self._digest or document.get("name") != name:
            return None
        part = document.get("part")
        return part if isinstance(part, dict) else None

    def save(self, name: str, part: dict[str, Any]) -> None:
        """Keep a finished part."""
        if self._folder is not None:
            document = {"format": _FORMAT, "digest": self._digest, "name": name, "part": part}
            with atomic_file(self._folder / _file_name(name), mode=0o600) as file:
                file.write(json.dumps(document).encode())

    def clear(self) -> None:
        """Forget all parts."""
        if self._folder is not None:
            for path in self._folder.glob("*.json"):
                path.unlink()

    def remove(self) -> None:
        """Delete the folder."""
        if self._folder is not None:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(self._folder)


def _file_name(part: str) -> str:
    return f"{part.replace(' ', '-')}.json"


def _make_and_lock(folder: Path) -> SharedDescriptor:
    """Lock the folder that currently has the name: an audit that ended meanwhile may have deleted the opened one."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            lock = lock_folder(folder, _IN_USE.format(folder=folder))
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.descriptor), folder.stat()):
                    return lock
            lock.close()
