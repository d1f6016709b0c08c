"""Images under secrets of their own, and what of them does not depend on the secrets.

Matrices, orders and AES keys are drawn from a torch generator, batch by batch. Keys derived from a root and an image id
would look the same to whoever has no root; the AES is real.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as nnf

from torchprotect import ops
from torchprotect.attacks import Scheme
from torchprotect.ops.blocks import from_blocks, to_blocks

Scope = Literal["image", "set"]
_AT_ONCE = 500


class Setting(NamedTuple):
    """A disguise, and for what each of its secrets is drawn anew: for every image, or once for the set.

    Attributes:
        name: ``BlockPermute``, ``RMTDisguise`` (orthogonal matrices) or ``AESECBDisguise`` (units of 16 pixels).
        block: ``(h, w)`` in pixels; images are padded to a multiple of it.
        secrets: of matrices or AES keys.
        order: of the order of the blocks.
        shared: whether the positions of an image share one matrix or key.
        noise: ``u`` of RMT, in grey levels.
    """

    name: str
    block: tuple[int, int]
    secrets: Scope = "image"
    order: Scope = "image"
    shared: bool = False
    noise: float = 0.0

    def scheme(self, images: Tensor) -> Scheme:
        """Return what the attacks of this package are told. None of them knows of secrets per image."""
        size = (images.shape[-2], images.shape[-1])
        white: Literal[255] | None = 255 if self.name == "RMTDisguise" else None
        return Scheme(self.name, size, self.block, permuted=True, noise=self.noise, white=white)


def padded(images: Tensor, block: tuple[int, int]) -> Tensor:
    """Pad images with zeros on all sides until blocks divide them."""
    lacking = [-side % length for side, length in zip(images.shape[-2:], block, strict=True)]
    (top, left) = (each // 2 for each in lacking)
    return nnf.pad(images, (left, lacking[1] - left, top, lacking[0] - top))


def blocks_of(images: Tensor, block: tuple[int, int]) -> Tensor:
    """Cut into ``[N, positions, C, h, w]``."""
    return to_blocks(images, block).movedim(2, 1)


def images_of(blocks: Tensor, size: tuple[int, int]) -> Tensor:
    return from_blocks(blocks.movedim(1, 2), size)


def disguise(images: Tensor, setting: Setting, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Disguise uint8 images ``[N, C, H, W]``; return them and the orders, int64 ``[N, positions]``."""
    blocks = blocks_of(images, setting.block)
    count, positions = blocks.shape[:2]
    sets = (count if setting.secrets == "image" else 1, 1 if setting.shared else positions)
    if setting.name == "RMTDisguise":
        noise = setting.noise * torch.rand(blocks.shape, generator=generator)
        blocks = (blocks + noise) @ _rotations(sets, setting.block[1], generator)[:, :, None]
    elif setting.name == "AESECBDisguise":
        keys = torch.randint(256, (*sets, 16), dtype=torch.uint8, generator=generator)
        blocks = _encrypted(blocks, keys.expand(count, positions, 16))
    orders = torch.rand(count if setting.order == "image" else 1, positions, generator=generator).argsort(1)
    orders = orders.expand(count, positions)
    return images_of(arranged(blocks, orders), (images.shape[-2], images.shape[-1])), orders


def arranged(blocks: Tensor, orders: Tensor) -> Tensor:
    """Gather the blocks of each image ``[N, positions, C, h, w]`` in an order of its own."""
    return blocks.gather(1, orders[:, :, None, None, None].expand_as(blocks))


def _rotations(sets: tuple[int, int], size: int, generator: torch.Generator) -> Tensor:
    """Draw orthogonal matrices evenly: QR of Gaussians, with the signs of R's diagonal."""
    q, r = torch.linalg.qr(torch.randn(*sets, size, size, generator=generator))
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]


def _encrypted(blocks: Tensor, keys: Tensor) -> Tensor:
    """Encrypt each block ``[N, positions, C, h, w]`` with its key ``[N, positions, 16]``, all blocks as one column."""
    column = blocks.flatten(0, 1).movedim(0, 1)  # [C, blocks, h, w]
    done = ops.aes_ecb(column.flatten(1, 2).contiguous(), keys.flatten(0, 1)[:, None].contiguous(), blocks.shape[-2:])
    return done.view(column.shape).movedim(1, 0).view(blocks.shape)


def invariants(images: Tensor, setting: Setting) -> Tensor:
    """Return what the secrets of matrices and AES keys do not change, for each block, float32 ``[N, P, features]``.

    * ``BlockPermute``: the pixels.
    * ``RMTDisguise``: products of the rows of a block, of all channels. With one matrix for an image, also the rows
      along the principal axes of all rows of the image: products of all its rows determine these up to signs, which
      are chosen so that the third moments are positive.
    * ``AESECBDisguise``: which units of a block are equal. With one key for an image, how often it has each unit.
    """
    return torch.cat([_invariants(part, setting) for part in images.split(_AT_ONCE)])


def _invariants(images: Tensor, setting: Setting) -> Tensor:
    blocks = blocks_of(images, setting.block)
    if setting.name == "BlockPermute":
        return blocks.flatten(2).float() / 255
    if setting.name == "AESECBDisguise":
        return _equalities(blocks.flatten(3).unflatten(3, (-1, 16)).flatten(2, 3), setting.shared)
    rows = blocks.float().flatten(2, 3) / 255  # [N, P, C * h, w]
    first, second = torch.triu_indices(rows.shape[2], rows.shape[2])
    products = (rows @ rows.mT)[..., first, second]
    products = products.sign() * products.abs().sqrt()
    return torch.cat([products, on_own_axes(rows).flatten(2)], 2) if setting.shared else products


def on_own_axes(rows: Tensor) -> Tensor:
    """Turn the rows of each image ``[N, P, rows, m]`` to the principal axes of all of them, largest first."""
    every = rows.flatten(1, 2)
    turned = rows @ torch.linalg.eigh((every.mT @ every).double())[1].flip(-1).to(rows)[:, None]
    return turned * turned.pow(3).sum((1, 2), keepdim=True).sign()


def _equalities(units: Tensor, shared: bool) -> Tensor:
    """Compare units ``[N, P, units, 16]``: within their blocks, or with all of their image."""
    words = torch.randint(-(2**62), 2**62, (16,), generator=torch.Generator().manual_seed(0)) | 1
    codes = (units.long() * words).sum(-1)  # overflow wraps round: different units differ but for one case in 2**60
    if shared:
        every = codes.flatten(1)
        return (every[:, :, None] == every[:, None]).sum(-1).float().log().view(codes.shape)
    if codes.shape[2] == 1:
        return torch.ones(codes.shape)  # a block of one unit keeps nothing
    first, second = torch.triu_indices(codes.shape[2], codes.shape[2], 1)
    return (codes[..., first] == codes[..., second]).float()
