"""A passphrase around a key file: scrypt, then AES-256-GCM."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torchprotect._json import canonical
from torchprotect.errors import KeyFileError, PassphraseError
from torchprotect.keys._random import random_bytes
from torchprotect.keys._secret import SecretBytes

KIND = "wrapped"
PARAMS: dict[str, Any] = {"cipher": "aes-256-gcm", "kdf": "scrypt", "n": 2**17, "p": 1, "r": 8}
_SHAPES = {"salt": 16, "nonce": 12, "tag": 16}


def _cipher(passphrase: SecretBytes, salt: bytes, nonce: bytes, header: dict[str, str]) -> Any:
    from Crypto.Cipher import AES
    from Crypto.Protocol.KDF import scrypt

    secret = scrypt(passphrase, salt, 32, N=PARAMS["n"], r=PARAMS["r"], p=PARAMS["p"])
    cipher = AES.new(secret, AES.MODE_GCM, nonce=nonce)
    cipher.update(canonical(header))
    return cipher


def wrap(content: bytes, passphrase: SecretBytes, header: dict[str, str]) -> dict[str, Tensor]:
    """Return the tensors of an outer file around ``content``; ``header`` is authenticated with it.

    Raises:
        PassphraseError: the passphrase is empty or blank.
    """
    if not passphrase.decode().strip():
        raise PassphraseError("an empty or blank passphrase protects nothing; give one, or none at all")
    salt, nonce = random_bytes(_SHAPES["salt"]), random_bytes(_SHAPES["nonce"])
    ciphertext, tag = _cipher(passphrase, _bytes(salt), _bytes(nonce), header).encrypt_and_digest(content)
    return {"salt": salt, "nonce": nonce, "tag": _tensor(tag), "ciphertext": _tensor(ciphertext)}


def unwrap(tensors: Mapping[str, Tensor], params: Any, passphrase: SecretBytes, header: dict[str, str]) -> SecretBytes:
    """Return the content of an outer file.

    Raises:
        KeyFileError: parameters other than version 1's, refused before any computation, or a tensor of another shape.
        PassphraseError: wrong passphrase, or a changed file.
    """
    if params != PARAMS:
        raise KeyFileError("the wrapped key file asks for other scrypt or cipher parameters than version 1 uses")
    shapes = {name: (t.dtype, t.ndim, len(t) if t.ndim else 0) for name, t in tensors.items()}
    expected = {name: (torch.uint8, 1, size) for name, size in _SHAPES.items()}
    if shapes.keys() != {*expected, "ciphertext"} or any(shapes[name] != shape for name, shape in expected.items()):
        raise KeyFileError("the wrapped key file does not hold salt, nonce, tag and ciphertext of the right sizes")
    salt, nonce, tag, ciphertext = (_bytes(tensors[name]) for name in ("salt", "nonce", "tag", "ciphertext"))
    try:
        return SecretBytes(_cipher(passphrase, salt, nonce, header).decrypt_and_verify(ciphertext, tag))
    except ValueError:
        raise PassphraseError(
            "the passphrase does not open this key file, or a byte of the file was changed; try your copy of the key"
        ) from None


def _bytes(tensor: Tensor) -> bytes:
    return tensor.numpy().tobytes()


def _tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
