"""Signatures of manifests: Ed25519 (RFC 8032) over the bytes of the file, with keys in PEM, as OpenSSL reads them."""

import os
from pathlib import Path
from typing import Any

from torchprotect._files import atomic_file
from torchprotect._inputs import type_name
from torchprotect.envelope._packages import cryptography
from torchprotect.errors import EnvelopeError, InputTypeError

PUBLIC_SUFFIX = ".pub"
_LARGEST = 1 << 16  # bytes of a PEM file


class SigningKey:
    """A secret Ed25519 key that signs manifests; ``repr`` does not show it."""

    def __init__(self, secret: Any) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "SigningKey(...)"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "SigningKey":
        """Read an Ed25519 private key in PEM (PKCS #8).

        Raises:
            OSError: the file cannot be read.
            EnvelopeError: it is not such a key, or is protected by a passphrase.
        """
        serialization = cryptography("hazmat.primitives.serialization")
        found = _load(path, serialization.load_pem_private_key, "Ed25519PrivateKey", password=None)
        return cls(found)

    @classmethod
    def of(cls, given: "SigningKey | str | os.PathLike[str]") -> "SigningKey":
        """Return a signing key that was given directly, or by the path of its file.

        Raises:
            InputTypeError: something else was given.
        """
        if isinstance(given, cls):
            return given
        if not isinstance(given, str | os.PathLike):
            raise InputTypeError(f"signing_key must be a SigningKey or the path of its file, got {type_name(given)}")
        return cls.load(given)

    def sign(self, content: bytes) -> bytes:
        """Return the Ed25519 signature, 64 bytes."""
        signature: bytes = self._secret.sign(content)
        return signature

    @property
    def signer(self) -> "Signer":
        """The corresponding public key."""
        return Signer(self._secret.public_key())


class Signer:
    """The public Ed25519 key of whoever signs manifests."""

    def __init__(self, public: Any) -> None:
        self._public = public

    def __repr__(self) -> str:
        return f"Signer({self._public.public_bytes_raw().hex()[:12]}..)"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Signer":
        """Read an Ed25519 public key in PEM.

        Raises:
            OSError: the file cannot be read.
            EnvelopeError: it is not such a key.
        """
        serialization = cryptography("hazmat.primitives.serialization")
        return cls(_load(path, serialization.load_pem_public_key, "Ed25519PublicKey"))

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        """Return whether a signature of this content was made with this signer's key."""
        try:
            self._public.verify(signature, content)
        except cryptography("exceptions").InvalidSignature:
            return False
        return True


def generate_signing_key(path: str | os.PathLike[str]) -> Path:
    """Write a new signing key to a file with mode 0600, and its public key beside it; return the latter's path.

    Raises:
        FileExistsError: one of the files exists; none is overwritten.
    """
    ed25519 = cryptography("hazmat.primitives.asymmetric.ed25519")
    forms = cryptography("hazmat.primitives.serialization")
    secret = ed25519.Ed25519PrivateKey.generate()
    public = Path(f"{os.fspath(path)}{PUBLIC_SUFFIX}")
    with atomic_file(public, overwrite=False) as file:
        file.write(secret.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo))
        with atomic_file(Path(path), mode=0o600, overwrite=False) as secret_file:
            secret_file.write(secret.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()))
    return public


def _load(path: str | os.PathLike[str], parse: Any, kind: str, **options: Any) -> Any:
    """Read a PEM file and check the kind of its key."""
    name, is_secret = os.fspath(path), kind.endswith("PrivateKey")
    with Path(path).open("rb") as file:
        content = file.read(_LARGEST + 1)
    if is_secret != (b"PRIVATE KEY" in content):
        wanted = "the secret signing key" if is_secret else f"the public key (NAME{PUBLIC_SUFFIX})"
        raise EnvelopeError(f"{name} is not {wanted}; `torchprotect keygen signing` writes both")
    try:
        key = parse(content, **options)
    except (
        ValueError,
        TypeError,
        cryptography("exceptions").UnsupportedAlgorithm,
    ):  # their messages may quote the file
        key = None
    if not isinstance(key, getattr(cryptography("hazmat.primitives.asymmetric.ed25519"), kind)):
        raise EnvelopeError(
            f"{name} is not an Ed25519 key in PEM without a passphrase, as `torchprotect keygen signing` writes"
        )
    return key
