"""What the operators do not take, with compiled kernels and without: one error, and nothing written."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from calls import Call, make_call
from refusals import BLOCK, NAMES, SHAPE, WITH_TABLE, check_refusal, make, with_out

from torchprotect import ops
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError, InputTypeError, ProtectError

SWITCHED_OFF = "TORCHPROTECT_DISABLE_EXT"
TABLES = {"aes_ecb": "keys", "block_matmul": "matrices"}
ONCE = pytest.mark.skipif(os.environ.get(SWITCHED_OFF, "0") != "0", reason="about threads of the compiled kernels")
BIG = [2**31, 2**32 + 1, 2**40, 2**62, 2**63 - 1]


# Blocks

BLOCKS = [(3, 4), (4, 5), (16, 4), (4, 24), (0, 4), (4, 0), (0, 0), (-4, 4), (4, -4), (-1, -1)]
BLOCKS += [(n, 4) for n in BIG] + [(4, n) for n in BIG] + [(n, n) for n in BIG] + [(-(2**63), 4), (4, -(2**63))]
BLOCKS += [(2**63, 4), (4, 2**64), (-(2**63) - 1, 4), (2**200, 2**200)]  # no 64-bit number at all


@pytest.mark.parametrize("block", BLOCKS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_block(name, block):
    call = make(name).but(block=block)
    for each in (call, with_out(call)):
        check_refusal(each, BlockSizeError, "block", direct=(RuntimeError, RuntimeError))


@pytest.mark.parametrize("block", [(4,), (4, 4, 4), (), 4, None, (4.0, 4), ("4", 4), "44", (None, 4)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_block_that_is_no_pair_of_integers(name, block):
    call = with_out(make(name).but(block=block))
    for function in (call.public, call.direct):
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            function()
    assert not call.out.any()


def test_block_of_no_whole_units():
    check_refusal(make_call("aes_ecb", SHAPE, (2, 2)), BlockSizeError, "not a multiple of 16")
    check_refusal(make_call("aes_ecb", SHAPE, (8, 3)), BlockSizeError, "not a multiple of 16")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("block", [(2**62, 2**62), (2**63 - 1, 2**63 - 1), (2**31, 16), (16, 2**61)], ids=str)
def test_an_empty_image_has_no_block_to_overflow(name, block):
    """Any block divides sides of no pixels; what is then asked of keys and matrices may still not fit."""
    call = make_call(name, (2, 3, 0, 0), BLOCK, sharing=3).but(block=block)
    for each in (call, with_out(call)):
        for function in (each.public, each.direct):
            with contextlib.suppress(ProtectError, RuntimeError):
                assert function().shape == call.image.shape


# Images


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dims", [0, 1, 2])
def test_image_of_few_dimensions(name, dims):
    if name == "block_permute" and dims == 2:
        pytest.skip("a plane is an image to it")
    call = make(name)
    call = call.but(image=call.image[(0,) * (4 - dims)])
    error = InputShapeError if name == "block_permute" else InputTypeError
    for each in (call, with_out(call)):
        check_refusal(each, error, "image")


@pytest.mark.parametrize("name", WITH_TABLE)
@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.bool, torch.complex64, torch.int64])
def test_image_dtype(name, dtype):
    call = make(name)
    image = torch.zeros(SHAPE, dtype=dtype)
    for each in (call, call.but(table=call.table.to(dtype)), with_out(call)):
        check_refusal(each.but(image=image), InputTypeError, "image must be")


def test_float_and_byte_images_are_not_mixed_up():
    aes, matmul = make("aes_ecb"), make("block_matmul")
    check_refusal(aes.but(image=matmul.image), InputTypeError, "image must be uint8")
    check_refusal(matmul.but(image=aes.image), InputTypeError, "image must be floating point")


# Orders


def bad_orders(positions):
    good = torch.arange(positions)
    yield from ((good[:-1], InputShapeError), (torch.arange(positions + 1), InputShapeError))
    yield from ((good[:0], InputShapeError), (good[None], InputShapeError), (good[0], InputShapeError))
    yield from ((good.to(kind), InputShapeError) for kind in (torch.int32, torch.uint8, torch.float64, torch.bool))
    yield good.to("meta"), InputShapeError
    yield good[:1].expand(2**40), InputShapeError
    for value in (-1, positions, 0, 1, 2**31, 2**32, 2**62, 2**63 - 1, -(2**63), 2**32 + 3, -(2**32) + 3):
        for place_ in (0, 2, positions - 1):
            bad = good.clone()
            if bad[place_] != value:
                bad[place_] = value
                yield bad, InputRangeError
    yield good[:1].expand(positions), InputRangeError
    yield torch.arange(2 * positions)[::2], InputRangeError
    yield torch.stack([good, good])[:, 1:].flatten()[:positions], InputRangeError


@pytest.mark.parametrize("name", NAMES)
def test_order(name):
    call = make(name)
    for order, error in bad_orders(6):
        check_refusal(call.but(order=order), error, "order must be")
        check_refusal(with_out(call).but(order=order), error, "order must be")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_order_where_the_reference_serves(dtype):
    call = make_call("block_matmul", SHAPE, BLOCK, dtype=dtype)
    bad = torch.tensor([0, 1, 2, 3, 4, 4])
    check_refusal(call.but(order=bad), InputRangeError, "order must be")
    check_refusal(with_out(call).but(order=bad), InputRangeError, "order must be")


# Keys and matrices


def bad_tables(name, table):
    positions = len(table)
    yield from (table[:-1], torch.cat([table, table[:1]]), table[:0], table[:, :0], table[:, :2], table[..., :0])
    yield from (table[0], table[None], table[..., 0], table.flatten(), torch.cat([table, table], 1))
    yield from (table.to("meta"), table[:1].expand(2**40, -1, *[-1] * (table.ndim - 2)))
    if name == "aes_ecb":
        yield from (torch.zeros(positions, 3, length, dtype=torch.uint8) for length in (1, 8, 15, 17, 20, 31, 33, 64))
        yield from (table.to(dtype) for dtype in (torch.int8, torch.bool, torch.float32, torch.int64))
    else:
        yield from (table[..., :3, :], table[..., :3], table[..., :3, :3], torch.zeros(positions, 3, 5, 5))
        yield from (table.to(dtype) for dtype in (torch.float64, torch.float16, torch.int32, torch.complex64))


@pytest.mark.parametrize("name", WITH_TABLE)
def test_table(name):
    call = make(name)
    for table in bad_tables(name, call.table):
        for each in (call, with_out(call)):
            check_refusal(each.but(table=table), InputShapeError, f"{TABLES[name]} must be")


@pytest.mark.parametrize("left", [False, True])
def test_matrices_of_the_other_side(left):
    call = make_call("block_matmul", (3, 8, 12), (4, 6), flag=left)
    check_refusal(call.but(flag=not left), InputShapeError, "matrices must be")


# Huge sizes without memory


@pytest.mark.parametrize("name", NAMES)
def test_huge_images_are_refused_before_anything_is_allocated(name):
    dtype = torch.float32 if name == "block_matmul" else torch.uint8
    for shape in [(2**20, 2**11, 4, 4), (2**33, 1, 4, 4), (1, 2**40, 4, 8), (2**31, 2**20, 4, 4)]:
        image = torch.zeros(1, dtype=dtype).expand(shape)
        positions = shape[-1] // 4
        table = {
            "aes_ecb": torch.zeros(positions, 1, 16, dtype=torch.uint8),
            "block_matmul": torch.ones(positions, 1, 4, 4),
        }
        table = table.get(name)
        right = Call(name, image, BLOCK, table, False, torch.arange(positions))
        check_refusal(right.but(order=torch.arange(positions + 1)), InputShapeError, "order must be")
        check_refusal(right.but(order=torch.arange(positions) + 1), InputRangeError, "order must be")
        check_refusal(right.but(block=(3, 4)), BlockSizeError, "block")
        check_refusal(right.but(out=torch.zeros((1, 1, 4, 4), dtype=dtype)), InputShapeError, "out must have")
        if table is not None:
            check_refusal(right.but(table=table[:0]), InputShapeError, f"{TABLES[name]} must be")


@pytest.mark.parametrize("name", NAMES)
def test_huge_results_that_memory_cannot_hold(name):
    """Right arguments, but 2**60 bytes: an error and no crash."""
    dtype = torch.float32 if name == "block_matmul" else torch.uint8
    image = torch.zeros(1, dtype=dtype).expand(2**29, 2**29, 4, 4)
    call = make_call(name, (1, 4, 4), BLOCK).but(image=image)
    for function in (call.public, call.direct):
        with pytest.raises((RuntimeError, MemoryError)):
            function()


@pytest.mark.parametrize("name", NAMES)
def test_images_without_memory_have_results_without_memory(name):
    call = make(name)
    call = call.but(
        image=torch.empty(2**8, 3, 2**21, 3 * 2**20, dtype=call.image.dtype, device="meta"), block=(2**20, 2**20)
    )
    table = None if call.table is None else torch.empty(6, 3, 16, dtype=torch.uint8, device="meta")
    if name == "block_matmul":
        table = torch.empty(6, 3, 2**20, 2**20, device="meta")
    call = call.but(table=table, order=torch.empty(6, dtype=torch.int64, device="meta"))
    assert call.public().shape == call.image.shape
    check_refusal(call.but(order=torch.arange(6)), InputShapeError, "order must be")
    check_refusal(call.but(block=(2**20 + 1, 2**20)), BlockSizeError, "block")


CONJUGATED = """
import torch
from torchprotect import ops
from torchprotect.errors import InputShapeError
direct, order = torch.ops.torchprotect, torch.tensor([2, 0, 3, 1])
pixels = torch.rand(2, 3, 8, 8, dtype=torch.complex64)
matrices, flipped = torch.rand(4, 1, 4, 4), torch.rand(2, 3, 8, 8, dtype=torch.complex64).conj().imag
assert flipped.is_neg()
for out, operator, arguments in [
    (torch.zeros_like(pixels).conj(), "block_permute", (pixels, order, (4, 4))),
    (torch.zeros_like(pixels).conj().imag, "block_matmul", (flipped.resolve_neg(), matrices, (4, 4))),
]:
    for function in (getattr(ops, operator), getattr(direct, operator).out):
        try:
            function(*arguments, out=out)
        except InputShapeError as error:
            print(str(error).split()[0])
        assert not out.any()
for image, operator, rest in [
    (pixels.conj(), "block_permute", (order, (4, 4))),
    (flipped, "block_matmul", (matrices, (4, 4))),
]:
    plain = image.resolve_conj().resolve_neg()
    expected, out = getattr(direct, operator).reference(plain, *rest), torch.zeros_like(plain)
    getattr(direct, operator).out(image, *rest, out=out)
    assert torch.equal(out, expected) and torch.equal(getattr(direct, operator)(image, *rest), expected)
"""


@pytest.mark.slow
def test_conjugated_and_negated_tensors():
    """As images they are welcome. As out they are refused, before PyTorch's fallback spoils its own stack."""
    done = subprocess.run([sys.executable, "-c", CONJUGATED], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["out"] * 4


CHANGING_ORDER = """
import threading, time, torch
torch.set_num_threads(1)
from torchprotect import ops
side = 512
image, order, stop = torch.zeros(1, side, side, dtype=torch.uint8), torch.arange(side * side), threading.Event()
numbers, out = order.numpy(), torch.empty_like(image)
def change():
    while not stop.is_set():
        numbers[-1] = 2**40
        numbers[-1] = side * side - 1
thread = threading.Thread(target=change)
thread.start()
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        torch.ops.torchprotect.block_permute.out(image, order, (1, 1), out=out)
    except (RuntimeError, ValueError, IndexError):
        pass
stop.set()
thread.join()
"""


@pytest.mark.slow
@ONCE
def test_an_order_changed_by_another_thread_does_not_crash():
    done = subprocess.run([sys.executable, "-c", CHANGING_ORDER], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]


SHORT_OF_MEMORY = """
import resource, torch
from torchprotect import ops
torch.set_num_threads(2)
image = torch.rand(2, 1, 16, 100000).mT  # blocks of 6 MB that each thread puts together in a scratch
matrices, out = torch.rand(1, 1, 16, 16), torch.zeros(2, 1, 100000, 16)
expected = ops.block_matmul(image[:1, :, :10], matrices, (10, 16))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
raised = 0
for extra in range(0, 260, 10):
    out.zero_()
    resource.setrlimit(resource.RLIMIT_AS, (used + (extra << 20), resource.RLIM_INFINITY))
    try:
        ops.block_matmul(image, matrices, (100000, 16), out=out)
    except (RuntimeError, MemoryError):
        raised += 1
        continue
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if not torch.equal(out[:1, :, :10], expected) or not out[1].any():
        raise SystemExit(f"no error and no result with {extra} MiB left")
print(raised)
"""


@pytest.mark.slow
@ONCE
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_threads_short_of_memory_raise():
    """Memory that a thread of the pool does not get is an error, and no result that was never written."""
    done = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    if ops.backend()["block_matmul"]["cpu"] == "compiled":
        assert int(done.stdout) > 0


def test_long_sides_are_refused_at_once():
    """The message lists what divides a side: it must not try every number up to that."""
    for side in (2**27, 2**40, 2**62):
        image, start = torch.zeros(1, dtype=torch.uint8).expand(1, side, 1), time.monotonic()
        with pytest.raises(BlockSizeError) as caught:
            ops.block_permute(image, torch.arange(1), (3, 1))
        assert time.monotonic() - start < 2
        assert len(str(caught.value)) < 1500


# Tensors that are no plain memory


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("make_odd", [torch.Tensor.to_sparse, torch.Tensor.to_sparse_coo], ids=["sparse", "coo"])
def test_sparse_tensors(name, make_odd):
    call = make(name)
    changes = [{"image": make_odd(call.image)}, {"order": make_odd(call.order)}]
    changes.append({"out": make_odd(torch.ones_like(call.image))})
    if call.table is not None:
        changes.append({"table": make_odd(call.table)})
    for change in changes:
        for function in (call.but(**change).public, call.but(**change).direct):
            with pytest.raises((RuntimeError, TypeError, ValueError)):
                function()


@pytest.mark.parametrize("name", NAMES)
def test_arguments_that_are_no_tensors(name):
    call = make(name)
    for change in [{"image": None}, {"image": [1]}, {"order": [0, 1, 2, 3, 4, 5]}, {"out": 3}]:
        for function in (call.but(**change).public, call.but(**change).direct):
            with pytest.raises((RuntimeError, TypeError, AttributeError)):
                function()


# Nothing is kept by a call that failed, or by one that did not


@pytest.mark.parametrize("name", NAMES)
def test_references_to_arguments_are_released(name):
    good = with_out(make(name))
    bad = [{}, {"block": (3, 4)}, {"block": (4, 4, 4)}, {"block": (4,)}]
    bad += [{"order": good.order + 1}, {"order": good.order.int()}]
    bad += [{"out": good.image}, {"out": good.image[:1]}, {"image": good.image.to(torch.int32)}, {"out": None}]
    if good.table is not None:
        bad += [{"table": good.table[:1]}, {"order": None}]
    for change in bad:
        call = good.but(**change)
        fresh = call.but(
            image=call.image.clone(),
            order=None if call.order is None else call.order.clone(),
            table=None if call.table is None else call.table.clone(),
            out=None if call.out is None else call.out.clone(),
        )
        tensors = [t for t in (fresh.image, fresh.order, fresh.table, fresh.out) if t is not None]
        before = [t._use_count() for t in tensors]
        for function in (fresh.direct, fresh.public):
            try:
                function()
            except (RuntimeError, ValueError, TypeError):
                assert change
        assert [t._use_count() for t in tensors] == before, change


@pytest.mark.slow
def test_without_kernels():
    """All of the above once more, in a process without compiled kernels."""
    if os.environ.get(SWITCHED_OFF, "0") != "0" or {kind["cpu"] for kind in ops.backend().values()} == {"reference"}:
        pytest.skip("this process has no compiled kernels either")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(Path(__file__).resolve())]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, SWITCHED_OFF: "1"}, timeout=300)
    assert done.returncode == 0, done.stdout[-4000:]
