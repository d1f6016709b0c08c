"""Disguise images with plain functions: image, key and already drawn noise in, disguised image out.

Nothing here keeps state or draws random numbers. The classes of :mod:`torchprotect.transforms` call these functions.
"""

from torchprotect.functional.aes_ecb import aes_ecb_disguise
from torchprotect.functional.block_permute import block_permute
from torchprotect.functional.embedding import embed
from torchprotect.functional.noise import salt_and_pepper
from torchprotect.functional.owsd import owsd_scramble, owsd_scramble_images, owsd_values
from torchprotect.functional.rmt import rmt_disguise

__all__ = [
    "aes_ecb_disguise",
    "block_permute",
    "embed",
    "owsd_scramble",
    "owsd_scramble_images",
    "owsd_values",
    "rmt_disguise",
    "salt_and_pepper",
]
