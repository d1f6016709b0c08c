"""Recipients may open an export: age files wrap its data key for their public keys, or for a passphrase.

Reference: https://age-encryption.org/v1. ``age --decrypt`` opens the files and prints the 32 bytes of the data key.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchprotect._inputs import type_name
from torchprotect.envelope._packages import cryptography, pyrage
from torchprotect.envelope.data_key import DataKey
from torchprotect.errors import EnvelopeError, PassphraseError
from torchprotect.keys import SecretBytes

ENVELOPE, PASSPHRASE_ENVELOPE = "envelope.age", "envelope-passphrase.age"
_ADDED = re.compile(r"envelope-([1-9][0-9]{0,8})\.age")
_LARGEST_LIST = 1 << 20  # bytes of a file of recipients
_KEYS_OF_ONE, _MOST_KEYS = 64, 10_000  # public keys in one envelope: opening takes time with the square of their number
_LARGEST, _MOST_STANZAS, _MOST_WORK = 1 << 16, 80, 22  # of an envelope that is opened; work as a power of two
_FIRST_LINE = b"age-encryption.org/v1\n"
_STANZA = re.compile(rb"^-> (\S+)(?: \S+ (\d{1,3}))?", re.MULTILINE)
_KINDS = ("X25519", "ssh-ed25519", "ssh-rsa", "scrypt")
_SECRET = re.compile(r"AGE-SECRET-KEY-|PRIVATE KEY", re.IGNORECASE)


def is_envelope(name: str) -> bool:
    """Return whether a sealed export may hold an envelope of this name."""
    return name in (ENVELOPE, PASSPHRASE_ENVELOPE) or _ADDED.fullmatch(name) is not None


def numbered(number: int) -> str:
    """Return the name of an envelope: 0 is the first one; more follow if there are many recipients."""
    return f"envelope-{number}.age" if number else ENVELOPE


def _stanzas(content: bytes) -> list[tuple[str, str]]:
    """Return kind and scrypt work factor of each stanza of an envelope, which is a recipient or has no meaning."""
    found = _STANZA.findall(content.partition(b"\n---")[0])
    return [(kind.decode(errors="replace"), factor.decode()) for kind, factor in found]


def kinds_of(content: bytes) -> list[str]:
    """Return the kind of each recipient of an envelope, such as ``X25519``; age reveals no more about them."""
    return [kind for kind, _ in _stanzas(content) if kind in _KINDS]


def is_reasonable(content: bytes) -> bool:
    """Return whether an envelope can be opened in reasonable time and memory, because anybody may have added it."""
    if not content.startswith(_FIRST_LINE):  # armoured ones are not read either: their stanzas cannot be counted
        return False
    stanzas = _stanzas(content)
    work = [int(factor) for kind, factor in stanzas if kind == "scrypt" and factor]
    return len(content) <= _LARGEST and len(stanzas) <= _MOST_STANZAS and max(work, default=0) <= _MOST_WORK


@dataclass(frozen=True)
class Recipients:
    """Everybody who may open an export.

    Attributes:
        keys: public keys: ``age1...``, or one line of an ssh public key file (``ssh-ed25519``, ``ssh-rsa``).
        passphrase: a passphrase in UTF-8 that opens it too; ``None`` for none.

    Raises:
        EnvelopeError: there are no recipients, or a public key is malformed.
        PassphraseError: the passphrase is blank.
    """

    keys: tuple[str, ...] = ()
    passphrase: SecretBytes | None = None

    def __post_init__(self) -> None:
        cryptography("exceptions")  # without it nothing can be sealed for them
        if not self.keys and self.passphrase is None:
            raise EnvelopeError("there are no recipients: nobody but the key's owner could open the export")
        if self.passphrase is not None and not self.passphrase.strip():
            raise PassphraseError("an empty or blank passphrase protects nothing; give one, or none at all")
        if len(self.keys) > _MOST_KEYS:
            raise EnvelopeError(f"an export has at most {_MOST_KEYS:,} recipients, got {len(self.keys):,}")
        for key in self.keys:
            _parse(key)

    @classmethod
    def of(cls, keys: Iterable[str] = (), passphrase: str | None = None) -> "Recipients":
        """Make recipients from a list of public keys, and a passphrase as text.

        Raises:
            EnvelopeError: there are no recipients, or a public key is malformed.
            PassphraseError: the passphrase is blank.
        """
        secret = None if passphrase is None else SecretBytes.of_passphrase(passphrase)
        del passphrase  # a traceback with local variables would show it
        if isinstance(keys, str) or not isinstance(keys, Iterable):
            raise EnvelopeError(f"recipients must be a list of public keys, got one {type_name(keys)}")
        listed = [key.strip() if isinstance(key, str) else key for key in keys]
        for key in listed:
            _require_text(key)
        return cls(tuple(dict.fromkeys(listed)), secret)

    def wrap(self, data_key: DataKey) -> dict[str, bytes]:
        """Encrypt a data key: return the envelopes by their file names. Each call returns different bytes."""
        age, found, secret = pyrage(), dict[str, bytes](), bytes(data_key.secret)
        for number, start in enumerate(range(0, len(self.keys), _KEYS_OF_ONE)):
            keys = [_parse(key) for key in self.keys[start : start + _KEYS_OF_ONE]]
            found[numbered(number)] = age.encrypt(secret, keys)
        if self.passphrase is not None:
            found[PASSPHRASE_ENVELOPE] = age.passphrase.encrypt(secret, self.passphrase.decode())
        return found


def read_recipients(path: str | os.PathLike[str]) -> list[str]:
    """Read public keys from a file, one per line; blank lines and lines that begin with ``#`` are ignored.

    Raises:
        OSError: the file cannot be read.
        EnvelopeError: it holds no public key, or something else.
    """
    with Path(path).open("rb") as file:
        content = file.read(_LARGEST_LIST + 1)
    if len(content) > _LARGEST_LIST:
        raise EnvelopeError(f"{os.fspath(path)} is not a list of recipients: it is larger than {_LARGEST_LIST:,} bytes")
    keys = []
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").splitlines(), 1):
        key = line.strip()
        if key and not key.startswith("#"):
            try:
                _parse(key)
            except EnvelopeError as error:
                raise EnvelopeError(f"{os.fspath(path)}, line {number}: {error}") from None
            keys.append(key)
    if not keys:
        raise EnvelopeError(f"{os.fspath(path)} lists no recipients")
    return keys


def _parse(key: str) -> Any:
    """Return a public key as pyrage has it."""
    _require_text(key)
    if _SECRET.search(key):
        raise EnvelopeError("a recipient is a public key, but a secret one was given; it is not repeated here")
    age = pyrage()
    kind = age.ssh.Recipient if key.startswith("ssh-") else age.x25519.Recipient
    try:
        return kind.from_str(key)
    except age.RecipientError:
        raise EnvelopeError(
            f"{_shortened(key)} is not a public key that exports can be sealed for: expected age1.. from `torchprotect "
            "keygen identity` or age-keygen, with nothing behind it, or a whole line of an ssh public key file "
            "(ssh-ed25519 or ssh-rsa; in quotes on the command line)" + _hint(key)
        ) from None


def _require_text(key: Any) -> None:
    if not isinstance(key, str):
        raise EnvelopeError(f"a recipient must be a str, got {type_name(key)}")


def _hint(key: str) -> str:
    if key.endswith(".pub") or os.path.sep in key:
        return ". If this is a file with public keys, give --recipients-file"
    return ". Each recipient stands alone on its line" if len(key.split()) > 1 and key.startswith("age1") else ""


def _shortened(key: str) -> str:
    return repr(key if len(key) <= 80 else f"{key[:76]}...")
