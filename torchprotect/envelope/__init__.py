"""The envelope: encrypt the files of an export for recipients (age), and sign its manifest (Ed25519)."""

from torchprotect.envelope.identities import Identity, Opener, generate_identity
from torchprotect.envelope.recipients import Recipients, read_recipients
from torchprotect.envelope.signing import Signer, SigningKey, generate_signing_key

__all__ = [
    "Identity",
    "Opener",
    "Recipients",
    "Signer",
    "SigningKey",
    "generate_identity",
    "generate_signing_key",
    "read_recipients",
]
