"""Plain PyTorch in place of the operators."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchprotect.ops.block_matmul import _reference as block_matmul
from torchprotect.ops.block_permute import _reference as block_permute


def decompositions() -> dict[torch._ops.OpOverload, Callable[..., Tensor]]:
    """Return a table for ``ExportedProgram.run_decompositions``, after which a program runs without this package.

    It has ``block_permute`` and ``block_matmul``, slower than their kernels and with the same bits, up to matrices of
    16 x 16. ``aes_ecb`` is not in it: its reference calls a cryptographic library.
    """
    operators: Any = torch.ops.torchprotect
    return {
        operators.block_permute.default: block_permute,
        operators.block_matmul.default: block_matmul,
    }
