"""Operators ``torch.ops.torchprotect.*``: block operations on image tensors, without keys, PIL images or state.

Importing this package registers them; ``import torchprotect`` alone does not. ``StoredImages``, which is not an
operator, reads images from files.
"""

from torchprotect.ops import _kernels
from torchprotect.ops._library import backend
from torchprotect.ops.aes_ecb import aes_ecb
from torchprotect.ops.block_matmul import block_matmul
from torchprotect.ops.block_permute import block_permute
from torchprotect.ops.decompositions import decompositions
from torchprotect.ops.stored import StoredError, StoredImages

_kernels.load()

__all__ = [
    "StoredError",
    "StoredImages",
    "aes_ecb",
    "backend",
    "block_matmul",
    "block_permute",
    "decompositions",
]
