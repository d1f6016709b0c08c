"""Noise of an export: a keyed stream for each sample, so that any worker draws the same at any time."""

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchprotect.errors import ExportError


class KeystreamNoise:
    """Draws uniforms for a batch of samples from AES-256-CTR, one stream a sample.

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
            raise ExportError("a transform drew noise for another number of images than the batch holds")
        zeros = bytes(4 * math.prod(shape[1:]))
        words = np.frombuffer(b"".join(stream.encrypt(zeros) for stream in self._streams), dtype="<u4")
        return torch.from_numpy((words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)).reshape(shape)
