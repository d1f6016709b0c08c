"""The disguises that the demo shows."""

from typing import Any, NamedTuple

from torchprotect import keys
from torchprotect.demo._blocks import choose_block
from torchprotect.errors import BlockSizeError
from torchprotect.keys import AESKey, KeyBundle, LabelKey, PermutationKey, RMTKey


class Case(NamedTuple):
    """One disguise of the demo: its name, key and settings."""

    name: str
    folder: str
    bundle: KeyBundle
    settings: str
    options: dict[str, Any]


def make_cases(size: tuple[int, int], classes: int) -> list[Case]:
    """Return the three disguises for images of one size, each with a fresh key."""

    def bundle(key: keys.BlockKey, permuted: bool = True) -> KeyBundle:
        order = PermutationKey.generate(image_size=size, block_size=key.block_size) if permuted else None
        return KeyBundle(key, order, LabelKey.generate(classes=classes))

    block = choose_block(size)
    try:
        aes_block, unit = choose_block(size, 16), 16
    except BlockSizeError:
        aes_block, unit = choose_block(size, 2), 2
    permutation = PermutationKey.generate(image_size=size, block_size=block)
    aes = AESKey.generate(image_size=size, block_size=aes_block)
    rmt = RMTKey.generate(image_size=size, block_size=block)
    noise = 25.0
    return [
        Case("BlockPermute", "block-permute", bundle(permutation, False), f"blocks of {_by(block)}", {}),
        Case(
            "AESECBDisguise",
            "aes-ecb",
            bundle(aes),
            f"AES-128, blocks of {_by(aes_block)}, units of {unit} pixels, blocks permuted",
            {"unit_pixels": unit},
        ),
        Case(
            "RMTDisguise",
            "rmt",
            bundle(rmt),
            f"orthogonal, blocks of {_by(block)}, noise up to {noise:g} grey levels, blocks permuted",
            {"noise": noise},
        ),
    ]


def _by(block: tuple[int, int]) -> str:
    return f"{block[0]} x {block[1]}"
