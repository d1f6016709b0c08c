"""The precision that a device computes fast in."""

import torch


def fast_precision(device: torch.device) -> torch.dtype | None:
    """Return the half precision that a device has instructions for, or ``None`` if float32 is as fast there.

    bfloat16 on CPUs with AMX or AVX512-BF16 and on CUDA devices that compute in it. Without such instructions a CPU
    converts every operand, and half precision is slower than float32.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else None
    return torch.bfloat16 if device.type == "cpu" and _has_bfloat16_instructions() else None


def _has_bfloat16_instructions() -> bool:
    read = getattr(torch.cpu, "get_capabilities", None)  # torch 2.11 has none
    found = {} if read is None else read()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
