import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make_image, permute_with_loops

from torchprotect import ops
from torchprotect.errors import BlockSizeError

DTYPES = [torch.uint8, torch.bool, torch.int16, torch.float16, torch.bfloat16, torch.float32, torch.float64]
DTYPES += [torch.int64, torch.complex64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 12), (3, 8, 12), (2, 3, 8, 12), (2, 1, 3, 8, 12)])
def test_matches_loops(shape, dtype, device):
    image, order = make_image(*shape).to(dtype), torch.randperm(6)
    out = ops.block_permute(image.to(device), order.to(device), (4, 4))
    assert torch.equal(out.cpu(), permute_with_loops(image, order, (4, 4)))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.data())
def test_any_grid(batch, rows, columns, h, w, data):
    image = make_image(batch, 2, rows * h, columns * w)
    order = torch.tensor(data.draw(st.permutations(range(rows * columns))))
    out = ops.block_permute(image, order, (h, w))
    assert torch.equal(out, permute_with_loops(image, order, (h, w)))
    assert torch.equal(ops.block_permute(out, order.argsort(), (h, w)), image)


@pytest.mark.parametrize("layout", ["channels_last", "transposed", "expanded", "sliced"])
def test_layouts(layout):
    plain = make_image(4, 3, 8, 8)
    image = {
        "channels_last": plain.contiguous(memory_format=torch.channels_last),
        "transposed": plain.mT,
        "expanded": plain[:1].expand(4, -1, -1, -1),
        "sliced": make_image(4, 3, 8, 16)[..., ::2],
    }[layout]
    order = torch.randperm(4)
    out = ops.block_permute(image, order, (4, 4))
    assert torch.equal(out, permute_with_loops(image.contiguous(), order, (4, 4)))
    if layout == "channels_last":
        assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_opcheck_compile_vmap_gradient():
    image, order = torch.rand(2, 3, 8, 8, dtype=torch.float64, requires_grad=True), torch.randperm(4)
    op = torch.ops.torchprotect.block_permute
    torch.library.opcheck(op.default, (image, order, (4, 4)))
    torch.library.opcheck(op.out, (image.detach(), order, (4, 4)), {"out": torch.empty_like(image)})
    assert torch.autograd.gradcheck(lambda x: ops.block_permute(x, order, (4, 4)), (image,))
    compiled = torch.compile(lambda x: ops.block_permute(x, order, (4, 4)) + 1, fullgraph=True)
    assert torch.equal(compiled(image), ops.block_permute(image, order, (4, 4)) + 1)
    mapped = torch.vmap(lambda x: ops.block_permute(x, order, (4, 4)), in_dims=1, out_dims=1)(image)
    assert torch.equal(mapped, ops.block_permute(image, order, (4, 4)))
    orders = torch.stack([torch.randperm(4) for _ in range(2)])
    each = torch.vmap(lambda x, o: ops.block_permute(x, o, (4, 4)))(image, orders)
    assert torch.equal(each, torch.stack([ops.block_permute(x, o, (4, 4)) for x, o in zip(image, orders)]))


def test_out_is_written_in_place():
    image, order = make_image(2, 3, 8, 8), torch.randperm(4)
    out = torch.zeros_like(image)
    assert ops.block_permute(image, order, (4, 4), out=out) is out
    assert torch.equal(out, ops.block_permute(image, order, (4, 4)))
    with pytest.raises(ValueError, match="out must have the image's shape"):
        ops.block_permute(image, order, (4, 4), out=out[:1])


def test_refusals():
    image = make_image(3, 8, 8)
    with pytest.raises(BlockSizeError, match=r"do not divide.*widths that do: \[1, 2, 4, 8\]"):
        ops.block_permute(image, torch.arange(4), (4, 3))
    with pytest.raises(ValueError, match=r"order must be int64 \[4\]"):
        ops.block_permute(image, torch.arange(3), (4, 4))
    with pytest.raises(ValueError, match="order must be int64"):
        ops.block_permute(image, torch.arange(4, dtype=torch.int32), (4, 4))
    with pytest.raises(ValueError, match="at least two dimensions"):
        ops.block_permute(image[0, 0], torch.arange(4), (4, 4))
