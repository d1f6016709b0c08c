"""Run by test_sanitizers.py in a process of its own: every kernel of a library built with sanitizers.

Tensors lie at the very ends of their own allocations, so that one byte too many is noticed.
"""

import contextlib
import ctypes
import gc
import itertools
import sys
import tempfile

import torch
from calls import make_call, same_bits

LIBRARY = ctypes.CDLL(sys.argv[1])


def alone(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy with the same strides that fills an allocation of its own from end to end."""
    if tensor.numel() == 0:
        return tensor.clone()
    reach = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride()))
    memory = LIBC.malloc(reach * tensor.element_size())  # unlike PyTorch's, not rounded up
    space = (ctypes.c_char * (reach * tensor.element_size())).from_address(memory)
    KEPT.append(memory)
    copy = torch.frombuffer(space, dtype=torch.uint8).view(tensor.dtype)
    return copy.as_strided(tensor.shape, tensor.stride()).copy_(tensor)


LIBC, KEPT = ctypes.CDLL(None), []
LIBC.malloc.restype, LIBC.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
LIBC.free.argtypes = [ctypes.c_void_p]


def strided(image, layout):
    if layout == "last":
        return image.movedim(-3, -1).contiguous().movedim(-1, -3)
    if layout == "transposed":
        return image.mT.contiguous().mT
    if layout == "padded":
        return torch.nn.functional.pad(image, (0, 3))[..., :-3]
    if layout == "stepped":
        return torch.stack([image, image], -1).flatten(-2)[..., ::2]
    if layout == "spaced":
        return torch.cat([image, image], 1)[:, : image.shape[1]]
    return image.contiguous()


LAYOUTS = ["plain", "last", "transposed", "padded", "stepped", "spaced"]
count = 0


def check(name, shape, block, layout, to_layout, **options):
    global count
    close = options.pop("close", False)
    call = make_call(name, shape, block, **options)
    call = call.but(
        image=alone(strided(call.image, layout)),
        order=None if call.order is None else alone(call.order),
        table=None if call.table is None else alone(call.table),
    )
    expected = call.reference()
    for out in (None, alone(strided(torch.zeros(shape, dtype=expected.dtype), to_layout))):
        made = call.but(out=out).direct()
        right = torch.allclose(made, expected, rtol=1e-4, atol=1e-3) if close else same_bits(made, expected)
        assert right, (name, shape, block, layout, to_layout, options)
        count += 1
    del call, out, made
    if len(KEPT) > 200:
        gc.collect()
        while KEPT:
            LIBC.free(KEPT.pop())


def check_permute(level):
    widths = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 16, 28, 32, 64]
    turns = itertools.cycle(itertools.product(LAYOUTS, LAYOUTS))
    for width, columns in itertools.product(widths, [1, 2, 5]):
        for shape in ([2, 1], [1, 3], [3, 2]):
            check("block_permute", [*shape, 4, columns * width], (2, width), *next(turns))
        check("block_permute", [3, 1, 1, columns * width], (1, width), "plain", "plain")  # planes of one row
    for dtype in (torch.bool, torch.int16, torch.float32, torch.complex128):
        for width in (1, 3, 7):
            check("block_permute", [2, 3, 6, 3 * width], (3, width), *next(turns), dtype=dtype)


def check_aes(level):
    turns = itertools.cycle(itertools.product(LAYOUTS, LAYOUTS, [16, 24, 32], [False, True]))
    blocks = [(4, 4), (8, 8), (16, 16), (2, 8), (8, 2), (16, 1), (1, 16), (1, 48), (8, 6), (16, 7), (4, 8), (12, 4)]
    blocks += [(6, 8), (5, 16), (36, 64)]
    for block, columns, shape in itertools.product(blocks, [1, 3, 5], ([1, 1], [3, 2], [9, 2])):
        if block[0] * block[1] > 2000 and columns * shape[0] > 3:
            continue
        for plain in (True, False):
            layout, to_layout, length, decrypt = next(turns)
            layouts = ("plain", "plain") if plain else (layout, to_layout)
            size = [*shape, 2 * block[0], columns * block[1]]
            check("aes_ecb", size, block, *layouts, sharing=shape[1], length=length, flag=decrypt)


def check_matmul(level):
    turns = itertools.cycle(itertools.product(LAYOUTS, LAYOUTS, [False, True]))
    for size, columns, dtype in itertools.product(
        [1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 31, 33], [1, 3, 17], [torch.float32, torch.float64]
    ):
        for plain in (True, False):
            layout, to_layout, left = next(turns)
            layouts = ("plain", "plain") if plain else (layout, to_layout)
            block = (size, 3) if left else (3, size)
            shape = [2, 2, 2 * block[0], min(columns, 3 if size > 16 else columns) * block[1]]
            check("block_matmul", shape, block, *layouts, sharing=2, dtype=dtype, flag=left, close=size > 16)


def check_large():
    """Results that are streamed, to memory that ends with them."""
    for name, shape, block, options in [
        ("block_permute", (29, 3, 225, 435), (9, 15), {}),
        ("block_permute", (11000, 28, 28), (7, 7), {}),
        *[("block_permute", (57, 3, 224, 224), block, {}) for block in [(8, 8), (7, 7), (4, 4)]],
        ("aes_ecb", (305, 3, 96, 96), (8, 8), {}),
        ("aes_ecb", (57, 3, 224, 224), (16, 16), {"sharing": 3}),
        ("block_matmul", (31, 3, 154, 147), (7, 7), {"sharing": 3}),
    ]:
        call = make_call(name, shape, block, **options)
        call = call.but(image=alone(call.image), out=alone(torch.zeros_like(call.image)))
        parts = [call.but(image=part, out=None).direct() for part in call.image.tensor_split(9)]
        assert same_bits(call.direct(), torch.cat(parts)), (name, shape, block)


def check_errors():
    """Refusals touch nothing."""
    for name in ("block_permute", "aes_ecb", "block_matmul"):
        call = make_call(name, (1, 2, 8, 12), (4, 4))
        empty = make_call(name, (1, 2, 0, 0), (4, 4))
        blocks = [(3, 4), (0, 4), (-4, 4), (2**62, 4), (2**63 - 1, 2**63 - 1), (4,), (4, 4, 4)]
        changes = [{"block": block} for block in blocks]
        changes += [{"order": call.order + shift} for shift in (1, -1, 2**31, -(2**63))]
        changes += [{"order": call.order[:5]}, {"order": call.order.int()}, {"out": call.image}]
        for change in changes:
            try:
                call.but(**change).direct()
            except (RuntimeError, ValueError):
                continue
            raise AssertionError((name, change))
        for block in [(2**62, 2**62), (2**62, 4), (2**63 - 1, 2**63 - 16)]:
            with contextlib.suppress(RuntimeError, ValueError):  # taken or refused, but without overflow
                empty.but(block=block).direct()


def check_stored():
    """Images read from a file into memory that ends with them; refusals write no more."""
    for rows, row in ((5, 6), (5, 0)):
        parts = torch.tensor([7, 4, 2, rows * (1 + row) - 4, 3] if row else [7, 40])
        fixed = alone(torch.arange(int(parts[::2].sum()), dtype=torch.uint8))
        pixels = torch.ones(int(parts[1::2].sum()), dtype=torch.uint8)
        if row:
            pixels[:: 1 + row] = 0
        taken, body = [0, 0], b""
        for number, size in enumerate(parts.tolist()):
            side = number % 2
            body += bytes((fixed, pixels)[side][taken[side] : taken[side] + size].tolist())
            taken[side] += size
        kept, out = alone(torch.ones_like(fixed)), alone(torch.zeros(3, int(pixels.sum()), dtype=torch.uint8))
        with tempfile.TemporaryFile() as file:
            file.write(body + body)
            file.flush()
            files = alone(torch.tensor([file.fileno()] * 3, dtype=torch.int32))
            offsets = alone(torch.tensor([0, len(body), 1]))
            for count, expected in ((2, -1), (3, 5)):
                found = LIBRARY.torchprotect_read_stored(
                    *map(at, (files, offsets)), ctypes.c_int64(count), at(alone(parts)), ctypes.c_int64(len(parts)),
                    *map(at, (fixed, kept)), ctypes.c_int64(row), at(out),
                )  # fmt: skip
                assert found == expected, (row, count, found)
            assert out[:2].eq(1).all()


def at(tensor):
    return ctypes.c_void_p(tensor.data_ptr())


assert not torch._C._dispatch_has_kernel_for_dispatch_key("torchprotect::aes_ecb", "CPU")
assert LIBRARY.torchprotect_register() == 0
assert torch._C._dispatch_has_kernel_for_dispatch_key("torchprotect::aes_ecb", "CPU")
torch.set_num_threads(2)
for level in (0, 1, 2):
    if LIBRARY.torchprotect_limit_cpu_level(level) == level:
        check_permute(level), check_aes(level), check_matmul(level)
check_large()
check_errors()
LIBRARY.torchprotect_read_stored.restype = ctypes.c_int64
check_stored()
print("checked", count)
