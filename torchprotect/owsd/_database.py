"""A small SQLite file that is opened for each use, so that threads, forks and other processes can share it."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torchprotect._files import sync_folder, take_name, temporary_name
from torchprotect._inputs import require_number
from torchprotect.errors import ProtectError

_LONGEST = 1_000_000  # seconds; SQLite counts milliseconds in 32 bits


@dataclass(frozen=True)
class Database:
    """One file. Every use is a transaction, which waits for others to end and is on disk when it ends.

    Attributes:
        path: path of the file.
        what: name of this kind of file, for messages.
        application: number in the file's header that identifies this kind of file.
        version: version of its tables; others are refused.
        schema: statements that create the tables.
        error: class of all errors raised about the file.
        wait: seconds to wait for other users of the file.

    Raises:
        InputRangeError: ``wait`` is not a number of seconds from 0 to a million.
    """

    path: Path
    what: str
    application: int
    version: int
    schema: tuple[str, ...]
    error: type[ProtectError]
    wait: float

    def __post_init__(self) -> None:
        require_number("wait, in seconds,", self.wait, at_least=0, at_most=_LONGEST)

    def create(self) -> None:
        """Create the file, readable by its owner only, unless it exists; it is renamed into place with its tables."""
        if self.path.exists():
            return
        with self._errors():
            temporary = self.path.with_name(temporary_name())
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            try:
                with self._connect(temporary) as connection:
                    connection.execute("BEGIN IMMEDIATE")
                    for statement in self.schema:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {self.application}")
                    connection.execute(f"PRAGMA user_version = {self.version}")
                    connection.execute("COMMIT")
                with contextlib.suppress(FileExistsError):  # another process was faster
                    take_name(temporary, self.path)
            finally:
                temporary.unlink(missing_ok=True)
            sync_folder(self.path.parent)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lock the file for the length of the block; roll back what was written if the block raises."""
        with self._errors(), self._connect(self.path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._require_kind(connection)
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def damaged(self, how: str) -> ProtectError:
        """Return the error for damaged content."""
        return self.error(f"the {self.what} {self.path} is damaged: {how}; restore a copy of it, or start a new one")

    @contextlib.contextmanager
    def _connect(self, path: Path) -> Iterator[sqlite3.Connection]:
        # mode=rw: do not replace a deleted file by an empty one
        uri = f"{path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=self.wait, isolation_level=None)
        with contextlib.closing(connection):
            connection.execute("PRAGMA synchronous = EXTRA")  # FULL, and the end of the journal is flushed too
            yield connection

    def _require_kind(self, connection: sqlite3.Connection) -> None:
        kind, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if kind != self.application:
            raise self.error(f"{self.path} is not a {self.what}; give another path, this file is left unchanged")
        if version != self.version:
            advice = "update it" if version > self.version else "begin a new one"
            raise self.error(
                f"the {self.what} {self.path} has version {version}, this torchprotect knows {self.version}: {advice}"
            )

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._operational(error) from error
        except sqlite3.NotSupportedError as error:
            raise self.error(f"the {self.what} {self.path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(f"{error}") from error
        except OSError as error:
            raise self.error(f"the {self.what} {self.path} cannot be created: {error.strerror}") from error

    def _operational(self, error: sqlite3.OperationalError) -> ProtectError:
        if "locked" in str(error):
            return self.error(
                f"the {self.what} {self.path} has been in use by another process for {self.wait:g} s; try again, or "
                "look for a process that hangs"
            )
        if not self.path.exists():
            return self.error(f"the {self.what} {self.path} is missing: restore it")
        if any(sign in str(error) for sign in ("no such table", "no such column", "has no column named")):
            return self.damaged(f"{error}")
        return self.error(f"the {self.what} {self.path} cannot be used: {error}")
