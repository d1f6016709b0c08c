"""The ``torchprotect::`` operator library: how an operator is registered, and which kernels are in use.

Schemas, fakes, gradients and vmap rules live in Python, beside a reference kernel that runs on every device. Compiled
code only adds kernels to the same names.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchprotect.errors import InputShapeError

LIBRARY = torch.library.Library("torchprotect", "DEF")

_names: list[str] = []


def register(name: str, arguments: str, reference: Callable[..., Tensor], check: Callable[..., None]) -> None:
    """Define ``torchprotect::name`` and its ``out`` overload from one reference kernel.

    Args:
        name: operator name.
        arguments: schema of the arguments; the first is the image, and the result is shaped like it.
        reference: ``(*arguments) -> Tensor``, plain PyTorch, any device.
        check: ``(*arguments)``, raises when shapes, dtypes or devices do not fit; runs on fake tensors too.
    """

    def functional(*args: Any) -> Tensor:
        check(*args)
        return reference(*args)

    def into(*args: Any, out: Tensor) -> None:
        check(*args)
        _check_out(args[0], out)
        out.copy_(reference(*args))

    def fake(*args: Any) -> Tensor:
        check(*args)
        return torch.empty_like(args[0])

    def fake_into(*args: Any, out: Tensor) -> None:
        check(*args)
        _check_out(args[0], out)

    LIBRARY.define(f"{name}({arguments}) -> Tensor")
    LIBRARY.define(f"{name}.out({arguments}, *, Tensor(a!) out) -> ()")
    LIBRARY.impl(name, functional, "CompositeExplicitAutograd")
    LIBRARY.impl(f"{name}.out", into, "CompositeExplicitAutograd")
    torch.library.register_fake(f"torchprotect::{name}", fake, lib=LIBRARY)
    torch.library.register_fake(f"torchprotect::{name}.out", fake_into, lib=LIBRARY)
    torch.library.register_vmap(f"torchprotect::{name}", _vmap_rule(name), lib=LIBRARY)
    _names.append(name)


def _check_out(image: Tensor, out: Tensor) -> None:
    if out.shape != image.shape or out.dtype != image.dtype or out.device != image.device:
        raise InputShapeError(
            f"out must have the image's shape, dtype and device ({tuple(image.shape)}, {image.dtype}, {image.device}), "
            f"not ({tuple(out.shape)}, {out.dtype}, {out.device})"
        )


def _vmap_rule(name: str) -> Callable[..., tuple[Tensor, int]]:
    def rule(info: Any, in_dims: Sequence[Any], image: Tensor, *rest: Any) -> tuple[Tensor, int]:
        operator = getattr(torch.ops.torchprotect, name)
        batched = [isinstance(dim, int) for dim in in_dims]  # the sizes of a block come as a list of None
        if not any(batched[1:]):  # one more leading dimension is all there is to it
            return operator(image.movedim(in_dims[0], 0), *rest), 0
        arguments = list(zip((image, *rest), in_dims, batched, strict=True))
        lanes = [[a.select(dim, lane) if b else a for a, dim, b in arguments] for lane in range(info.batch_size)]
        return torch.stack([operator(*lane) for lane in lanes]), 0

    return rule


def backend() -> dict[str, dict[str, str]]:
    """Say which kernel serves each operator: ``"compiled"`` or ``"reference"``, by operator and device type."""

    def kernel(name: str, key: str) -> str:
        found = torch._C._dispatch_has_kernel_for_dispatch_key(f"torchprotect::{name}", key)
        return "compiled" if found else "reference"

    return {name: {"cpu": kernel(name, "CPU"), "cuda": kernel(name, "CUDA")} for name in _names}
