"""A small world for the attacks on blocks: bright bars on black, and the owner's disguises of them."""

import torch
from support import block_slices
from torch import Tensor

from torchprotect import functional, keys
from torchprotect.attacks import Scheme

CLASSES, SIZE, BLOCK = 4, (16, 16), (4, 4)


def shapes(count: int, seed: int, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Draw uint8 images with a bar at one of four places, of random size and grey levels; and their classes."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    images = torch.zeros(count, channels, *SIZE)
    sizes = torch.randint(3, 9, (count, 2), generator=generator).tolist()
    shifts = torch.randint(0, 4, (count, 2), generator=generator).tolist()
    levels = 60 + 195 * torch.rand(count, channels, 3, 3, generator=generator)
    levels = torch.nn.functional.interpolate(levels, (8, 8), mode="bilinear")
    for n, (label, (height, width), (down, right)) in enumerate(zip(labels.tolist(), sizes, shifts)):
        top, left = (1 + down, 5 * (label % 2) + right) if label < 2 else (8 + down // 2, 2 * (label % 2) * 3 + right)
        height, width = min(height, SIZE[0] - top), min(width, SIZE[1] - left)
        images[n, :, top : top + height, left : left + width] = levels[n, :, :height, :width]
    return images.round().to(torch.uint8), labels


def random_order(block: tuple[int, int] = BLOCK, size: tuple[int, int] = SIZE) -> keys.PermutationKey:
    return keys.PermutationKey.generate(image_size=size, block_size=block)


def permute_scheme(block_size: tuple[int, int] = BLOCK, **parameters) -> Scheme:
    """The public parameters of permuted blocks."""
    return Scheme("BlockPermute", block_size=block_size, **{"permuted": True, **parameters})


def rmt_scheme(block_size: tuple[int, int] = BLOCK, **parameters) -> Scheme:
    """The public parameters of random matrices."""
    return Scheme("RMTDisguise", block_size=block_size, **parameters)


def aes_scheme(block_size: tuple[int, int] = BLOCK, **parameters) -> Scheme:
    """The public parameters of AES-ECB."""
    return Scheme("AESECBDisguise", block_size=block_size, **parameters)


SCHEMES = {"values": permute_scheme, "energies": rmt_scheme, "equality": aes_scheme}  # by what a block keeps


def rmt(images: Tensor, *, noise: float = 0.0, order: keys.PermutationKey | None = None, seed: int = 0, **options):
    """Disguise by random matrices; ``options`` of the key."""
    size = (images.shape[-2], images.shape[-1])
    key = keys.RMTKey.generate(image_size=size, **{"block_size": BLOCK, **options})
    delta = noise * torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)) if noise else None
    return functional.rmt_disguise(images, key, delta, order)


def aes(images: Tensor, *, order: keys.PermutationKey | None = None, block: tuple[int, int] = BLOCK, **options):
    """Disguise by AES-ECB; ``options`` of the key."""
    size = (images.shape[-2], images.shape[-1])
    return functional.aes_ecb_disguise(
        images, keys.AESKey.generate(image_size=size, block_size=block, **options), order
    )


def blocks_with_loops(image: Tensor, block: tuple[int, int] = BLOCK):
    """Return the blocks of an image, ``[C, h, w]`` each, as floats."""
    return [image[(slice(None), *place)].float() for place in block_slices(image.shape[-2:], block)]


def share(guesses: Tensor, truth: Tensor) -> float:
    return float((guesses.cpu() == truth).double().mean())
