"""Sub-keys of a root secret, by HKDF-SHA256 (RFC 5869)."""

import struct
from typing import Literal

from torchprotect.keys._secret import SecretBytes

Purpose = Literal["id", "order", "noise", "manifest"]


def derive(root: bytes, purpose: str | bytes, *, salt: bytes = b"", size: int = 32) -> SecretBytes:
    """Return the sub-key of ``root`` for one purpose, ``size`` bytes; info ``torchprotect/v1/<purpose>``."""
    from Crypto.Hash import SHA256
    from Crypto.Protocol.KDF import HKDF

    encoded = purpose.encode() if isinstance(purpose, str) else purpose
    subkey = HKDF(root, size, salt, SHA256, context=b"torchprotect/v1/" + encoded)
    assert isinstance(subkey, bytes)  # noqa: S101 - for the type checker: one sub-key gives bytes, several a list
    return SecretBytes(subkey)


def split_purpose(purpose: Purpose, split: str) -> bytes:
    """Return the purpose of a sub-key that belongs to one split; its name is preceded by its length."""
    name = split.encode()
    return f"split/{purpose}/".encode() + struct.pack("<Q", len(name)) + name
