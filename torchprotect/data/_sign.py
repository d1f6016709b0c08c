"""The signature of a finished export, and its digest: both of the bytes of its manifest."""

import hashlib
import os

from torchprotect._inputs import type_name
from torchprotect.data import manifest as documents
from torchprotect.data.store import Store
from torchprotect.envelope import Signer, SigningKey
from torchprotect.errors import EnvelopeError, ExportError, InputTypeError, VerificationError

_SIZE = 64  # bytes of a signature


def sign(store: Store, manifest: bytes, key: SigningKey) -> None:
    """Sign a finished export.

    Args:
        store: store of the export.
        manifest: content of its file, as it was written; what the store holds may have been replaced since.
        key: signs.

    Raises:
        ExportError: somebody else has signed it.
    """
    signature, path = key.sign(manifest), store.path_of(documents.SIGNATURE)
    try:
        store.create(documents.SIGNATURE, signature)
    except FileExistsError:
        if _read_signature(store) != signature:
            raise ExportError(f"{path} is another signature; to sign with this key, delete it first") from None


def read_authentic(store: Store, *, signer: Signer | str | os.PathLike[str] | None, expect: str | None) -> bytes:
    """Read the manifest of a finished export, and check it byte by byte against what is known from elsewhere.

    Args:
        store: store of the export.
        signer: who must have signed it: a public key, or the path of its PEM file.
        expect: its SHA-256 in hex.

    Raises:
        ExportError: the export is not finished.
        EnvelopeError: ``expect`` is not a digest, or ``signer`` no public key.
        VerificationError: it is another manifest, or is not signed by the signer.
    """
    manifest = documents.read_manifest_bytes(store)
    if expect is not None:
        _require_digest(store, expect, manifest)
    if signer is not None:
        if not isinstance(signer, Signer | str | os.PathLike):
            raise InputTypeError(f"signer must be a Signer or the path of its PEM file, got {type_name(signer)}")
        _require_signature(store, signer if isinstance(signer, Signer) else Signer.load(signer), manifest)
    return manifest


def _read_signature(store: Store) -> bytes:
    """Return a signature, or empty bytes for a file that is not one."""
    return store.read(documents.SIGNATURE, _SIZE) if store.stat(documents.SIGNATURE).size == _SIZE else b""


def _require_digest(store: Store, expect: str, manifest: bytes) -> None:
    if not isinstance(expect, str):
        raise InputTypeError(f"expect must be text, got {type_name(expect)}")
    expected, found = expect.lower(), hashlib.sha256(manifest).hexdigest()
    if not documents.is_digest(expected):
        raise EnvelopeError("the digest to expect has 64 hex digits, as `torchprotect export` prints it at its end")
    if found != expected:
        raise VerificationError(
            f"{store.path_of(documents.MANIFEST)} has the digest {found[:12]}.., expected was {expected[:12]}..: this "
            "is another export, or another state of it"
        )


def _require_signature(store: Store, signer: Signer, manifest: bytes) -> None:
    path = store.path_of(documents.SIGNATURE)
    try:
        signature = _read_signature(store)
    except FileNotFoundError:
        raise VerificationError(f"{store.location} is not signed: {path} is missing") from None
    if not signer.has_signed(manifest, signature):
        raise VerificationError(f"{path} is not this signer's signature of the manifest: one of the two was replaced")
