"""A ledger on disk that counts the images sent under each key."""

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
"""The empirical figure of Savransky et al.: 13,500 pairs were not enough for their autoencoder to rebuild images.
Minus 4,500 images that train an inference network, 9,000 remain to be sent. This is one experiment, not a
guarantee."""

_SCHEMA = (
    "CREATE TABLE used (fingerprint TEXT PRIMARY KEY NOT NULL, images INTEGER NOT NULL, checksum INTEGER NOT NULL)",
)
_WARN_AT = 0.8
_MOST = 2**53


class BudgetWarning(UserWarning):
    """A key has used 80 % of its bound: prepare a new key."""


@dataclass(frozen=True)
class Use:
    """How much of a key's bound is used.

    Attributes:
        used: images counted, including retries and failed attempts.
        bound: largest number of images.
    """

    used: int
    bound: int

    @property
    def left(self) -> int:
        """Number of images that may still be sent; 0 if the bound was exceeded."""
        return max(0, self.bound - self.used)


class Ledger:
    """Count the images sent under each key, in a file that threads and processes can share.

    The file holds fingerprints of keys and numbers of images. A count is on disk before the images are sent, so that
    interrupted ones count too. Deleting the file, or restoring an older one, loses the count.

    Args:
        path: path of the file, an SQLite database; created with mode 0600 if it does not exist. Use a local disk:
            network file systems often have no working locks.
        bound: largest number of images to send under one key. The default is an empirical figure, :data:`PAPER_BOUND`.
        wait: seconds to wait for other processes that write to it.

    Raises:
        InputRangeError: the bound is not an integer of at least 1, or ``wait`` is not a number of seconds.
        LedgerError: the file cannot be created, is of another kind, or is damaged.
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
        """Count images that are about to be sent under a key: all of them, or none if the bound would be exceeded.

        Args:
            fingerprint: fingerprint of the key.
            count: number of images, at least 1.

        Returns:
            The use of the key, including these images.

        Raises:
            InputRangeError: the count is not an integer of at least 1, or the fingerprint is invalid.
            LedgerError: the bound would be exceeded, or the file is locked, missing or damaged. Nothing was counted,
                and nothing may be sent.

        Warns:
            BudgetWarning: with these images, 80 % of the bound are reached. If warnings are errors, nothing was
                counted, and nothing may be sent.
        """
        require_int("count", count, at_least=1)
        _require_fingerprint(fingerprint)
        with self._database.transaction() as connection:
            before = self._read(connection, fingerprint)
            if before + count > self.bound:
                raise LedgerError(
                    f"key {fingerprint[:12]} has been used for {before:,} of {self.bound:,} images, {count:,} more "
                    "would exceed its bound: continue with a new key"
                )
            use = Use(before + count, self.bound)
            row = (fingerprint, use.used, _checksum(fingerprint, use.used))
            connection.execute("INSERT OR REPLACE INTO used (fingerprint, images, checksum) VALUES (?, ?, ?)", row)
            # inside the transaction, so that a warning raised as an error rolls the count back
            if before < _WARN_AT * self.bound <= use.used:
                warnings.warn(
                    f"key {fingerprint[:12]} has been used for {use.used:,} of {self.bound:,} images; prepare the "
                    "next key",
                    BudgetWarning,
                    stacklevel=2,
                )
        return use

    def use(self, fingerprint: str) -> Use:
        """Return the use of a key.

        Raises:
            LedgerError: the file is locked, missing or damaged.
        """
        _require_fingerprint(fingerprint)
        with self._database.transaction() as connection:
            return Use(self._read(connection, fingerprint), self.bound)

    def _read(self, connection: sqlite3.Connection, fingerprint: str) -> int:
        _check(self._database, connection)
        row = connection.execute("SELECT images FROM used WHERE fingerprint = ?", (fingerprint,)).fetchone()
        return int(row[0]) if row else 0


def _check(database: Database, connection: sqlite3.Connection) -> None:
    """Check the whole file, which has one row per key."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise database.damaged(f"{found}")
    for fingerprint, images, checksum in connection.execute("SELECT fingerprint, images, checksum FROM used"):
        counted = type(images) is int and 0 < images < _MOST
        if not counted or not isinstance(fingerprint, str) or checksum != _checksum(fingerprint, images):
            raise database.damaged("a count does not match its checksum")


def _checksum(fingerprint: str, images: int) -> int:
    return zlib.crc32(f"{fingerprint} {images}".encode())


def _require_fingerprint(fingerprint: Any) -> None:
    if not isinstance(fingerprint, str) or not fingerprint.isalnum() or not fingerprint.isascii():
        raise InputRangeError("a fingerprint must be a string of letters and digits, such as key.fingerprint")
