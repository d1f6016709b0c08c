"""The signature of a finished export, and the digest that stands for it: both of the bytes of its manifest."""

import hashlib
import os

from torchprotect.data import manifest as documents
from torchprotect.data.store import Store
from torchprotect.envelope import Signer, SigningKey
from torchprotect.errors import EnvelopeError, VerificationError

_SIZE = 64  # bytes of a signature


def sign(store: Store, key: SigningKey) -> str | None:
    """Sign a finished export, unless this key has signed it already.

    Returns:
        What its owner should know.
    """
    manifest = documents.read_bytes(store, documents.MANIFEST)
    signature, note = key.sign(manifest), None
    try:
        before = store.read(documents.SIGNATURE, _SIZE)
    except FileNotFoundError:
        pass
    else:
        if before == signature:
            return None
        note = f"{store.path_of(documents.SIGNATURE)} was by another signer, or of another manifest, and was replaced"
    with store.write(documents.SIGNATURE) as upload:
        upload.file.write(signature)
    return note


def require_authentic(store: Store, *, signer: Signer | str | os.PathLike[str] | None, expect: str | None) -> None:
    """Check the manifest of a finished export, byte by byte, against what is known from elsewhere.

    Args:
        store: of the export.
        signer: who must have signed it: a public key, or the path of its PEM file.
        expect: its SHA-256 in hex.

    Raises:
        EnvelopeError: ``expect`` is no digest.
        VerificationError: it is another manifest, or is not signed by the signer.
    """
    if signer is None and expect is None:
        return
    manifest = documents.read_bytes(store, documents.MANIFEST)
    path = store.path_of(documents.MANIFEST)
    if expect is not None:
        if not documents.is_digest(expect.lower()):
            raise EnvelopeError("expected a digest of 64 hex digits, as `torchprotect export` prints it at its end")
        found = hashlib.sha256(manifest).hexdigest()
        if found != expect.lower():
            raise VerificationError(
                f"{path} has the digest {found[:12]}.., expected was {expect[:12].lower()}..: this is another export, "
                "or another state of it"
            )
    if signer is not None:
        _require_signature(store, signer if isinstance(signer, Signer) else Signer.load(signer), manifest)


def _require_signature(store: Store, signer: Signer, manifest: bytes) -> None:
    path = store.path_of(documents.SIGNATURE)
    try:
        signature = store.read(documents.SIGNATURE, _SIZE)
    except FileNotFoundError:
        raise VerificationError(f"{store.location} is not signed: {path} is missing") from None
    if not signer.has_signed(manifest, signature):
        raise VerificationError(f"{path} is not this signer's signature of the manifest: one of the two was replaced")
