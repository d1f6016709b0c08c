"""The ``torchprotect::`` operator library: registers operators and reports which kernels are in use.

Schemas, fakes, gradients and vmap rules live in Python, beside a reference kernel that runs on every device. Compiled
code only adds kernels to the same names.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchprotect.errors import InputShapeError, InputTypeError

LIBRARY = torch.library.Library("torchprotect", "DEF")

_checks: dict[str, Callable[..., None]] = {}
_operators: dict[
    str, torch._ops.OpOverloadPacket
] = {}  # looked up once: attribute access takes a measurable part of the time for one image
_WITHOUT_GRADIENT = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def register(
    name: str,
    arguments: str,
    reference: Callable[..., Tensor],
    check: Callable[..., None],
    check_values: Callable[..., None],
) -> None:
    """Define ``torchprotect::name`` and its ``out`` overload from one reference kernel.

    A third overload, ``reference``, always runs this kernel; compiled code falls back to it for dtypes that it does not
    support.

    Args:
        name: operator name.
        arguments: schema of the arguments; the first is the image, and the result is shaped like it.
        reference: ``(*arguments) -> Tensor``, plain PyTorch, any device; may return any memory format.
        check: ``(*arguments)``, raises if shapes, dtypes or devices do not match; runs on fake tensors too.
        check_values: ``(*arguments)``, raises if values are invalid; sees real tensors only.
    """

    def check_all(*args: Any, out: Tensor | None = None) -> None:
        check(*args)
        check_values(*args)
        if out is not None:
            _check_out(args[0], out)
            _check_memory(args, out)

    def functional(*args: Any) -> Tensor:
        check_all(*args)
        return torch.empty_like(args[0]).copy_(reference(*args))  # keeps the memory format

    def into(*args: Any, out: Tensor) -> None:
        check_all(*args, out=out)
        out.copy_(reference(*args))

    def into_resolved(*args: Any, out: Tensor) -> None:
        # PyTorch's own fallback pops a result off the stack, where there is none: it would corrupt memory
        if out.is_conj() or out.is_neg():
            raise InputShapeError("out has a lazy conjugation or negation; pass out.resolve_conj().resolve_neg()")
        plain = [a.resolve_conj().resolve_neg() if isinstance(a, Tensor) else a for a in args]
        getattr(torch.ops.torchprotect, name).out(*plain, out=out)

    def fake(*args: Any) -> Tensor:
        check(*args)
        return torch.empty_like(args[0])

    def fake_into(*args: Any, out: Tensor) -> None:
        check(*args)
        _check_out(args[0], out)

    LIBRARY.define(f"{name}({arguments}) -> Tensor")
    LIBRARY.define(f"{name}.out({arguments}, *, Tensor(a!) out) -> ()")
    LIBRARY.define(f"{name}.reference({arguments}) -> Tensor")
    LIBRARY.impl(name, functional, "CompositeExplicitAutograd")
    LIBRARY.impl(f"{name}.reference", functional, "CompositeExplicitAutograd")
    LIBRARY.impl(f"{name}.out", into, "CompositeExplicitAutograd")
    for key in ("Conjugate", "Negative"):
        LIBRARY.impl(f"{name}.out", into_resolved, key)
    torch.library.register_fake(f"torchprotect::{name}", fake, lib=LIBRARY)
    torch.library.register_fake(f"torchprotect::{name}.out", fake_into, lib=LIBRARY)
    torch.library.register_vmap(f"torchprotect::{name}", _vmap_rule(name), lib=LIBRARY)
    _checks[name] = check_all
    _operators[name] = getattr(torch.ops.torchprotect, name)


def call(name: str, *arguments: Any, out: Tensor | None) -> Tensor:
    """Call ``torchprotect::name``, and write to ``out`` if it is given.

    Raises:
        ProtectError: from the reference's checks, which also replace a compiled kernel's ``RuntimeError``.
    """
    operator = _operators[name]
    try:
        if out is None:
            # integers have no gradient: skipping the autograd rule, in Python, saves a third of the time of one image
            if arguments[0].dtype not in _WITHOUT_GRADIENT or torch.compiler.is_compiling():
                return operator.default(*arguments)
            with torch._C._AutoDispatchBelowAutograd():
                return operator.default(*arguments)
        if torch.is_grad_enabled() and any(a.requires_grad for a in (*arguments, out) if isinstance(a, Tensor)):
            raise InputTypeError("out= does not support gradients, but an argument requires one; leave out= away")
        operator.out(*arguments, out=out)
    except RuntimeError:
        _checks[name](*arguments, out=out)
        raise
    if not torch.compiler.is_compiling():
        torch.autograd.graph.increment_version(out)  # tell autograd: compiled kernels write without it
    return out


def _check_out(image: Tensor, out: Tensor) -> None:
    if out.shape != image.shape or out.dtype != image.dtype or out.device != image.device:
        raise InputShapeError(
            f"out must have the image's shape, dtype and device ({tuple(image.shape)}, {image.dtype}, {image.device}), "
            f"not ({tuple(out.shape)}, {out.dtype}, {out.device})"
        )


def _check_memory(arguments: Sequence[Any], out: Tensor) -> None:
    inputs = [a for a in arguments if isinstance(a, Tensor)]
    if _overlaps_itself(out):
        raise InputShapeError("out overlaps itself: several of its elements share memory, as an expanded tensor's do")
    if any(_share_memory(out, tensor) for tensor in inputs):
        raise InputShapeError("out shares memory with another argument; pass a separate tensor")


def _overlaps_itself(tensor: Tensor) -> bool:
    reach = 1
    for stride, size in sorted((stride, size) for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        if size > 1 and stride < reach:
            return True
        reach += stride * (size - 1)
    return False


def _share_memory(a: Tensor, b: Tensor) -> bool:
    if a.numel() == 0 or b.numel() == 0 or a.device != b.device:
        return False
    (first_a, end_a), (first_b, end_b) = _extent(a), _extent(b)
    return first_a < end_b and first_b < end_a


def _extent(tensor: Tensor) -> tuple[int, int]:
    reach = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + reach * tensor.element_size()


def _vmap_rule(name: str) -> Callable[..., tuple[Tensor, int]]:
    def rule(info: Any, in_dims: Sequence[Any], image: Tensor, *rest: Any) -> tuple[Tensor, int]:
        operator = getattr(torch.ops.torchprotect, name)
        batched = [isinstance(dim, int) for dim in in_dims]  # a block size arrives as a list of None
        if not any(batched[1:]):  # the image alone is batched: one more leading dimension
            return operator(image.movedim(in_dims[0], 0), *rest), 0
        arguments = list(zip((image, *rest), in_dims, batched, strict=True))
        lanes = [[a.select(dim, lane) if b else a for a, dim, b in arguments] for lane in range(info.batch_size)]
        return torch.stack([operator(*lane) for lane in lanes]), 0

    return rule


def backend() -> dict[str, dict[str, str]]:
    """Return which kernel serves each operator: ``"compiled"`` or ``"reference"``, by operator and device type.

    Example::

        >>> ops.backend()["block_permute"]["cpu"]
        'compiled'
    """

    def kernel(name: str, key: str) -> str:
        found = torch._C._dispatch_has_kernel_for_dispatch_key(f"torchprotect::{name}", key)
        return "compiled" if found else "reference"

    return {name: {"cpu": kernel(name, "CPU"), "cuda": kernel(name, "CUDA")} for name in _checks}
