"""The compiled CPU kernels against the references, bit by bit, at every level of instructions."""

import threading

import pytest
import torch
from calls import LAYOUTS, OPS, Disguised, cpu_library, lay_out, limit_level, make_call, place, same_bits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import make_bundle, make_image
from test_aes_ecb import FIPS_197, SP_800_38A, tensor

from torchprotect import ops, transforms

if cpu_library() is None:
    pytest.skip("the kernels are not built, or switched off", allow_module_level=True)

NAMES = ["block_permute", "aes_ecb", "block_matmul"]
DTYPES = [torch.uint8, torch.bool, torch.int16, torch.bfloat16, torch.float32, torch.int64, torch.complex64]
DTYPES += [torch.float64, torch.complex128]
EVERY_LEVEL = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=[0, 1, 2])
def level(request):
    in_use = limit_level(request.param)
    if in_use != request.param:
        limit_level(2)
        pytest.skip(f"this machine has no instructions of level {request.param}")
    yield in_use
    limit_level(2)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def check(call, close=False):
    """Compare with the reference, without and with ``out``."""
    expected = call.reference()
    made = call.direct()
    assert made.stride() == expected.stride()
    if close:
        scale = expected.abs().max().item() if expected.numel() else 1.0
        torch.testing.assert_close(made, expected, rtol=1e-5, atol=1e-6 * scale)
    else:
        assert same_bits(made, expected)
    return made


def check_into(call, layout, close=False):
    """Compare what is written through a view with the reference, and what lies around it with what was there."""
    whole, view = place(call.image.shape, layout, call.image.dtype)
    around = torch.ones_like(whole, dtype=torch.bool)
    written = around.as_strided(view.shape, view.stride(), view.storage_offset())
    written.fill_(False)
    assert call.but(out=view).public() is view
    assert same_bits(whole[around], torch.ones_like(whole[around]))
    if close:
        torch.testing.assert_close(view, call.direct(), rtol=1e-5, atol=1e-4)
    else:
        assert same_bits(view, call.reference())


def sizes(low, high):
    return st.integers(low, high)


@st.composite
def shapes_and_blocks(draw, highest=9, leading=0):
    lead = [draw(sizes(0, 3)) for _ in range(draw(sizes(leading, 3)))]
    h, w = draw(sizes(1, highest)), draw(sizes(1, 17))
    return [*lead, draw(sizes(0, 4)) * h, draw(sizes(0, 6)) * w], (h, w)


# A reference for each, over shapes, strides and options


@EVERY_LEVEL
@given(shapes_and_blocks(), st.sampled_from(DTYPES), st.sampled_from([*LAYOUTS, "repeated_rows"]), st.data())
def test_permute(level, shape_block, dtype, layout, data):
    shape, block = shape_block
    call = make_call("block_permute", shape, block, dtype=dtype)
    call = call.but(image=lay_out(call.image, layout if 0 not in shape else "plain"))
    check(call)
    check_into(call, data.draw(st.sampled_from(LAYOUTS)))


AES_BLOCKS = [(4, 4), (8, 8), (16, 16), (2, 8), (8, 2), (16, 1), (1, 16), (1, 32), (8, 6), (16, 7), (4, 8), (12, 4)]
AES_BLOCKS += [(6, 8), (2, 16), (5, 16), (3, 64), (32, 64), (4, 1024)]


@EVERY_LEVEL
@given(st.sampled_from(AES_BLOCKS), st.sampled_from([*LAYOUTS, "expanded", "repeated_rows"]), st.data())
def test_aes(level, block, layout, data):
    rows, columns, channels = data.draw(sizes(1, 3)), data.draw(sizes(1, 5)), data.draw(sizes(1, 3))
    lead = [data.draw(sizes(0, 4)) for _ in range(data.draw(sizes(0, 2)))]
    if block[0] * block[1] > 1000:
        rows, columns = min(rows, 2), 1
    shape = [*lead, channels, rows * block[0], columns * block[1]]
    options = {"sharing": data.draw(st.sampled_from([1, channels])), "length": data.draw(st.sampled_from([16, 24, 32]))}
    options |= {"flag": data.draw(st.booleans()), "ordered": data.draw(st.booleans())}
    call = make_call("aes_ecb", shape, block, **options)
    call = call.but(image=lay_out(call.image, layout if 0 not in shape else "plain"))
    check(call)
    check_into(call, data.draw(st.sampled_from(LAYOUTS)))


@EVERY_LEVEL
@given(
    shapes_and_blocks(highest=17, leading=1),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([*LAYOUTS, "repeated_rows"]),
    st.data(),
)
def test_matmul(level, shape_block, dtype, layout, data):
    shape, block = shape_block
    left, sharing = data.draw(st.booleans()), data.draw(st.sampled_from([1, shape[-3]]))
    ordered = data.draw(st.booleans())
    call = make_call("block_matmul", shape, block, dtype=dtype, sharing=sharing, flag=left, ordered=ordered)
    call = call.but(image=lay_out(call.image, layout if 0 not in shape else "plain"))
    close = block[0 if left else 1] > 16
    check(call, close)
    check_into(call, data.draw(st.sampled_from(LAYOUTS)), close)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [17, 31, 32, 33, 48, 65])
def test_large_matrices(level, size, dtype, left):
    for other, layout in [(1, "plain"), (5, "framed"), (16, "permuted"), (33, "transposed")]:
        block = (size, other) if left else (other, size)
        shape = (3, 2, 2 * block[0], 3 * block[1])
        call = make_call("block_matmul", shape, block, dtype=dtype, sharing=2, flag=left)
        call = call.but(image=lay_out(call.image, layout))
        check(call, close=True)
        check_into(call, layout, close=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 4, 7, 8, 16])
def test_special_numbers(level, size, dtype):
    """Infinities, denormals and both zeros come out as the reference has them."""
    call = make_call("block_matmul", (2, 2 * size, 3 * size), (size, size), dtype=dtype)
    tiny, huge = torch.finfo(dtype).tiny, torch.finfo(dtype).max
    for n, value in enumerate([0.0, -0.0, tiny / 8, -tiny, huge, -huge, float("inf")]):
        call.image.view(-1)[n::11] = value
        call.table.view(-1)[n::13] = value
    expected, made = call.reference(), call.direct()
    missing = expected.isnan()
    assert torch.equal(made.isnan(), missing)
    assert same_bits(made[~missing], expected[~missing])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_half_precision_goes_through_the_reference(dtype, layout):
    call = make_call("block_matmul", (2, 3, 8, 12), (4, 4), dtype=dtype)
    check(call.but(image=lay_out(call.image, layout)))
    check_into(call, layout)


def test_tables_and_orders_of_any_strides(level):
    for name in NAMES:
        call = make_call(name, (2, 3, 8, 12), (4, 4), sharing=3)
        order = torch.stack([call.order, call.order], -1)[:, 1]
        table = None if call.table is None else lay_out(call.table, "stepped")
        assert same_bits(call.but(order=order, table=table).direct(), call.reference())
        if table is not None:
            equal = call.table[:1, :1].expand_as(call.table)
            assert same_bits(call.but(table=equal).direct(), call.but(table=equal.contiguous()).reference())


@pytest.mark.parametrize("name", NAMES)
def test_odd_strides_of_single_elements(level, name):
    """The stride of a dimension of one element means nothing."""
    shapes = [(1, 1, 4, 16), (1, 3, 4, 16), (3, 1, 4, 16), (1, 1, 1, 16), (1, 1, 16, 1), (2, 1, 1, 16), (2, 2, 16, 1)]
    for shape in shapes:
        call = make_call(name, shape, shape[-2:], sharing=shape[1])
        strides = [7 if size == 1 else stride for size, stride in zip(shape, call.image.stride())]
        for chosen in (strides, [0 if size == 1 else stride for size, stride in zip(shape, strides)]):
            odd = call.image.as_strided(shape, chosen)
            assert same_bits(call.but(image=odd).direct(), call.reference())
            out = torch.zeros_like(call.image).as_strided(shape, chosen)
            assert same_bits(call.but(out=out).direct(), call.reference())


# Results larger than the caches, which are streamed, by one thread and by two


def in_parts(call, parts):
    """Run the call on parts of the batch that are too small to be streamed."""
    return torch.cat([call.but(image=part).direct() for part in call.image.tensor_split(parts)])


LARGE = [
    ("block_permute", (57, 3, 224, 224), (16, 16), {}),
    ("block_permute", (57, 3, 225, 225), (9, 15), {}),
    ("block_permute", (11000, 28, 28), (7, 7), {}),
    ("block_permute", (57, 3, 224, 224), (8, 8), {}),
    ("block_permute", (57, 3, 224, 224), (14, 7), {}),  # seven bytes a row, two tiles above each other
    ("block_permute", (30, 3, 224, 112), (4, 2), {"dtype": torch.int32}),
    ("block_permute", (57, 3, 224, 224), (28, 4), {}),
    ("block_permute", (41, 3, 96, 99), (4, 3), {"dtype": torch.float64}),
    ("block_permute", (3, 1700, 1700), (1700, 100), {}),
    ("aes_ecb", (57, 3, 224, 224), (16, 16), {"sharing": 3}),  # planes left over in each channel
    ("aes_ecb", (310, 3, 96, 96), (8, 8), {}),  # bands left over in each plane
    ("aes_ecb", (65, 3, 224, 224), (4, 4), {"sharing": 3, "length": 32}),
    ("aes_ecb", (103, 3, 176, 156), (16, 13), {"sharing": 3, "flag": True}),
    ("aes_ecb", (101, 2, 212, 204), (4, 204), {"length": 24}),
    ("block_matmul", (91, 3, 96, 96), (4, 4), {"sharing": 3}),
    ("block_matmul", (95, 3, 88, 88), (8, 4), {"sharing": 3, "flag": True}),
    ("block_matmul", (31, 3, 154, 147), (7, 7), {"sharing": 3}),
    ("block_matmul", (15, 3, 165, 165), (11, 15), {"dtype": torch.float64}),
    ("block_matmul", (29, 3, 160, 160), (32, 32), {"sharing": 3}),
    ("block_matmul", (15, 3, 224, 224), (56, 56), {}),  # panels of columns that are not full
]


@pytest.mark.parametrize(("name", "shape", "block", "options"), LARGE)
def test_large_results(level, threads, name, shape, block, options):
    call = make_call(name, shape, block, **options)
    assert call.image.nbytes >= 8 * 2**20
    expected = in_parts(call, 5)
    for count in (1, 2):
        threads(count)
        assert same_bits(call.direct(), expected)
    whole, view = place(shape, "shifted", call.image.dtype, value=0)
    call.but(out=view).direct()
    assert same_bits(view, expected)
    assert not whole[:1].any()
    assert not whole[-2:].any()


def test_large_results_of_other_layouts(level, threads):
    threads(2)
    for name, layout in [("block_permute", "permuted"), ("aes_ecb", "permuted"), ("block_matmul", "framed")]:
        call = make_call(name, (20, 3, 256, 256), (8, 8), dtype=torch.int32 if name == "block_permute" else None)
        call = call.but(image=lay_out(call.image, layout))
        expected = in_parts(call, 7)
        assert same_bits(call.direct(), expected)
        for to_layout in ("plain", "permuted", "framed"):
            whole, view = place(call.image.shape, to_layout, call.image.dtype, value=0)
            call.but(out=view).direct()
            assert same_bits(view, expected)
            assert whole.count_nonzero() == expected.count_nonzero()


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.sampled_from(NAMES), sizes(1, 24), sizes(1, 24), sizes(1, 9), sizes(1, 9), sizes(1, 3), st.booleans())
def test_any_large_result(name, h, w, rows, columns, channels, shared):
    if name == "aes_ecb":
        w = 4 * -(-w // 4) if h % 4 == 0 else 16
    shape = [1, channels, rows * h, columns * w]
    item = 4 if name == "block_matmul" else 1
    shape[0] = (8 * 2**20) // (channels * shape[2] * shape[3] * item) + 1
    call = make_call(name, shape, (h, w), sharing=1 if shared else channels)
    assert same_bits(call.direct(), in_parts(call, 3))


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.sampled_from([4, 7, 8]), sizes(1, 3), sizes(0, 40), sizes(0, 9), sizes(0, 1))
def test_short_rows_of_large_planes(side, slices, more_columns, more_rows, extra):
    # long enough for turning in registers (8 or 16 tiles a row), or one too few
    columns = (16 if side == 4 else 8) + more_columns - extra
    rows = 1 + more_rows + 20_000 // (columns * side * side * slices)
    plane = columns * rows * side * side * slices
    call = make_call("block_permute", (2**23 // plane + 1, rows * side * slices, columns * side), (side * slices, side))
    whole, view = place(call.image.shape, "shifted", torch.uint8, value=0)
    call.but(out=view).direct()
    assert same_bits(view, in_parts(call, 3))
    assert whole.count_nonzero() == view.count_nonzero()


# Published vectors


def test_published_vectors(level):
    plain = tensor("00112233445566778899aabbccddeeff")
    for copies in (1, 2, 4, 37):  # alone, and in company
        for shape, block in [((4, 4), (4, 4)), ((1, 16), (1, 16)), ((16, 1), (16, 1)), ((2, 8), (2, 8))]:
            for key, expected in FIPS_197:
                image, keys = plain.view(1, 1, *shape).repeat(copies, 1, 1, 1), tensor(key).view(1, 1, -1)
                made = OPS.aes_ecb(image, keys, block)
                assert torch.equal(made, tensor(expected).view(1, 1, *shape).expand_as(image))
                assert torch.equal(OPS.aes_ecb(made, keys, block, True), image)
    plain, expected = (torch.cat([tensor(pair[side]) for pair in SP_800_38A]) for side in (0, 1))
    keys = tensor("2b7e151628aed2a6abf7158809cf4f3c").view(1, 1, 16)
    for block in [(4, 16), (1, 64), (8, 8), (16, 4), (64, 1)]:
        made = OPS.aes_ecb(plain.view(1, *block), keys, block)
        assert torch.equal(made.flatten(), expected)
        assert torch.equal(OPS.aes_ecb(made, keys, block, True).flatten(), plain)


# How PyTorch meets them


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_opcheck(name):
    for shape, layout in [((2, 3, 8, 12), "plain"), ((2, 3, 8, 12), "permuted"), ((2, 2, 3, 8, 12), "spaced")]:
        call = make_call(name, shape, (4, 4), sharing=3)
        call = call.but(image=lay_out(call.image, layout))
        torch.library.opcheck(getattr(OPS, name).default, call.arguments)
        torch.library.opcheck(getattr(OPS, name).out, call.arguments, {"out": torch.empty_like(call.image)})


class Module(torch.nn.Module):
    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, image):
        into = torch.empty_like(image)
        first = self.call.but(image=image).public()
        return self.call.but(image=first, out=into).public() + 1


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_compile_and_export(name):
    call = make_call(name, (2, 3, 8, 12), (4, 4), sharing=3)
    module = Module(call)
    expected = call.but(image=call.reference()).reference() + 1
    assert same_bits(module(call.image), expected)
    assert same_bits(torch.compile(module, fullgraph=True)(call.image), expected)
    exported = torch.export.export(module, (call.image,))
    assert same_bits(exported.module()(call.image), expected)
    assert any(f"torchprotect.{name}" in str(node.target) for node in exported.graph.nodes)


@pytest.mark.parametrize("name", NAMES)
def test_results_inside_modes_and_transforms(name):
    call = make_call(name, (2, 3, 8, 12), (4, 4), sharing=3)
    expected = call.reference()
    with torch.inference_mode():
        assert same_bits(call.direct(), expected)
        assert same_bits(call.but(out=torch.empty_like(call.image)).direct(), expected)
    with torch.autocast("cpu"):
        assert same_bits(call.direct(), expected)
    assert same_bits(torch.vmap(lambda x: call.but(image=x).public())(call.image), expected)


@pytest.mark.parametrize("name", ["block_permute", "block_matmul"])
def test_autograd_detects_writes_to_out(name):
    """A tensor that a gradient needs and that is overwritten must not give a wrong gradient in silence."""
    call = make_call(name, (2, 3, 8, 12), (4, 4), dtype=torch.float32)
    weight, target = torch.rand(call.image.shape, requires_grad=True), torch.ones_like(call.image)
    loss, before = (weight * target).sum(), target._version
    call.but(out=target).public()
    assert target._version > before
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("name", NAMES)
def test_two_python_threads(name):
    calls = [make_call(name, (4, 3, 96, 96), (8, 8), sharing=3, seed=seed) for seed in (0, 50)]
    expected, wrong, start = [call.reference() for call in calls], [], threading.Barrier(2)

    def work(call, result):
        start.wait()
        for _ in range(30):
            if not same_bits(call.direct(), result):
                wrong.append(call)

    workers = [threading.Thread(target=work, args=pair) for pair in zip(calls, expected)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("start", ["fork", "spawn", "forkserver"])
def test_workers_make_the_same_bits(start):
    if start not in torch.multiprocessing.get_all_start_methods():
        pytest.skip(f"no {start} on this system")
    chosen = [
        transforms.BlockPermute(make_bundle("permutation").transform),
        transforms.AESECBDisguise(make_bundle("aes", channels=3).transform),
        transforms.RMTDisguise(make_bundle("rmt", channels=3).transform),
    ]
    make_image(256, 256).float().mm(torch.rand(256, 256))  # this process has used its threads
    dataset = Disguised(chosen)
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=None, num_workers=1, multiprocessing_context=start, timeout=120
    )
    for (images, backend), (here, _) in zip(loader, (dataset[i] for i in range(len(dataset))), strict=True):
        assert backend == "compiled"
        assert all(map(same_bits, images, here))


def test_backend():
    assert {kinds["cpu"] for kinds in ops.backend().values()} == {"compiled"}
