"""Recipients: whoever may open an export. Their public keys, or a passphrase, wrap its data key as age files.

Reference: https://age-encryption.org/v1. ``age --decrypt`` opens the files and prints the 32 bytes of the data key.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchprotect.envelope._packages import pyrage
from torchprotect.envelope.data_key import DataKey
from torchprotect.errors import EnvelopeError, PassphraseError
from torchprotect.keys import SecretBytes

ENVELOPE, PASSPHRASE_ENVELOPE = "envelope.age", "envelope-passphrase.age"
_ADDED = re.compile(r"envelope-([1-9][0-9]{0,8})\.age")
_LARGEST_LIST = 1 << 20  # bytes of a file of recipients
_SECRET = re.compile(r"AGE-SECRET-KEY-|PRIVATE KEY", re.IGNORECASE)


def is_envelope(name: str) -> bool:
    """Return whether a sealed export may hold an envelope of this name."""
    return name in (ENVELOPE, PASSPHRASE_ENVELOPE) or _ADDED.fullmatch(name) is not None


def added_name(number: int) -> str:
    """Return the name of the envelope of recipients that were added later, counted from 1."""
    return f"envelope-{number}.age"


@dataclass(frozen=True)
class Recipients:
    """Whoever may open an export.

    Attributes:
        keys: public keys: ``age1...``, or one line of an ssh public key file (``ssh-ed25519``, ``ssh-rsa``).
        passphrase: in UTF-8, which opens it too; ``None`` for none.
    """

    keys: tuple[str, ...] = ()
    passphrase: SecretBytes | None = None

    @classmethod
    def of(cls, keys: Iterable[str] = (), passphrase: str | None = None) -> "Recipients":
        """Check public keys and a passphrase.

        Raises:
            EnvelopeError: there is none of them, or a public key is malformed.
            PassphraseError: the passphrase is blank.
        """
        if isinstance(keys, str):
            raise EnvelopeError("recipients must be a list of public keys, got one str")
        made = cls(tuple(dict.fromkeys(keys)), None if passphrase is None else SecretBytes(passphrase.encode()))
        del passphrase  # a traceback with local variables would show it
        if not made.keys and made.passphrase is None:
            raise EnvelopeError("there are no recipients: nobody but the key's owner could open the export")
        if made.passphrase is not None and not made.passphrase.strip():
            raise PassphraseError("an empty or blank passphrase protects nothing; give one, or none at all")
        for key in made.keys:
            _parse(key)
        return made

    def wrap(self, data_key: DataKey) -> dict[str, bytes]:
        """Return the envelopes, by the names of their files. Each call returns other bytes."""
        age, found = pyrage(), dict[str, bytes]()
        if self.keys:
            found[ENVELOPE] = age.encrypt(bytes(data_key.secret), [_parse(key) for key in self.keys])
        if self.passphrase is not None:
            found[PASSPHRASE_ENVELOPE] = age.passphrase.encrypt(bytes(data_key.secret), self.passphrase.decode())
        return found


def read_recipients(path: str | os.PathLike[str]) -> list[str]:
    """Read public keys from a file, one in each line; blank lines and those with ``#`` in front are passed over.

    Raises:
        OSError: it cannot be read.
        EnvelopeError: it holds none, or something else.
    """
    with Path(path).open("rb") as file:
        content = file.read(_LARGEST_LIST + 1)
    if len(content) > _LARGEST_LIST:
        raise EnvelopeError(f"{os.fspath(path)} is no list of recipients: it is larger than {_LARGEST_LIST:,} bytes")
    lines = [line.strip() for line in content.decode(errors="replace").splitlines()]
    keys = [line for line in lines if line and not line.startswith("#")]
    if not keys:
        raise EnvelopeError(f"{os.fspath(path)} lists no recipients")
    for key in keys:
        _parse(key)
    return keys


def _parse(key: str) -> Any:
    """Return a public key as pyrage has it."""
    if not isinstance(key, str):
        raise EnvelopeError(f"a recipient must be a str, got {type(key).__name__}")
    if _SECRET.search(key):
        raise EnvelopeError("a recipient is a public key, but a secret one was given; it is not repeated here")
    age = pyrage()
    kind = age.ssh.Recipient if key.startswith("ssh-") else age.x25519.Recipient
    try:
        return kind.from_str(key)
    except age.RecipientError as error:
        raise EnvelopeError(
            f"{_shortened(key)} is no recipient ({error}): expected age1... from `torchprotect keygen identity` or "
            "age-keygen, or a line of an ssh public key file (ssh-ed25519 or ssh-rsa)"
        ) from None


def _shortened(key: str) -> str:
    return repr(key if len(key) <= 40 else f"{key[:30]}...")
