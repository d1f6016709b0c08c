"""Values that an export derives from its key: sample ids, the order of the samples, and the noise of each."""

import hashlib
import hmac
import math
import struct
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchprotect._json import canonical
from torchprotect.errors import ExportError
from torchprotect.keys import SecretBytes


def sample_id(subkey: bytes, name: str, index: int, image: Tensor) -> bytes:
    """Return a sample's id, 16 bytes: HMAC-SHA256 over name, 0, index (uint64 little-endian), SHA-256 of the pixels."""
    pixels = hashlib.sha256(image.numpy().tobytes()).digest()
    message = name.encode(errors="surrogateescape") + b"\0" + struct.pack("<Q", index) + pixels
    return hmac.digest(subkey, message, "sha256")[:16]


def keyed_order(subkey: bytes, count: int) -> NDArray[np.int64]:
    """Return the order in which samples are written: ranks of AES-256-CTR words under the order sub-key.

    Nonce and counter are 0; each index has 8 bytes, little-endian; equal words keep the order of their indices.
    """
    from Crypto.Cipher import AES

    stream = AES.new(subkey, AES.MODE_CTR, nonce=bytes(8)).encrypt(bytes(8 * count))
    return np.frombuffer(stream, dtype="<u8").argsort(kind="stable")


def noise_key(subkey: bytes, described: list[dict[str, Any]]) -> SecretBytes:
    """Return the key of an export's noise: HMAC-SHA256 of the plan's transform under the noise sub-key.

    Exports of one source with other settings thus draw other noise: the same noise at two strengths would cancel out.
    """
    return SecretBytes(hmac.digest(subkey, canonical(described), "sha256"))


class KeystreamNoise:
    """Uniform noise for a batch of samples from AES-256-CTR, one stream for each, so that any worker draws the same.

    The counter block is the first 12 bytes of the sample's id and a 32-bit big-endian counter from 0. Each draw takes
    the next bytes of the stream: 4 little-endian bytes a number, of which the upper 24 bits count.

    Args:
        key: 32 bytes, the export's noise key.
        ids: ids of the samples in the batch, 16 bytes each.
    """

    def __init__(self, key: bytes, ids: list[bytes]) -> None:
        self._key, self._ids = key, ids

    @cached_property
    def _streams(self) -> list[Any]:
        from Crypto.Cipher import AES

        return [AES.new(self._key, AES.MODE_CTR, nonce=sample[:12]) for sample in self._ids]

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        """Return float32 uniforms in [0, 1) of ``shape``, whose first dimension runs over the samples."""
        if shape[0] != len(self._ids):
            raise ExportError(f"a transform drew noise for {shape[0]} images, but the batch holds {len(self._ids)}")
        zeros = bytes(4 * math.prod(shape[1:]))
        words = np.frombuffer(b"".join(stream.encrypt(zeros) for stream in self._streams), dtype="<u4")
        return torch.from_numpy((words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)
