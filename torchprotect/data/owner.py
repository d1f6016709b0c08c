"""The owner's file of an export: names, encrypted under a sub-key of the key."""

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from json.encoder import encode_basestring_ascii  # json.dumps would set itself up again for each of millions of names
from typing import Any, NamedTuple

from torchprotect.errors import VerificationError
from torchprotect.keys import Key

OWNER = "owner.sealed"
"""Name of the owner's file in an export."""

LARGEST = 1 << 33  # bytes
_FORMAT, _VERSION = "torchprotect-owner", 1
_SMALLEST = 1 << 12
_TAG, _LENGTH = 16, 8  # bytes


class Original(NamedTuple):
    """Where a sample came from in the source.

    Attributes:
        place: its index in the source.
        name: its name within the source, such as a path below its root.
    """

    place: int
    name: str


@dataclass(frozen=True)
class Owner:
    """The content of an owner's file: facts about an export that only its owner may know.

    Attributes:
        source: description of the source.
        class_names: names of the plain class numbers, from 0 up; ``None`` if classes have no names.
        originals: where each sample came from, by the sample's id.
        labels: digest of the plain labels of the source, if they were known in advance.
        in_class_folders: whether each name begins with the name of the sample's class, as in an image folder.
    """

    source: str
    class_names: tuple[str, ...] | None
    originals: Mapping[str, Original]
    labels: str | None = None
    in_class_folders: bool = False

    def __repr__(self) -> str:
        return f"Owner({len(self.originals):,} names)"


def encode_owner(owner: Owner, originals: Iterable[tuple[str, Original]]) -> bytearray:
    """Return the text of an owner's file: JSON in ASCII.

    Escapes preserve names that are not text, whose bytes Python represents as unpaired surrogates.

    Args:
        owner: everything except the samples.
        originals: the samples, in the order in which they are written; there may be millions.
    """
    compact = partial(json.dumps, separators=(",", ":"))
    before = {"class_names": owner.class_names, "format": _FORMAT, "in_class_folders": owner.in_class_folders}
    after = {"source": owner.source, "version": _VERSION}
    text = bytearray(f'{compact(before | {"labels": owner.labels})[:-1]},"originals":{{'.encode())
    for number, (identity, (place, name)) in enumerate(originals):
        text += f'{"," if number else ""}"{identity}":[{place},{encode_basestring_ascii(name)}]'.encode()
    text += f"}},{compact(after)[1:]}".encode()
    return text


def seal_owner(text: bytearray, key: Key, plan: str) -> bytes:
    """Encrypt by AES-SIV (RFC 5297). Equal text gives equal bytes; their number is a power of two and 16 more.

    Args:
        text: from :func:`encode_owner`.
        key: key of the export.
        plan: digest of the plan of the open export, 64 hex digits: the file opens beside no other plan.
    """
    size = max(_SMALLEST, 1 << (_LENGTH + len(text) - 1).bit_length())
    padded = (struct.pack("<Q", len(text)) + text).ljust(size, b"\0")
    ciphertext, tag = _cipher(key, plan).encrypt_and_digest(padded)
    return bytes(tag + ciphertext)


def open_owner(content: bytes, key: Key, plan: str, path: str) -> Owner:
    """Decrypt the file.

    Args:
        content: content of the file.
        key: key of the export.
        plan: digest of the plan of the open export.
        path: path of the file, for error messages.

    Raises:
        VerificationError: it was changed, or belongs to another key or plan.
    """
    try:
        padded = _cipher(key, plan).decrypt_and_verify(content[_TAG:], content[:_TAG])
    except ValueError:
        raise VerificationError(f"{path} was changed, or it belongs to another key or export") from None
    (length,) = struct.unpack_from("<Q", padded)
    document = json.loads(padded[_LENGTH : _LENGTH + length])
    if (document["format"], document["version"]) != (_FORMAT, _VERSION):
        raise VerificationError(f"{path} has another version than {_VERSION}; use the torchprotect that wrote it")
    names = document["class_names"]
    originals = {identity: Original(*each) for identity, each in document["originals"].items()}
    classes = None if names is None else tuple(names)
    return Owner(document["source"], classes, originals, document["labels"], document["in_class_folders"])


def _cipher(key: Key, plan: str) -> Any:
    from Crypto.Cipher import AES

    cipher = AES.new(key.owner_key(), AES.MODE_SIV)
    cipher.update(bytes.fromhex(plan))
    return cipher
