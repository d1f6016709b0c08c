"""Shared by the tests of the compiled kernels: the library itself, tensors of odd strides, and bits compared."""

import ctypes
import dataclasses
import os
from pathlib import Path

import torch
from support import Pictures, make_image
from torch import Tensor

from torchprotect import ops
from torchprotect.ops import _kernels

OPS = torch.ops.torchprotect
LAYOUTS = ["plain", "shifted", "framed", "stepped", "transposed", "permuted", "spaced"]
"""Of tensors that no two elements of share memory."""


def cpu_library() -> Path | None:
    """Return the library that serves the CPU, if there is one."""
    if ops.backend()["block_permute"]["cpu"] != "compiled":
        return None
    if "TORCHPROTECT_TEST_LIBRARY" in os.environ:  # loaded by the test program itself
        return Path(os.environ["TORCHPROTECT_TEST_LIBRARY"])
    return next(path for path in _kernels._find() if "torchprotect_cpu" in path.name)


def limit_level(level: int) -> int:
    return ctypes.CDLL(str(cpu_library())).torchprotect_limit_cpu_level(level)


def place(shape, layout: str, dtype: torch.dtype, value: int = 1) -> tuple[Tensor, Tensor]:
    """Return a tensor full of ``value``, and a view of it of that shape and layout."""
    shape = list(shape)
    if layout == "shifted":  # aligned to single elements only
        whole = torch.full((torch.Size(shape).numel() + 3,), value, dtype=dtype)
        return whole, whole[1:-2].view(shape)
    if layout == "framed":
        whole = torch.full([n + 3 for n in shape], value, dtype=dtype)
        return whole, whole[tuple(slice(1, n + 1) for n in shape)]
    if layout == "stepped":
        whole = torch.full([*shape[:-1], 3 * shape[-1]], value, dtype=dtype)
        return whole, whole[..., 1::3]
    if layout == "transposed":
        whole = torch.full([*shape[:-2], shape[-1], shape[-2]], value, dtype=dtype)
        return whole, whole.mT
    if layout == "permuted":  # channels last, whatever the number of dimensions
        whole = torch.full([*shape[:-3], *shape[-2:], *shape[-3:-2]], value, dtype=dtype)
        return whole, whole.movedim(-1, -3) if len(shape) > 2 else whole
    if layout == "spaced":  # leading dimensions that do not fold into one
        whole = torch.full([n + 1 for n in shape[:-2]] + shape[-2:], value, dtype=dtype)
        return whole, whole[tuple(slice(0, n) for n in shape[:-2])]
    whole = torch.full(shape, value, dtype=dtype)
    return whole, whole


def lay_out(image: Tensor, layout: str) -> Tensor:
    """Return the same image with other strides; an expanded one repeats its first slice."""
    if layout == "expanded":
        return image[:1].expand_as(image)
    if layout == "repeated_rows":
        return image[..., :1, :].expand_as(image)
    return place(image.shape, layout, image.dtype)[1].copy_(image)


def bits(tensor: Tensor) -> Tensor:
    """Return the bytes of the elements, one by one: equal for equal NaN, different for zeros of two signs."""
    plain = torch.empty(tensor.numel(), dtype=tensor.dtype).copy_(tensor.detach().flatten())
    return (torch.view_as_real(plain).flatten() if plain.is_complex() else plain).view(torch.uint8)


def same_bits(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(bits(a), bits(b))


@dataclasses.dataclass
class Call:
    """One call of an operator: the public function and what it is made of."""

    name: str
    image: Tensor
    block: object
    table: Tensor | None = None
    flag: bool = False
    order: Tensor | None = None
    out: Tensor | None = None

    @property
    def arguments(self) -> tuple:
        if self.table is None:
            return self.image, self.order, self.block
        return self.image, self.table, self.block, self.flag, self.order

    def but(self, **changes) -> "Call":
        return dataclasses.replace(self, **changes)

    def public(self) -> Tensor:
        if self.table is None:
            return ops.block_permute(self.image, self.order, self.block, out=self.out)
        flag = {"decrypt" if self.name == "aes_ecb" else "left": self.flag}
        function = getattr(ops, self.name)
        return function(self.image, self.table, self.block, order=self.order, out=self.out, **flag)

    def direct(self) -> Tensor:
        operator = getattr(OPS, self.name)
        if self.out is None:
            return operator(*self.arguments)
        operator.out(*self.arguments, out=self.out)
        return self.out

    def reference(self) -> Tensor:
        return getattr(OPS, self.name).reference(*self.arguments)


def make_call(name: str, shape, block, *, dtype=None, sharing=1, length=16, flag=False, ordered=True, seed=0) -> Call:
    """Return a call of right arguments."""
    (h, w), generator = block, torch.Generator().manual_seed(seed + 1)
    positions = (shape[-2] // h) * (shape[-1] // w)
    dtype = dtype or (torch.float32 if name == "block_matmul" else torch.uint8)
    image, table = make_image(*shape, seed=seed), None
    if dtype.is_floating_point or dtype.is_complex:
        image = image.to(dtype) / 7 - 11
    else:
        image = image > 127 if dtype == torch.bool else image.to(dtype)
    if name == "aes_ecb":
        table = make_image(positions, sharing, length, seed=seed + 2)
    if name == "block_matmul":
        size = h if flag else w
        table = torch.randn(positions, sharing, size, size, generator=generator, dtype=torch.float64).to(dtype)
    order = torch.randperm(positions, generator=generator) if ordered or name == "block_permute" else None
    return Call(name, image, block, table, flag, order)


class Disguised(torch.utils.data.Dataset):
    """Pictures and what each of some transforms makes of them; for workers of any start method."""

    def __init__(self, transforms, count: int = 6):
        self.pictures, self.transforms = Pictures(count, channels=3), transforms

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, index):
        picture, _ = self.pictures[index]
        return [picture, *(transform(picture) for transform in self.transforms)], ops.backend()["aes_ecb"]["cpu"]
