"""Half precision: the fast dtype of a device, and a check of requested dtypes."""

import torch

from torchprotect.errors import InputTypeError


def fast_precision(device: torch.device) -> torch.dtype | None:
    """Return the half-precision dtype for which a device has instructions, or ``None`` if float32 is as fast there.

    The dtype is bfloat16 on CPUs with AMX or AVX512-BF16, and on CUDA devices that compute in it. Without such
    instructions, a CPU converts every operand, and half precision is slower than float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return torch.bfloat16 if device.type == "cpu" and _has_bfloat16_instructions() else None


def require_precision(precision: torch.dtype | None) -> None:
    """Check that a dtype is one that models can be run in by autocast, or ``None``.

    Raises:
        InputTypeError: it is something else.
    """
    if precision not in (None, torch.float16, torch.bfloat16):
        raise InputTypeError(f"precision must be torch.float16, torch.bfloat16 or None, not {precision!r}")


def _has_bfloat16_instructions() -> bool:
    read = getattr(torch.cpu, "get_capabilities", None)  # torch 2.11 has none
    found = {} if read is None else read()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
