"""The envelope: encryption of an export's files for recipients, and signatures of its manifest."""

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
