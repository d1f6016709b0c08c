"""Key files, format version 1 of ``docs/reference/key-format.md``: a safetensors file with a checked header."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from torchprotect._files import atomic_file, read_regular, require_safetensors
from torchprotect._json import canonical
from torchprotect.errors import (
    KeyFileError,
    KeyIntegrityError,
    KeyKindError,
    KeyVersionError,
    PassphraseError,
    ProtectError,
)
from torchprotect.keys import _wrap
from torchprotect.keys._base import Key
from torchprotect.keys._secret import SecretBytes, SecretTensors
from torchprotect.keys.bundle import KeyBundle, key_class

FORMAT = "torchprotect-key"
VERSION = 1
_MAX_BYTES = 1 << 32
_FIELDS = {"format", "version", "kind", "params", "fingerprint"}


class Header(NamedTuple):
    """The public header of a key file. ``fingerprint`` is ``None`` if a passphrase protects the file."""

    kind: str
    params: dict[str, Any]
    fingerprint: str | None


def save(key: Key, path: str | os.PathLike[str], passphrase: str | None = None) -> None:
    """Write a key to a new file that only its owner can read; an existing file is never overwritten.

    The file appears under its final name only when it is complete (temporary file, then rename), with mode 0600.

    Args:
        key: any key or bundle.
        path: file to create; any name.
        passphrase: encrypts the file, with scrypt and AES-256-GCM. ``None`` leaves it readable by whoever can open it.

    Raises:
        FileExistsError: ``path`` exists.
        PassphraseError: the passphrase is empty or blank.

    Example::

        key = keys.PermutationKey.generate(image_size=(32, 32), block_size=(8, 8))
        keys.save(key, "permutation.key")
    """
    secret = None if passphrase is None else SecretBytes.of_passphrase(passphrase)
    del passphrase  # a traceback with local variables would show it
    content = _dump(key.kind, key.params, key.tensors(), key.fingerprint)
    if secret is not None:
        header = _header(_wrap.KIND, _wrap.PARAMS)
        content = SecretBytes(safetensors.torch.save(_wrap.wrap(content, secret, header), header))
    target = Path(path)
    with atomic_file(target, mode=0o600, overwrite=False) as file:
        file.write(content)


def load(path: str | os.PathLike[str], passphrase: str | None = None) -> Key:
    """Read a key from a file and check every byte of it against the fingerprint.

    Args:
        path: a file written by :func:`save`.
        passphrase: needed if, and only if, the file was saved with one.

    Raises:
        FileNotFoundError: there is no such file.
        KeyFileError: the file is not a key file, truncated or malformed. Its subclass :class:`KeyVersionError` means a
            newer format version, :class:`KeyIntegrityError` a changed byte.
        KeyKindError: this version does not know the kind of key.
        PassphraseError: the passphrase is missing, superfluous or wrong.
    """
    secret = None if passphrase is None else SecretBytes.of_passphrase(passphrase)
    del passphrase  # a traceback with local variables would show it
    content = _read(Path(path))
    header, tensors = _parse(content, str(path))
    if header.kind == _wrap.KIND:
        if secret is None:
            raise PassphraseError(
                f"{path} is protected by a passphrase; give passphrase=..., on the command line --passphrase-file"
            )
        content = _wrap.unwrap(tensors, header.params, secret, _header(header.kind, header.params))
        header, tensors = _parse(content, str(path))
    elif secret is not None:
        raise PassphraseError(f"{path} is not protected by a passphrase; load it without one")
    return _rebuild(header, tensors, str(path))


def peek(path: str | os.PathLike[str]) -> Header:
    """Read the public header of a key file, without the secrets and without a passphrase.

    The fingerprint is not checked against the content.

    Raises:
        KeyFileError: the file is not a key file, truncated, malformed, or of a newer format version.
    """
    return _parse(_read(Path(path)), str(path))[0]


def _header(kind: str, params: dict[str, Any]) -> dict[str, str]:
    return {"format": FORMAT, "version": str(VERSION), "kind": kind, "params": canonical(params).decode()}


def _dump(kind: str, params: dict[str, Any], tensors: dict[str, Tensor], fingerprint: str) -> SecretBytes:
    header = {**_header(kind, params), "fingerprint": fingerprint}
    return SecretBytes(safetensors.torch.save({name: t.contiguous() for name, t in tensors.items()}, header))


def _read(path: Path) -> SecretBytes:
    require_safetensors(path, "a torchprotect key file", KeyFileError)
    return SecretBytes(read_regular(path, _MAX_BYTES, KeyFileError))


def _parse(content: SecretBytes, name: str) -> tuple[Header, SecretTensors]:
    foreign = KeyFileError(f"{name} is not a torchprotect key file, or it is truncated or damaged")
    try:
        tensors = SecretTensors(safetensors.torch.load(content))
        length = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise foreign from None
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        raise foreign
    version = metadata.get("version", "")
    if not version.isdecimal():
        raise foreign
    if version != str(VERSION):
        raise KeyVersionError(
            f"{name} has key format version {version[:8]}, this package reads {VERSION}; update torchprotect"
        )
    allowed = _FIELDS - {"fingerprint"} if metadata.get("kind") == _wrap.KIND else _FIELDS
    if not set(metadata) <= allowed or not {"kind", "params"} <= set(metadata):
        raise foreign
    try:
        params = json.loads(metadata["params"])
        exact = canonical(params).decode() == metadata["params"]
    except (ValueError, RecursionError):
        raise foreign from None
    if not isinstance(params, dict) or not exact:
        raise foreign
    return Header(metadata["kind"], params, metadata.get("fingerprint")), tensors


def _rebuild(header: Header, tensors: SecretTensors, name: str) -> Key:
    kind: type[Key] = KeyBundle if header.kind == KeyBundle.kind else key_class(header.kind)
    try:
        key = kind.from_parts(header.params, tensors)
    except (KeyKindError, KeyFileError) as error:
        raise type(error)(str(error)) from None  # without the frames whose local variables are tensors of the key
    except (ProtectError, TypeError, ValueError, KeyError, IndexError, AttributeError, RuntimeError):
        raise KeyFileError(f"{name}: the parameters and tensors of the key do not match") from None
    same_parts = key.tensors().keys() == tensors.keys() and canonical(key.params) == canonical(header.params)
    if not same_parts or key.fingerprint != header.fingerprint:
        raise KeyIntegrityError(f"{name} does not match its fingerprint: a byte was changed; use your copy of the key")
    return key
