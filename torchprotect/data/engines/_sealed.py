"""The task of an export, serialised and encrypted on its way to workers on other machines.

A task holds key material, and a cluster keeps what it is sent: in shared memory, in spill files, in logs. It therefore
receives the task as ciphertext, and the one-time key separately, as an argument that is never stored.
"""

import hashlib
import io
import os
import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchprotect._json import canonical
from torchprotect._lock import SharedDescriptor
from torchprotect._version import __version__
from torchprotect.data._report import ShardReport
from torchprotect.data.engines._base import Task
from torchprotect.data.preparation import decoder_versions
from torchprotect.errors import ExportError, ProtectError
from torchprotect.keys import Key, SecretBytes, reduce_key

_NONCE, _TAG = 12, 16  # bytes


@dataclass(frozen=True, repr=False)
class Sealed:
    """A task as ciphertext, or its digest alone for workers that have opened it before.

    Attributes:
        versions: versions of the driver's packages; a worker must have the same.
        digest: SHA-256 of the ciphertext.
        content: the ciphertext, or ``None``.
    """

    versions: dict[str, str]
    digest: str
    content: bytes | None

    def __repr__(self) -> str:
        return f"<sealed task, {'digest only' if self.content is None else f'{len(self.content):,} bytes'}>"

    @property
    def head(self) -> "Sealed":
        """The digest alone."""
        return replace(self, content=None)


def seal(task: Task[ShardReport]) -> tuple[Sealed, SecretBytes]:
    """Serialise a task and encrypt it under a new key.

    Returns:
        The sealed task, and the key, which must travel apart from it.

    Raises:
        ExportError: the data set, the transform or the source cannot be sent to other processes.
    """
    secret, versions = SecretBytes(os.urandom(32)), _versions(torch_too=task.uses_gradients)
    content = _encrypt(_serialise(task), secret, canonical(versions))
    return Sealed(versions, hashlib.sha256(content).hexdigest(), content), secret


def open_sealed(sealed: Sealed, secret: SecretBytes) -> Task[ShardReport]:
    """Return the task in a worker.

    Raises:
        ExportError: this process has other versions, the ciphertext was changed, or a module of the user is missing.
    """
    _require_same_versions(sealed.versions)
    if sealed.content is None:
        raise ExportError("only the digest of the task was sent")
    content = _decrypt(sealed.content, secret, canonical(sealed.versions))
    import cloudpickle

    try:
        task: Task[ShardReport] = cloudpickle.loads(content)
    except Exception as error:  # unpickling runs code of the user's modules
        raise ExportError(
            f"a worker cannot load the data set or the transform ({type(error).__name__}: {error}); whatever they "
            "import must be installed on every machine"
        ) from None
    return task


def seal_indices(indices: NDArray[np.int64], secret: SecretBytes, shard: int) -> bytes:
    """Encrypt the source indices of a shard, because their order is secret."""
    return _encrypt(indices.astype("<i8").tobytes(), secret, _name(shard))


def open_indices(content: bytes, secret: SecretBytes, shard: int) -> NDArray[np.int64]:
    """Return the source indices of a shard in a worker."""
    return np.frombuffer(_decrypt(content, secret, _name(shard)), "<i8").astype(np.int64)


def _name(shard: int) -> bytes:
    return f"indices of shard {shard}".encode()


def _versions(*, torch_too: bool) -> dict[str, str]:
    """Return the versions that determine the meaning of a task, and the bytes it makes."""
    versions = {"torchprotect": __version__, "Python": ".".join(map(str, sys.version_info[:2]))}
    versions |= {f"decoder {name}": str(version) for name, version in decoder_versions().items()}
    return versions | ({"torch": str(torch.__version__)} if torch_too else {})  # gradients differ between versions


def _require_same_versions(driver: dict[str, str]) -> None:
    worker = _versions(torch_too="torch" in driver)
    for name in driver:
        if driver[name] != worker.get(name):
            raise ExportError(
                f"a worker has {name} {worker.get(name)}, but the export runs with {driver[name]}; install the same "
                "version on every machine"
            )


def _serialise(task: Task[ShardReport]) -> bytes:
    """Return a task as bytes. Classes and functions of the main script are part of them."""
    try:
        import cloudpickle
    except ImportError:
        raise ExportError(
            "sending shards to other machines needs cloudpickle: run pip install cloudpickle, or, in a checkout of "
            'torchprotect, pip install ".[executor]"'
        ) from None

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, SharedDescriptor):
                raise ExportError(
                    "gzipped tar files are unpacked into a file that other machines do not see: unpack them, or leave "
                    "out the engine and take workers"
                )
            return reduce_key(value) if isinstance(value, Key) else super().reducer_override(value)

    file = io.BytesIO()
    try:
        Pickler(file).dump(task)
    except ProtectError:
        raise
    except Exception as error:  # pickling runs code of the user's classes
        raise ExportError(
            f"the data set or the transform cannot be sent to workers ({type(error).__name__}: {error}); what they "
            "hold must be picklable: open files and connections when they are first used"
        ) from None
    return file.getvalue()


def _encrypt(content: bytes, secret: SecretBytes, associated: bytes) -> bytes:
    """Return nonce, tag and ciphertext by AES-256-GCM."""
    from Crypto.Cipher import AES

    nonce = os.urandom(_NONCE)
    cipher = AES.new(secret, AES.MODE_GCM, nonce=nonce)
    cipher.update(associated)
    ciphertext, tag = cipher.encrypt_and_digest(content)
    return nonce + tag + ciphertext


def _decrypt(sealed: bytes, secret: SecretBytes, associated: bytes) -> bytes:
    from Crypto.Cipher import AES

    cipher = AES.new(secret, AES.MODE_GCM, nonce=sealed[:_NONCE])
    cipher.update(associated)
    try:
        return cipher.decrypt_and_verify(sealed[_NONCE + _TAG :], sealed[_NONCE : _NONCE + _TAG])
    except ValueError:
        raise ExportError("what a worker was sent was changed on its way; run the same export again") from None
