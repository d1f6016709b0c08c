"""How many images have been sent under each key, kept on disk."""

import os
import sqlite3
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchprotect._inputs import require_int
from torchprotect.errors import InputRangeError, LedgerError
from torchprotect.owsd._database import Database

PAPER_BOUND = 9_000
"""The empirical figure of Savransky et al.: 13,500 pairs were not enough for their autoencoder to rebuild images; less
4,500 that train an inference network, 9,000 remain to be sent. Theirs is one experiment; nothing is promised by it."""

_SCHEMA = (
    "CREATE TABLE used (fingerprint TEXT PRIMARY KEY NOT NULL, images INTEGER NOT NULL, checksum INTEGER NOT NULL)",
)
_WARN_AT = 0.8
_MOST = 2**53


class BudgetWarning(UserWarning):
    """A key has used 80 % of its bound: make the next one ready."""


@dataclass(frozen=True)
class Use:
    """How far a key has been used.

    Attributes:
        used: images counted, retries and failed attempts among them.
        bound: images at which it stops.
    """

    used: int
    bound: int

    @property
    def left(self) -> int:
        """Images that may still be sent; 0 also where more was counted than this bound."""
        return max(0, self.bound - self.used)


class Ledger:
    """Counts the images sent under each key, in a file that threads and processes share; each key counts for itself.

    The file holds fingerprints of keys and numbers of images. A count is on disk before an image is sent, so that one
    that was interrupted counts too. Who deletes the file, or puts back an older one, deletes the count with it.

    Args:
        path: of the file, an SQLite database; made, with mode 0600, if it does not exist. On a local disk: network file
            systems often have no working locks.
        bound: images that may be sent under one key. The default is an empirical figure, :data:`PAPER_BOUND`.
        wait: seconds to wait for other processes that write to it.

    Raises:
        InputRangeError: the bound is no whole number of at least 1, or the wait no number of seconds.
        LedgerError: the file cannot be made, is none, or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, bound: int = PAPER_BOUND, wait: float = 30.0) -> None:
        require_int("bound", bound, at_least=1)
        self.path, self.bound = Path(path), bound
        self._database = Database(self.path, "ledger", 0x746C6467, 1, _SCHEMA, LedgerError, wait)
        self._database.create()
        with self._database.transaction() as connection:
            _check(self._database, connection)

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r}, bound={self.bound})"

    def reserve(self, fingerprint: str, count: int) -> Use:
        """Count images that are about to be sent under a key: all of them, or none where the bound would be passed.

        Args:
            fingerprint: of the key.
            count: images, at least 1.

        Returns:
            The use of the key, these images included.

        Raises:
            InputRangeError: the count is no whole number of at least 1, or the fingerprint no name.
            LedgerError: the bound would be passed, or the file is locked, gone or damaged. Nothing was counted, and
                nothing may be sent.

        Warns:
            BudgetWarning: 80 % of the bound are reached with these images. Where warnings are errors, nothing was
                counted, and nothing may be sent.
        """
        require_int("count", count, at_least=1)
        _require_fingerprint(fingerprint)
        with self._database.transaction() as connection:
            before = self._read(connection, fingerprint)
            if before + count > self.bound:
                raise LedgerError(
                    f"key {fingerprint[:12]} has been used for {before:,} of {self.bound:,} images, {count:,} more do "
                    "not fit: go on with a new key"
                )
            use = Use(before + count, self.bound)
            row = (fingerprint, use.used, _checksum(fingerprint, use.used))
            connection.execute("INSERT OR REPLACE INTO used (fingerprint, images, checksum) VALUES (?, ?, ?)", row)
            if before < _WARN_AT * self.bound <= use.used:  # in here: a warning that is an error undoes the count
                warnings.warn(
                    f"key {fingerprint[:12]} has been used for {use.used:,} of {self.bound:,} images; make the next "
                    "key ready",
                    BudgetWarning,
                    stacklevel=2,
                )
        return use

    def use(self, fingerprint: str) -> Use:
        """Return how far a key has been used.

        Raises:
            LedgerError: the file is locked, gone or damaged.
        """
        _require_fingerprint(fingerprint)
        with self._database.transaction() as connection:
            return Use(self._read(connection, fingerprint), self.bound)

    def _read(self, connection: sqlite3.Connection, fingerprint: str) -> int:
        _check(self._database, connection)
        row = connection.execute("SELECT images FROM used WHERE fingerprint = ?", (fingerprint,)).fetchone()
        return int(row[0]) if row else 0


def _check(database: Database, connection: sqlite3.Connection) -> None:
    """Check the whole file, which has one row for each key ever used."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise database.damaged(f"{found}")
    for fingerprint, images, checksum in connection.execute("SELECT fingerprint, images, checksum FROM used"):
        counted = type(images) is int and 0 < images < _MOST
        if not counted or not isinstance(fingerprint, str) or checksum != _checksum(fingerprint, images):
            raise database.damaged("a count and its checksum do not fit")


def _checksum(fingerprint: str, images: int) -> int:
    return zlib.crc32(f"{fingerprint} {images}".encode())


def _require_fingerprint(fingerprint: Any) -> None:
    if not isinstance(fingerprint, str) or not fingerprint.isalnum() or not fingerprint.isascii():
        raise InputRangeError("the fingerprint of a key is a string of letters and digits, as key.fingerprint gives it")
