"""The cloud's answers, cached on disk so that none is paid for twice."""

import hashlib
import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from torchprotect.errors import CloudError, InputRangeError, InputShapeError
from torchprotect.owsd._database import Database
from torchprotect.owsd._prepare import require_images

_SCHEMA = (
    "CREATE TABLE sets (id INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL, cloud TEXT NOT NULL,"
    " length INTEGER NOT NULL, UNIQUE (fingerprint, cloud))",
    "CREATE TABLE answers (of_set INTEGER NOT NULL REFERENCES sets (id), image TEXT NOT NULL, vector BLOB NOT NULL,"
    " checksum INTEGER NOT NULL, UNIQUE (of_set, image))",
)
_INSERT = "INSERT INTO answers (of_set, image, vector, checksum) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
_SELECT = "SELECT image, vector, checksum FROM answers WHERE of_set = ? AND image IN (SELECT value FROM json_each(?))"


def image_ids(images: Tensor) -> list[str]:
    """Compute the id of each scrambled image: the SHA-256 of its shape and bytes, as 64 hex digits.

    Equal images have equal ids, in any batch and at any index.

    Args:
        images: uint8 ``[N, 3, H, W]``.
    """
    require_images(images)
    shape = struct.pack("<3Q", *images.shape[1:])
    rows = images.detach().cpu().contiguous().numpy()
    return [hashlib.sha256(shape + row.tobytes()).hexdigest() for row in rows]


class AnswerCache:
    """A file of answered vectors, by key, cloud and scrambled image; threads and processes can share it.

    An answer is on disk when :meth:`put` returns, so that a run that is interrupted afterwards loses nothing it paid
    for. The file holds the answers unencrypted: with the right inference network they reveal labels.

    Args:
        path: path of the file, an SQLite database; created with mode 0600 if it does not exist. Use a local disk:
            network file systems often have no working locks.
        wait: seconds to wait for other processes that use it.

    Raises:
        InputRangeError: ``wait`` is not a number of seconds.
        CloudError: the file cannot be created, is of another kind, or is damaged.
    """

    def __init__(self, path: str | os.PathLike[str], *, wait: float = 30.0) -> None:
        self.path = Path(path)
        self._database = Database(self.path, "cache of answers", 0x74616E73, 2, _SCHEMA, CloudError, wait)
        self._database.create()
        with self._database.transaction():
            pass

    def __repr__(self) -> str:
        return f"AnswerCache({str(self.path)!r})"

    def get(self, fingerprint: str, cloud: str, ids: Sequence[str]) -> dict[str, Tensor]:
        """Return the cached answers for some images.

        Args:
            fingerprint: fingerprint of the key that the images were scrambled with.
            cloud: name of the cloud, the same as in :meth:`put`.
            ids: from :func:`image_ids`; duplicates are allowed.

        Returns:
            float32 ``[V]`` by id; ids without an answer are missing.

        Raises:
            CloudError: the file is locked, missing or damaged.
        """
        with self._database.transaction() as connection:
            found = _find(connection, fingerprint, cloud)
            if found is None or not ids:
                return {}
            rows = connection.execute(_SELECT, (found[0], json.dumps(list(ids)))).fetchall()
        for image, blob, checksum in rows:
            fits = isinstance(blob, bytes) and len(blob) == 4 * found[1]
            if not fits or _checksum(fingerprint, cloud, image, blob) != checksum:
                raise self._database.damaged("an answer does not match its checksum")
        numbers = np.frombuffer(b"".join(blob for _, blob, _ in rows), "<f4").astype(np.float32)
        vectors = torch.from_numpy(numbers).reshape(len(rows), found[1])
        return {image: vector for (image, _, _), vector in zip(rows, vectors, strict=True)}

    def put(self, fingerprint: str, cloud: str, ids: Sequence[str], vectors: Tensor) -> None:
        """Store answers, all of them or none; they are on disk when this returns. Existing answers are kept.

        Args:
            fingerprint: fingerprint of the key that the images were scrambled with.
            cloud: name of the cloud and its model.
            ids: from :func:`image_ids`.
            vectors: floating point ``[N, V]``, finite, one for each id.

        Raises:
            InputShapeError: there is not one vector for each id, or earlier vectors of this cloud have another length.
            InputRangeError: vectors are NaN or infinite.
            CloudError: the file is locked, missing or damaged, or the disk is full.
        """
        if vectors.ndim != 2 or len(vectors) != len(ids) or not vectors.numel() or not vectors.is_floating_point():
            raise InputShapeError(
                f"floating-point vectors [{len(ids)}, V], at least one, are needed, not {vectors.dtype} "
                f"{list(vectors.shape)}"
            )
        kept = vectors.detach().to("cpu", torch.float32)
        if not bool(kept.isfinite().all()):
            raise InputRangeError("answers must be finite; some are NaN or infinite")
        blobs = [row.tobytes() for row in kept.contiguous().numpy().astype("<f4")]
        with self._database.transaction() as connection:
            number = self._set(connection, fingerprint, cloud, vectors.shape[1])
            pairs = zip(ids, blobs, strict=True)
            rows = [(number, image, blob, _checksum(fingerprint, cloud, image, blob)) for image, blob in pairs]
            connection.executemany(_INSERT, rows)

    def forget(self, fingerprint: str) -> int:
        """Delete all answers under a key, of every cloud, and return their number.

        They are overwritten in the file. Copies that the disk itself or a backup keeps are not.
        """
        with self._database.transaction() as connection:
            connection.execute("PRAGMA main.secure_delete = ON")
            numbers = [
                row[0] for row in connection.execute("SELECT id FROM sets WHERE fingerprint = ?", (fingerprint,))
            ]
            gone = sum(connection.execute("DELETE FROM answers WHERE of_set = ?", (each,)).rowcount for each in numbers)
            connection.execute("DELETE FROM sets WHERE fingerprint = ?", (fingerprint,))
        return gone

    def _set(self, connection: sqlite3.Connection, fingerprint: str, cloud: str, length: int) -> int:
        """Return the number under which the answers for a key and a cloud are filed."""
        row = (fingerprint, cloud, length)
        connection.execute("INSERT INTO sets (fingerprint, cloud, length) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
        found = _find(connection, fingerprint, cloud)
        if found is None:
            raise self._database.damaged("a set of answers cannot be found again")
        if found[1] != length:
            raise InputShapeError(
                f"answers of the cloud '{cloud}' under key {fingerprint[:12]} had {found[1]} numbers before, and now "
                f"have {length}: another model needs another name"
            )
        return found[0]


def _checksum(fingerprint: str, cloud: str, image: str, blob: bytes) -> int:
    """Return a checksum of an answer with its key, cloud and image."""
    return zlib.crc32(blob, zlib.crc32(json.dumps([fingerprint, cloud, image]).encode()))


def _find(connection: sqlite3.Connection, fingerprint: str, cloud: str) -> tuple[int, int] | None:
    query = "SELECT id, length FROM sets WHERE fingerprint = ? AND cloud = ?"
    row = connection.execute(query, (fingerprint, cloud)).fetchone()
    return row
