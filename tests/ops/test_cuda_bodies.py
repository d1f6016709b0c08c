"""What one thread of each CUDA kernel does, compiled for and run on the CPU: no GPU is needed."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import aes_with_loops, make_image, matmul_with_loops, permute_with_loops

from torchprotect.ops.aes_ecb import _reference as aes_reference
from torchprotect.ops.block_matmul import _reference as matmul_reference
from torchprotect.ops.block_permute import _reference as permute_reference

SOURCES = Path(__file__).parents[2] / "cpp_ext" / "csrc" / "cuda"
BLOCKS = [(7, 7), (4, 4), (8, 8), (16, 16), (1, 1), (3, 5)]
LAYOUTS = ["plain", "channels_last", "transposed", "sliced", "shifted", "padded", "odd_rows", "spaced", "expanded"]
DTYPES = [torch.uint8, torch.int16, torch.float32, torch.float64, torch.complex128]


class Image(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("item", ctypes.c_int64), ("sizes", ctypes.c_int64 * 4)]
    _fields_ += [("strides", ctypes.c_int64 * 4), ("fresh", ctypes.c_bool)]


class Grid(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in ("height", "width", "rows", "columns")]


class Table(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("channels", ctypes.c_int64), ("size", ctypes.c_int64)]


class PermuteTask(ctypes.Structure):
    _fields_ = [("image", Image), ("out", Image), ("grid", Grid), ("order", ctypes.c_void_p)]


class TableTask(PermuteTask):
    _fields_ = [("table", Table), ("flag", ctypes.c_bool)]


def describe(image):
    return Image(image.data_ptr(), image.element_size(), (ctypes.c_int64 * 4)(*image.shape), image.stride())


class Bodies:
    """The kernels, as functions of tensors; ``facts`` tells which way the last call took."""

    def __init__(self, library):
        self.library, self.facts = library, None
        library.divides.argtypes = [ctypes.c_int64] * 2
        library.divides.restype = ctypes.c_bool

    def permute(self, image, order, block, out=None, small=2**31, most=2**62):
        options = ctypes.c_int64(small), ctypes.c_int64(most)
        return self._run("run_block_permute", image, order, block, out, None, False, *options)

    def aes(self, image, keys, block, decrypt=False, order=None, out=None, enough=1):
        return self._run("run_aes_ecb", image, order, block, out, keys, decrypt, ctypes.c_int64(enough))

    def matmul(self, image, matrices, block, left=False, order=None, out=None, enough=2**19):
        return self._run("run_block_matmul", image, order, block, out, matrices, left, ctypes.c_int64(enough))

    def _run(self, name, image, order, block, out, table, flag, *options):
        out = torch.empty_like(image) if out is None else out
        (height, width), places = block, None if order is None else order.data_ptr()
        grid = Grid(height, width, image.shape[2] // height, image.shape[3] // width)
        task = PermuteTask(describe(image), describe(out), grid, places)
        if table is not None:
            assert table.is_contiguous()
            described = Table(table.data_ptr(), table.shape[1], table.shape[2])
            task = TableTask(task.image, task.out, grid, places, described, flag)
        self.facts = (ctypes.c_int64 * 3)()
        assert getattr(self.library, name)(ctypes.byref(task), *options, self.facts) == 0
        return out


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    compiler = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler here")
    library = tmp_path_factory.mktemp("bodies") / "bodies.so"
    flags = ["-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-fPIC", "-shared"]
    source = Path(__file__).with_name("cuda_bodies.cpp")
    subprocess.run([compiler, *flags, f"-I{SOURCES}", str(source), "-o", str(library)], check=True)
    return Bodies(ctypes.CDLL(str(library)))


def lay_out(image, layout):
    """Return an image of the same shape and other strides."""
    if layout == "channels_last":
        return image.contiguous(memory_format=torch.channels_last)
    if layout == "transposed":
        return image.mT.contiguous().mT
    if layout == "sliced":
        return torch.stack([image, image], -1).flatten(-2)[..., ::2]
    if layout in ("shifted", "odd_rows"):  # rows are aligned to single elements only; shifted: so is the first
        wide = image.new_empty(*image.shape[:-1], image.shape[-1] + 1)
        return (wide[..., 1:] if layout == "shifted" else wide[..., :-1]).copy_(image)
    if layout == "padded":  # every row is aligned to 16 bytes, whatever its width
        n, c, h, w = image.shape
        return image.new_empty(n, c, h, (w + 15) // 16 * 16)[..., :w].copy_(image)
    if layout == "spaced":  # every image but the first is aligned to single elements only
        n, c, h, w = image.shape
        space = image.new_empty(n * (c * h * w + 1))
        return space.as_strided(image.shape, (c * h * w + 1, h * w, w, 1)).copy_(image)
    if layout == "expanded":
        return image[:1].expand_as(image)
    return image


def same_bits(a, b):
    words = {4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.contiguous().view(words), b.contiguous().view(words))


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 10, 641, 65537, 2**31 - 1, 2**40 - 87, 2**62 + 1])
def test_divisor(bodies, divisor):
    near = [k * divisor + d for k in (0, 1, 2, 3, 1000) for d in (-1, 0, 1)]
    dividends = [*near, *range(100), 2**31 - 1, 2**31 - 2, 2**32 + 5, 2**62 - 1, 2**63 - 1]
    for dividend in dividends:
        if 0 <= dividend < 2**63:
            assert bodies.library.divides(dividend, divisor), dividend


# Permutation


@pytest.mark.parametrize("small", [2**31, 0])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("block", BLOCKS)
def test_permute(bodies, block, dtype, small):
    image, order = make_image(2, 3, 2 * block[0], 4 * block[1], dtype=dtype), torch.randperm(8)
    out = bodies.permute(image, order, block, small=small)
    assert torch.equal(out, permute_with_loops(image, order, block))


@pytest.mark.parametrize("to_layout", [None, *LAYOUTS[:-1]])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_permute_layouts(bodies, dtype, layout, to_layout):
    for block in [(4, 8), (2, 3)]:
        size = 4 * block[0], 3 * block[1]
        image, order = lay_out(make_image(2, 3, *size, dtype=dtype), layout), torch.randperm(12)
        out = None if to_layout is None else lay_out(torch.zeros(2, 3, *size, dtype=dtype), to_layout)
        assert torch.equal(bodies.permute(image, order, block, out), permute_reference(image, order, block))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_permute_any(bodies, data):
    n, c, rows, columns, h, w = (data.draw(st.integers(low, high)) for low, high in [(0, 3), (0, 4)] + [(1, 9)] * 4)
    dims = data.draw(st.permutations(range(4)))
    image = make_image(n, c, rows * h, columns * w, dtype=data.draw(st.sampled_from(DTYPES)))
    image = image.permute(dims).contiguous().permute(torch.tensor(dims).argsort().tolist())
    order = torch.tensor(data.draw(st.permutations(range(rows * columns))))
    out = bodies.permute(image, order, (h, w), small=data.draw(st.sampled_from([0, 2**31])))
    assert torch.equal(out, permute_reference(image, order, (h, w)))


@pytest.mark.parametrize(
    ("shape", "dtype", "block", "layout", "expected"),
    [
        ((2, 3, 224, 224), torch.uint8, (16, 16), "plain", (16, 16)),
        ((2, 3, 224, 224), torch.uint8, (8, 8), "plain", (8, 16)),
        ((2, 3, 224, 224), torch.uint8, (4, 4), "plain", (4, 16)),
        ((2, 3, 28, 28), torch.uint8, (7, 7), "plain", (1, 4)),
        ((2, 1, 6, 15), torch.uint8, (3, 5), "plain", (1, 1)),
        ((2, 3, 32, 32), torch.float32, (4, 4), "plain", (16, 16)),
        ((2, 3, 28, 28), torch.float32, (7, 7), "plain", (4, 16)),
        ((2, 3, 32, 32), torch.uint8, (4, 4), "channels_last", (4, 16)),
        ((2, 3, 28, 28), torch.uint8, (7, 7), "channels_last", (1, 4)),
    ],
)
def test_permute_uses_the_widest_copies(bodies, shape, dtype, block, layout, expected):
    image = lay_out(make_image(*shape, dtype=dtype), layout)
    order = torch.randperm(shape[2] * shape[3] // (block[0] * block[1]))
    out = bodies.permute(image, order, block)
    assert (*bodies.facts,) == (*expected, 1)
    assert torch.equal(out, permute_reference(image, order, block))


@pytest.mark.parametrize("small", [2**31, 0])
@pytest.mark.parametrize("width", [2**16, 2**16 - 1])
def test_permute_beyond_32_bits(bodies, width, small):
    rows = 4100  # of blocks: 4 GiB, of which only the last and the first are touched
    image, order = torch.empty(1, 1, 16 * rows, width, dtype=torch.uint8), torch.arange(rows)
    order[-2:] = torch.tensor([rows - 1, 0])
    image[0, 0, :16], image[0, 0, -16:] = make_image(16, width), make_image(16, width, seed=1)
    out = bodies.permute(image, order, (16, width), small=small, most=2 * 4 * width // (16 if width % 2 == 0 else 1))
    assert torch.equal(out[0, 0, -32:-16], image[0, 0, -16:])
    assert torch.equal(out[0, 0, -16:], image[0, 0, :16])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bad", [-1, 6, 2**31, 2**32, 2**62, -(2**63)])
def test_bad_order_entries_give_zeros(bodies, bad, layout):
    image, order = lay_out(make_image(4, 3, 8, 12), layout), torch.tensor([4, bad, 0, 1, bad, 1])
    shown = torch.tensor([4, 0, 0, 1, 0, 1])
    hole = torch.zeros(8, 12, dtype=torch.bool)
    hole[:4, 4:8] = hole[4:, 4:8] = True

    def expected(whole):
        return whole.masked_fill(hole, 0)

    assert torch.equal(bodies.permute(image, order, (4, 4)), expected(permute_reference(image, shown, (4, 4))))
    keys = make_image(6, 3, 16, seed=1)
    for decrypt in (False, True):
        out = bodies.aes(image, keys, (4, 4), decrypt, order)
        assert torch.equal(out, expected(aes_reference(image, keys, (4, 4), decrypt, shown)))
    for dtype, left in [(torch.float32, False), (torch.float32, True), (torch.float64, False)]:
        pixels, matrices = lay_out(image.to(dtype), layout), torch.randn(6, 3, 4, 4, dtype=dtype)
        out = bodies.matmul(pixels, matrices, (4, 4), left, order)
        assert same_bits(out, expected(matmul_reference(pixels, matrices, (4, 4), left, shown)))


@pytest.mark.parametrize("shape", [(0, 3, 16, 16), (2, 0, 16, 16), (2, 3, 0, 16), (2, 3, 16, 0)])
def test_nothing_to_do(bodies, shape):
    image = torch.zeros(shape, dtype=torch.uint8)
    positions = (shape[2] // 4) * (shape[3] // 4)
    bodies.permute(image, torch.arange(positions), (4, 4))
    bodies.aes(image, torch.zeros(positions, 1, 16, dtype=torch.uint8), (4, 4))
    bodies.matmul(image.float(), torch.zeros(positions, 1, 4, 4), (4, 4))
    bodies.matmul(image.double(), torch.zeros(positions, 1, 4, 4, dtype=torch.float64), (4, 4))


# AES


def tensor(text):
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


@pytest.mark.parametrize(
    ("key", "expected"),
    [  # FIPS 197, appendix C
        ("000102030405060708090a0b0c0d0e0f", "69c4e0d86a7b0430d8cdb78070b4c55a"),
        ("000102030405060708090a0b0c0d0e0f1011121314151617", "dda97ca4864cdfe06eaf70a0ec0d7191"),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            "8ea2b7ca516745bfeafc49904b496089",
        ),
    ],
)
def test_published_vectors(bodies, key, expected):
    plain, keys = tensor("00112233445566778899aabbccddeeff").reshape(1, 1, 4, 4), tensor(key).reshape(1, 1, -1)
    out = bodies.aes(plain, keys, (4, 4))
    assert torch.equal(out.flatten(), tensor(expected))
    assert torch.equal(bodies.aes(out, keys, (4, 4), decrypt=True), plain)


@pytest.mark.parametrize("length", [16, 24, 32])
@pytest.mark.parametrize("sharing", [1, 3])
@pytest.mark.parametrize("decrypt", [False, True])
def test_aes_matches_loops(bodies, decrypt, sharing, length):
    image, keys = make_image(2, 3, 8, 8), make_image(4, sharing, length, seed=1)
    assert torch.equal(bodies.aes(image, keys, (4, 4), decrypt), aes_with_loops(image, keys, (4, 4), decrypt))


@pytest.mark.parametrize("batch", [1, 4, 5, 7, 8])
@pytest.mark.parametrize("block", [(4, 4), (8, 8), (16, 16), (2, 8), (8, 2), (16, 1), (1, 32), (8, 6), (16, 7)])
def test_aes_blocks_and_batches(bodies, block, batch):
    image, keys, order = make_image(batch, 2, 2 * block[0], 3 * block[1]), make_image(6, 2, 16), torch.randperm(6)
    for decrypt in (False, True):
        out = bodies.aes(image, keys, block, decrypt, order)
        assert bodies.facts[1] == (4 if batch in (4, 7, 8) else 1)
        assert torch.equal(out, aes_reference(image, keys, block, decrypt, order))
        assert torch.equal(bodies.aes(image, keys, block, decrypt, order, enough=2**17), out)
        assert bodies.facts[1] == 1


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("block", [(4, 4), (16, 16)])
@pytest.mark.parametrize("batch", [1, 4])
def test_aes_layouts(bodies, batch, block, layout):
    image = lay_out(make_image(batch, 3, 2 * block[0], 2 * block[1]), layout)
    keys, order = make_image(4, 3, 32), torch.randperm(4)
    expected = aes_reference(image, keys, block, False, order)
    for to_layout in LAYOUTS[:-1]:
        out = bodies.aes(image, keys, block, order=order, out=lay_out(torch.zeros_like(image), to_layout))
        assert torch.equal(out, expected)
    out = bodies.aes(image, keys, block, order=order)
    fast = layout in ("plain", "padded", "expanded") or (layout == "spaced" and batch == 1)
    assert bodies.facts[0] == (block[1] if fast else 1)
    assert torch.equal(out, expected)


# Products


def make_factors(positions, sharing, size, dtype=torch.float32):
    return torch.randn(positions, sharing, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", range(1, 17))
def test_bits_of_ordered_sums(bodies, size, dtype, left):
    block = (size, 3) if left else (3, size)
    image = make_image(2, 2, 2 * block[0], 2 * block[1], dtype=dtype) * 255 - 100
    matrices, order = make_factors(4, 2, size, dtype), torch.randperm(4)
    for enough in (2**19, 1):
        out = bodies.matmul(image, matrices, block, left, order, enough=enough)
        assert bodies.facts[0] == (dtype == torch.float32)
        assert same_bits(out, matmul_reference(image, matrices, block, left, order))
    plain = matmul_with_loops(image, matrices, block, left)
    assert same_bits(bodies.matmul(image, matrices, block, left), plain)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [3, 4, 7, 8])
@pytest.mark.parametrize("sharing", [1, 3])
def test_matmul_layouts(bodies, sharing, size, layout, left):
    image = lay_out(make_image(19, 3, 2 * size, 3 * size, dtype=torch.float32), layout)
    matrices, order = make_factors(6, sharing, size), torch.randperm(6)
    out = bodies.matmul(image, matrices, (size, size), left, order, enough=100)
    fast = layout in ("plain", "padded", "expanded")
    assert bodies.facts[0] == (fast or (layout in ("shifted", "odd_rows", "spaced") and (left or size % 2 == 1)))
    expected = matmul_reference(image, matrices, (size, size), left, order)
    assert same_bits(out, expected)
    for to_layout in LAYOUTS[:-1]:
        target = lay_out(torch.zeros_like(image), to_layout)
        assert same_bits(bodies.matmul(image, matrices, (size, size), left, order, target, enough=100), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_negative_zero_is_kept(bodies, dtype):
    image, matrices = torch.zeros(1, 1, 4, 4, dtype=dtype), -torch.ones(1, 1, 4, 4, dtype=dtype)
    out = bodies.matmul(image, matrices, (4, 4))
    assert out.signbit().all()
    assert not out.any()


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("layout", ["plain", "channels_last"])
@pytest.mark.parametrize("block", [(17, 17), (32, 32), (18, 21), (5, 33)])
def test_large_matrices(bodies, block, layout, dtype, left):
    height, width = block[::-1] if left else block
    image = lay_out(make_image(2, 3, 2 * height, width, dtype=dtype), layout)
    matrices, order = make_factors(2, 3, block[1], dtype), torch.tensor([1, 0])
    out = bodies.matmul(image, matrices, (height, width), left, order)
    exact = matmul_reference(image.double(), matrices.double(), (height, width), left, order)
    torch.testing.assert_close(out.double(), exact, rtol=1e-5, atol=1e-4 if dtype == torch.float32 else 1e-12)
