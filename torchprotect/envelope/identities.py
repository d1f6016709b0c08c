"""Identities open envelopes: age identities, ssh keys, a passphrase, or the owner's key of the disguise."""

import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from torchprotect._files import atomic_file
from torchprotect.envelope._packages import pyrage
from torchprotect.envelope.data_key import SIZE, DataKey
from torchprotect.envelope.recipients import PASSPHRASE_ENVELOPE, is_reasonable
from torchprotect.errors import EnvelopeError
from torchprotect.keys import Key, SecretBytes

_LARGEST = 1 << 20  # bytes of a file of identities
_PREFIX = "AGE-SECRET-KEY-1"


class Identity:
    """A secret that opens envelopes: an age identity, an ssh key or a passphrase. ``repr`` shows only its source.

    Args:
        source: where it is from, in words.
        openers: pyrage's identities.
        passphrase: in UTF-8.
    """

    def __init__(self, source: str, openers: Sequence[Any], passphrase: SecretBytes | None = None) -> None:
        self.source, self._openers, self._passphrase = source, openers, passphrase

    def __repr__(self) -> str:
        return f"<identity from {self.source}>"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Identity":
        """Read a file of ``AGE-SECRET-KEY-1...`` lines, or an ssh private key (ed25519 or RSA).

        Raises:
            OSError: the file cannot be read.
            EnvelopeError: it holds no identity, or is itself protected by a passphrase.
        """
        name = os.fspath(path)
        if _PREFIX in name.upper():
            raise EnvelopeError("give an identity by the path of its file, not by the secret itself")
        with Path(path).open("rb") as file:
            content = SecretBytes(file.read(_LARGEST + 1))
        if len(content) > _LARGEST:
            raise EnvelopeError(f"{name} is not a file of identities: it is larger than {_LARGEST:,} bytes")
        if content.startswith((b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE")):
            raise EnvelopeError(f"{name} is encrypted; open it with `age --decrypt` first")
        if content.startswith((b"-----BEGIN PRIVATE KEY", b"-----BEGIN PUBLIC KEY")):
            raise EnvelopeError(f"{name} is a key for signatures, or of another program, and opens nothing")
        if content.startswith(b"-----BEGIN "):
            return cls(name, [_ssh(content, name)])
        lines = [line.strip() for line in content.decode("utf-8-sig", errors="replace").splitlines()]
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise EnvelopeError(f"{name} holds no identity")
        return cls(name, [_age(line, name) for line in found])

    @classmethod
    def of_passphrase(cls, passphrase: str) -> "Identity":
        """Make an identity from a passphrase."""
        secret = SecretBytes.of_passphrase(passphrase)
        del passphrase  # a traceback with local variables would show it
        return cls("a passphrase", [], secret)

    @property
    def is_passphrase(self) -> bool:
        """Whether this is a passphrase, which opens only one envelope."""
        return self._passphrase is not None

    def unwrap(self, envelopes: Mapping[str, bytes]) -> Iterator[bytes]:
        """Yield the content of each envelope that this identity opens.

        Args:
            envelopes: contents of age files, by name.
        """
        for name, content in envelopes.items():
            with contextlib.suppress(pyrage().DecryptError):
                yield self._decrypt(content, by_passphrase=name == PASSPHRASE_ENVELOPE)

    def _decrypt(self, content: bytes, *, by_passphrase: bool) -> bytes:
        age = pyrage()
        if by_passphrase != self.is_passphrase:
            raise age.DecryptError
        if self._passphrase is not None:
            return bytes(age.passphrase.decrypt(content, self._passphrase.decode()))
        return bytes(age.decrypt(content, self._openers))


Opener: TypeAlias = str | os.PathLike[str] | Identity | Key
"""Something that opens a sealed export: the path of a file of identities, an identity, or the key that the export
was made with."""


def open_envelopes(envelopes: Mapping[str, bytes], identities: Sequence[Identity], commitment: str) -> DataKey:
    """Return the data key of an export. Envelopes with other content are ignored, because anybody may have added them.

    Args:
        envelopes: contents of the export's age files, by name.
        identities: identities to try, in this order.
        commitment: commitment to the data key, from the export's manifest.

    Raises:
        EnvelopeError: no identity opens any of the envelopes, or none of them contains the data key of this export.
    """
    usable = {name: content for name, content in envelopes.items() if is_reasonable(content)}
    opened = 0
    for content in (content for identity in identities for content in identity.unwrap(usable)):
        if len(content) == SIZE and (data_key := DataKey(content)).commitment == commitment:
            return data_key
        opened += 1
    if opened:
        raise EnvelopeError("the envelope opens, but the data key in it is not this export's: it is another export's")
    raise EnvelopeError(_why_not(envelopes, identities))


def _why_not(envelopes: Mapping[str, bytes], identities: Sequence[Identity]) -> str:
    """Return why no identity opens any envelope."""
    if not envelopes:
        return "the export has no envelope, so no identity opens it; its owner's key does"
    files = [identity.source for identity in identities if not identity.is_passphrase]
    has_passphrase = PASSPHRASE_ENVELOPE in envelopes
    if not files:
        if not has_passphrase:
            return "the export was not sealed with a passphrase; give the file of an identity (--identity)"
        return f"the passphrase is wrong, or {PASSPHRASE_ENVELOPE} was changed"
    if len(envelopes) == 1 and has_passphrase:
        return "the export was sealed with a passphrase alone; give that (--open-passphrase-file)"
    return (
        f"{' and '.join(files)} cannot open the export: not sealed for this identity, or the envelope was changed. Ask "
        "the export's owner to add its public key with `torchprotect recipients`"
    )


def generate_identity(path: str | os.PathLike[str]) -> str:
    """Write a new age identity to a file with mode 0600, and return its recipient ``age1...``.

    Raises:
        FileExistsError: the file exists; it is never overwritten.
    """
    made = pyrage().x25519.Identity.generate()
    recipient = str(made.to_public())
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    with atomic_file(Path(path), mode=0o600, overwrite=False) as file:
        file.write(f"# created: {now}\n# public key: {recipient}\n{made}\n".encode())
    return recipient


def _age(line: str, name: str) -> Any:
    age = pyrage()
    if line.startswith(("age1", "ssh-")):
        raise EnvelopeError(f"{name} holds a recipient, which is public; the identity that belongs to it is needed")
    try:
        return age.x25519.Identity.from_str(line)
    except age.IdentityError:
        raise EnvelopeError(f"{name} is not a file of identities: expected lines {_PREFIX}..., or an ssh key") from None


def _ssh(content: SecretBytes, name: str) -> Any:
    age = pyrage()
    try:
        return age.ssh.Identity.from_buffer(bytes(content))
    except age.IdentityError as error:
        raise EnvelopeError(
            f"{name} is not an ssh key that can open envelopes ({error}): it must be ed25519 or RSA, and not protected "
            "by a passphrase. `ssh-keygen -p -f COPY` takes the passphrase off a copy; or ask to be added by a key "
            "from `torchprotect keygen identity`"
        ) from None
