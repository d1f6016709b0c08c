"""Who disguises images: keys, and the disguises of the paper with them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from Crypto.Cipher import AES
from Crypto.Random import get_random_bytes
from torch import Tensor, nn

from torchprotect import attacks, functional, keys, transforms

SIZE, PADDED, CLASSES = 28, 32, 10
MARGIN = (PADDED - SIZE) // 2


@dataclass(frozen=True)
class Disguise:
    """A way to disguise images, without its keys.

    Attributes:
        kind: ``"none"``, ``"permute"``, ``"rmt"``, ``"aes"`` (ECB), ``"cbc"`` (one initial vector for all images), or
            ``"cbc-fresh"`` (new ones for each image).
        side: of the blocks, in pixels.
        noise: upper end of the noise in grey levels (RMT); share of salt and pepper (AES).
        unit_pixels: of AES-ECB.
        matrix: of RMT.
        shared: whether one AES key disguises all blocks, in place of one for each position.
    """

    kind: str
    side: int = 7
    noise: float = 0.0
    unit_pixels: int = 16
    matrix: str = "orthogonal"
    shared: bool = False

    @property
    def size(self) -> int:
        """Side of the images: AES needs blocks of whole units, so that images are padded for it."""
        return PADDED if self.kind in ("aes", "cbc", "cbc-fresh") else SIZE


PLAIN = Disguise("none")


class Owner:
    """Whoever has the keys of a disguise. More than one block is also permuted, by one secret order."""

    def __init__(self, disguise: Disguise) -> None:
        self.disguise, self.block_size = disguise, (disguise.side, disguise.side)
        size = {"image_size": (disguise.size, disguise.size), "block_size": self.block_size}
        permuted = disguise.kind == "permute" or disguise.side < disguise.size
        permutation = keys.PermutationKey.generate(**size) if permuted and disguise.kind != "none" else None
        self.order = None if permutation is None else permutation.order
        self._public: transforms.Disguise | None = None
        self._apply = self._steps(size, permutation)

    @property
    def scheme(self) -> attacks.Scheme:
        """What attackers know of the disguise: all but its keys."""
        if self._public is None:
            raise ValueError(f"no attack is made for {self.disguise}")
        return attacks.Scheme.of(self._public.describe())

    def __call__(self, images: Tensor) -> Tensor:
        """Disguise uint8 images ``[N, 1, 28, 28]``."""
        return torch.cat([self._apply(part) for part in pad(images, self.disguise.size).split(1000)])

    def _steps(
        self, size: dict[str, tuple[int, int]], permutation: keys.PermutationKey | None
    ) -> Callable[[Tensor], Tensor]:
        disguise = self.disguise
        if disguise.kind == "rmt":
            key = keys.RMTKey.generate(**size, matrix=disguise.matrix)
            self._public = transforms.RMTDisguise(key, permutation=permutation, noise=disguise.noise)
            return lambda images: functional.rmt_disguise(
                images, key, disguise.noise * torch.rand(images.shape), permutation
            )
        if disguise.kind == "permute":
            self._public = transforms.BlockPermute(permutation)
            return self._public
        if disguise.kind == "none":
            return lambda images: images
        table = keys.AESKey.generate(**size, shared=disguise.shared)
        if disguise.kind.startswith("cbc"):
            vectors = [get_random_bytes(16) for _ in range(table.positions)] if disguise.kind == "cbc" else None
            return functools.partial(_cbc, table=table, vectors=vectors, permutation=permutation)
        ecb = transforms.AESECBDisguise(table, permutation=permutation, unit_pixels=disguise.unit_pixels)
        self._public = ecb
        pepper = transforms.SaltAndPepper(disguise.noise)
        return lambda images: ecb(pepper(images) if disguise.noise else images)


def _cbc(
    images: Tensor, *, table: keys.AESKey, vectors: list[bytes] | None, permutation: keys.PermutationKey | None
) -> Tensor:
    """Run AES-CBC along each block, row-major, with the key of its position; without vectors, each block has a new one.

    With one vector for all images, equal beginnings of a block stay equal; a block of 4 x 4 pixels is one unit, for
    which this is ECB of the unit combined with a constant.
    """
    side, out = table.block_size[0], images.clone()
    for position in range(table.positions):
        row, column = (side * part for part in divmod(position, PADDED // side))
        place = (..., slice(row, row + side), slice(column, column + side))
        key, done = bytes(table.keys[position, 0].tolist()), bytearray()
        for block in images[place].flatten(1).contiguous().numpy():
            vector = get_random_bytes(16) if vectors is None else vectors[position]
            done += AES.new(key, AES.MODE_CBC, vector).encrypt(block.tobytes())
        out[place] = torch.frombuffer(done, dtype=torch.uint8).reshape(images[place].shape)
    return out if permutation is None else functional.block_permute(out, permutation)


def pad(images: Tensor, size: int) -> Tensor:
    """Put black around images ``[N, 1, 28, 28]``."""
    return nn.functional.pad(images, ((size - SIZE) // 2,) * 4)


def crop(images: Tensor) -> Tensor:
    """Take what :func:`pad` put around away."""
    return images if images.shape[-1] == SIZE else images[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
