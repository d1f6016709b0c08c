"""Plain PyTorch replacements for the operators."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torchprotect.ops.block_matmul import _reference as block_matmul
from torchprotect.ops.block_permute import _reference as block_permute


def decompositions() -> dict[torch._ops.OpOverload, Callable[..., Tensor]]:
    """Return a table for ``ExportedProgram.run_decompositions`` that makes a program run without this package.

    It contains ``block_permute`` and ``block_matmul``, which are slower than their kernels and give the same bits, for
    matrices of up to 16 x 16. ``aes_ecb`` is not included: its reference calls a cryptographic library.
    """
    operators: Any = torch.ops.torchprotect
    return {
        operators.block_permute.default: block_permute,
        operators.block_matmul.default: block_matmul,
    }
