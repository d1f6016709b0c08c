"""AES keys, one for each block position or one for all."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.errors import BlockSizeError, InputRangeError
from torchprotect.keys._base import (
    BlockKey,
    as_size,
    at_positions,
    is_shared,
    require_division,
    require_key_tensor,
    require_root,
)
from torchprotect.keys._random import random_bytes
from torchprotect.keys._secret import secret_fields
from torchprotect.ops.blocks import divisors

UNIT_PIXELS = (16, 8, 4, 2)
"""Pixels in one cipher unit: 16, or fewer by scaling up 2, 4 or 8 times before the cipher and down after it."""


def usable_units(block_size: tuple[int, int]) -> list[int]:
    """Return the values of ``unit_pixels`` that fit blocks of this size: units never cross the edge of a block."""
    height, width = block_size
    return [n for n in UNIT_PIXELS if (height * width % 16 == 0 if n == 16 else width % n == 0)]


@secret_fields("keys", "root")
@dataclass(frozen=True, eq=False, repr=False)
class AESKey(BlockKey):
    """AES keys: one for each block position (or one for all), and optionally one for each channel.

    Attributes:
        image_size: ``(H, W)`` in pixels.
        block_size: ``(h, w)`` in pixels.
        channels: number of channels, each with its own keys; ``None`` uses the same keys for any number of channels.
        bits: key length: 128, 192 or 256.
        keys: uint8 ``[positions, channels or 1, bits / 8]``.
        root: uint8 ``[32]``, from which sub-keys are derived.
    """

    kind: ClassVar[str] = "aes-ecb"
    image_size: tuple[int, int]
    block_size: tuple[int, int]
    channels: int | None
    bits: int
    keys: Tensor
    root: Tensor

    def __post_init__(self) -> None:
        _require_params(self.image_size, self.block_size, self.channels, self.bits)
        require_root(self.root)
        require_key_tensor("keys", self.keys, torch.uint8, (self.positions, self.channels or 1, self.bits // 8))

    @classmethod
    def generate(
        cls,
        *,
        image_size: tuple[int, int],
        block_size: tuple[int, int],
        channels: int | None = None,
        bits: int = 128,
        shared: bool = False,
    ) -> "AESKey":
        """Generate independent AES keys from the operating system's entropy.

        Args:
            image_size: ``(H, W)`` in pixels.
            block_size: ``(h, w)`` in pixels.
            channels: number of channels, each with its own keys; ``None`` uses the same keys for any number of
                channels.
            bits: key length: 128, 192 or 256.
            shared: use one key at all positions (of each channel, if ``channels`` is given). A network then keeps more,
                and an attacker learns more: equal units have equal code words wherever they lie in the image.

        Raises:
            BlockSizeError: the blocks do not divide the image, or no cipher unit fits them.
            InputRangeError: ``bits`` or ``channels`` is out of range.

        Example::

            key = keys.AESKey.generate(image_size=(32, 32), block_size=(4, 4))
            disguise = transforms.AESECBDisguise(key)
        """
        image_size, block_size = as_size(image_size), as_size(block_size)
        _require_params(image_size, block_size, channels, bits)
        positions = (image_size[0] // block_size[0]) * (image_size[1] // block_size[1])
        keys = at_positions(random_bytes(1 if shared else positions, channels or 1, bits // 8), positions)
        return cls(image_size, block_size, channels, bits, keys, random_bytes(32))

    @cached_property
    def shared(self) -> bool:
        """Whether all positions (at least two) use the same key, determined from the keys themselves."""
        return is_shared(self.keys)

    @property
    def params(self) -> dict[str, Any]:
        """``image_size``, ``block_size``, ``channels`` and ``bits``."""
        return {
            "image_size": list(self.image_size),
            "block_size": list(self.block_size),
            "channels": self.channels,
            "bits": self.bits,
        }

    def tensors(self) -> dict[str, Tensor]:
        """``keys`` and ``root``."""
        return {"keys": self.keys, "root": self.root}

    @classmethod
    def from_parts(cls, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "AESKey":
        """Rebuild the key."""
        parts: dict[str, Any] = {**params, **tensors}
        parts |= {name: as_size(params[name]) for name in ("image_size", "block_size")}
        return cls(**parts)


def require_channels(channels: int | None) -> None:
    """Check a number of channels: ``None`` (keys shared by all channels), or an integer of at least 1."""
    if channels is not None:
        require_int("channels", channels, at_least=1)


def _require_params(image_size: tuple[int, int], block_size: tuple[int, int], channels: int | None, bits: int) -> None:
    require_division(image_size, block_size)
    require_channels(channels)
    if bits not in (128, 192, 256):
        raise InputRangeError(f"bits must be 128, 192 or 256, got {bits!r}")
    if not usable_units(block_size):
        fitting = [(h, w) for h in divisors(image_size[0]) for w in divisors(image_size[1]) if h * w % 16 == 0]
        raise BlockSizeError(
            f"no AES unit fits blocks of {block_size[0]} x {block_size[1]} pixels: 16 pixels do not fill them, and "
            f"smaller units need an even width; for images of {image_size[0]} x {image_size[1]} these block sizes "
            f"hold whole units of 16: {fitting or 'none; pad the image, for example 28 x 28 to 32 x 32'}"
        )
