"""The data key of an export: 32 bytes from which everything that seals it is derived."""

import hmac
from functools import cached_property
from typing import Any, BinaryIO, NamedTuple

from torchprotect._files import HashedFile
from torchprotect._json import canonical
from torchprotect.envelope import streaming
from torchprotect.envelope._packages import cryptography
from torchprotect.errors import EnvelopeError
from torchprotect.keys import Key, SecretBytes

SIZE = 32
"""Bytes of a data key."""


class Place(NamedTuple):
    """The identity of a sealed file; it can be decrypted under this identity only.

    Attributes:
        export: digest of the export's plan.
        name: name of the file before it is sealed.
        shards: number of shards of the export.
    """

    export: str
    name: str
    shards: int

    @property
    def data(self) -> bytes:
        """The associated data for the cipher."""
        return canonical(self._asdict())


class DataKey:
    """The data key of one export. ``repr`` does not show it; pickling does not warn, because workers need it."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SIZE:
            raise EnvelopeError(f"a data key has {SIZE} bytes, got {len(secret)}")
        self.secret = SecretBytes(secret)

    @classmethod
    def of_export(cls, key: Key, plan: str, generation: int) -> "DataKey":
        """Derive the data key from the key that signs the export.

        Args:
            key: key of the disguise, or the bundle that signs the plan.
            plan: digest of the plan, in hex.
            generation: a counter that rises whenever an export is sealed again.
        """
        return cls(key.envelope_key(bytes.fromhex(plan), generation))

    def __repr__(self) -> str:
        return "DataKey(...)"

    @cached_property
    def commitment(self) -> str:
        """Hex digest that distinguishes data keys and reveals nothing else."""
        return self._derive("commitment").hex()

    def mac(self, content: bytes) -> str:
        """Return the HMAC-SHA256 of a document, in hex."""
        return hmac.digest(self._manifest_key, content, "sha256").hex()

    def seal(self, content: HashedFile, sink: HashedFile, place: Place) -> None:
        """Seal a file: the same content with the same identity gives the same bytes.

        Args:
            content: the complete file. Salt and nonces come from its hash, so that two contents never share them.
            sink: file to write to.
            place: identity of the file.
        """
        drawn = hmac.digest(self._salt_key, bytes.fromhex(content.sha256) + place.data, "sha512")
        salt, prefix = drawn[: streaming.SALT], drawn[streaming.SALT : streaming.SALT + streaming.PREFIX]
        source, key = content.reread(), self._file_key
        streaming.seal(source, sink, content.size, key=key, salt=salt, prefix=prefix, data=place.data)

    def open(self, file: BinaryIO, place: Place, name: str) -> BinaryIO:
        """Return a sealed file, decrypted; see :func:`torchprotect.envelope.streaming.open_sealed`."""
        return streaming.open_sealed(file, key=self._file_key, data=place.data, name=name)

    @cached_property
    def _file_key(self) -> SecretBytes:
        return self._derive("file")

    @cached_property
    def _salt_key(self) -> SecretBytes:
        return self._derive("salt")

    @cached_property
    def _manifest_key(self) -> SecretBytes:
        return self._derive("manifest")

    def _derive(self, purpose: str) -> SecretBytes:
        kdf, hashes = cryptography("hazmat.primitives.kdf.hkdf"), cryptography("hazmat.primitives.hashes")
        info = f"torchprotect/v1/envelope/{purpose}".encode()
        found: Any = kdf.HKDF(hashes.SHA256(), length=32, salt=None, info=info).derive(self.secret)
        return SecretBytes(found)
