"""Sub-keys of a root secret, by HKDF-SHA256 (RFC 5869)."""

from typing import Literal

from torchprotect.keys._secret import SecretBytes

Purpose = Literal["id", "order", "noise", "manifest"]


def derive(root: bytes, purpose: str, salt: bytes = b"") -> SecretBytes:
    """Return the 32-byte sub-key of ``root`` for one purpose; info ``torchprotect/v1/<purpose>``."""
    from Crypto.Hash import SHA256
    from Crypto.Protocol.KDF import HKDF

    subkey = HKDF(root, 32, salt, SHA256, context=f"torchprotect/v1/{purpose}".encode())
    assert isinstance(subkey, bytes)  # noqa: S101 - for the type checker: one sub-key gives bytes, several a list
    return SecretBytes(subkey)
