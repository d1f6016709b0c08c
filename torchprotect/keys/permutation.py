"""The secret order of the blocks of an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from torchprotect.keys._base import BlockKey, as_size, require_division, require_permutation, require_root
from torchprotect.keys._random import random_bytes, random_permutation
from torchprotect.keys._secret import secret_fields


@secret_fields("order", "root")
@dataclass(frozen=True, eq=False, repr=False)
class PermutationKey(BlockKey):
    """A secret order of blocks: block ``order[i]`` of the plain image is placed at position ``i``.

    Attributes:
        image_size: ``(H, W)`` in pixels.
        block_size: ``(h, w)`` in pixels.
        order: int64 ``[positions]``; positions are numbered row by row.
        root: uint8 ``[32]``, from which sub-keys are derived.
    """

    kind: ClassVar[str] = "permutation"
    image_size: tuple[int, int]
    block_size: tuple[int, int]
    order: Tensor
    root: Tensor

    def __post_init__(self) -> None:
        require_division(self.image_size, self.block_size)
        require_root(self.root)
        require_permutation("order", self.order, self.positions)

    @classmethod
    def generate(cls, *, image_size: tuple[int, int], block_size: tuple[int, int]) -> "PermutationKey":
        """Generate a uniformly random order from the operating system's entropy.

        Args:
            image_size: ``(H, W)`` in pixels.
            block_size: ``(h, w)`` in pixels.

        Raises:
            BlockSizeError: the blocks do not divide the image.
        """
        image_size, block_size = as_size(image_size), as_size(block_size)
        require_division(image_size, block_size)
        positions = (image_size[0] // block_size[0]) * (image_size[1] // block_size[1])
        return cls(image_size, block_size, random_permutation(positions), random_bytes(32))

    @property
    def inverse_order(self) -> Tensor:
        """The inverse order, which restores the blocks: int64 ``[positions]``."""
        return self._computed_once("inverse_order", self.order.argsort)

    @property
    def params(self) -> dict[str, Any]:
        """``image_size`` and ``block_size``."""
        return {"image_size": list(self.image_size), "block_size": list(self.block_size)}

    def tensors(self) -> dict[str, Tensor]:
        """``order`` and ``root``."""
        return {"order": self.order, "root": self.root}

    @classmethod
    def from_parts(cls, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "PermutationKey":
        """Rebuild the key."""
        parts: dict[str, Any] = {name: as_size(size) for name, size in params.items()}
        return cls(**{**parts, **tensors})
