import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make_image, matmul_with_loops, permute_with_loops

from torchprotect import ops


def matrices(positions, sharing, size, dtype=torch.float32, seed=0):
    return torch.randn(positions, sharing, size, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("sharing", [1, 2])
def test_bits_of_scalar_loops(sharing, left, dtype, device):
    image = make_image(2, 2, 8, 12, dtype=dtype) * 255
    table = matrices(6, sharing, 4, dtype)
    out = ops.block_matmul(image.to(device), table.to(device), (4, 4), left=left)
    assert torch.equal(out.cpu(), matmul_with_loops(image, table, (4, 4), left))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2), st.integers(1, 16), st.integers(1, 16), st.booleans(), st.data())
def test_any_block_up_to_16(batch, h, w, left, data):
    image = make_image(batch, 1, 2 * h, w, dtype=torch.float32)
    table, order = matrices(2, 1, h if left else w), torch.tensor(data.draw(st.permutations(range(2))))
    out = ops.block_matmul(image, table, (h, w), left=left, order=order)
    assert torch.equal(out, permute_with_loops(matmul_with_loops(image, table, (h, w), left), order, (h, w)))


def test_bits_do_not_depend_on_the_batch():
    image, table = make_image(64, 1, 28, 28, dtype=torch.float32), matrices(16, 1, 7)
    whole = ops.block_matmul(image, table, (7, 7))
    assert torch.equal(whole, torch.cat([ops.block_matmul(x, table, (7, 7)) for x in image.split(3)]))


@pytest.mark.parametrize("left", [False, True])
def test_large_matrices(left):
    image, table = make_image(2, 3, 32, 64, dtype=torch.float64), matrices(2, 3, 32, torch.float64)
    out = ops.block_matmul(image.float(), table.float(), (32, 32), left=left)
    exact = matmul_with_loops(image, table, (32, 32), left)
    torch.testing.assert_close(out.double(), exact, rtol=1e-5, atol=1e-4)


def test_layouts():
    image, table = make_image(4, 3, 8, 8, dtype=torch.float32), matrices(4, 3, 4)
    last = image.contiguous(memory_format=torch.channels_last)
    out = ops.block_matmul(last, table, (4, 4))
    assert torch.equal(out, ops.block_matmul(image, table, (4, 4)))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(
        ops.block_matmul(image.mT, table, (4, 4)), ops.block_matmul(image.mT.contiguous(), table, (4, 4))
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    image, table = make_image(1, 8, 8, dtype=torch.float32), matrices(4, 1, 4)
    out = ops.block_matmul(image.to(dtype), table.to(dtype), (4, 4))
    torch.testing.assert_close(out.float(), ops.block_matmul(image, table, (4, 4)), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("sharing", [1, 2])
@pytest.mark.parametrize("order", [None, torch.tensor([2, 0, 3, 1])])
def test_gradients(left, sharing, order):
    image = torch.rand(2, 2, 4, 8, dtype=torch.float64, requires_grad=True)
    table = matrices(4, sharing, 2 if left else 4, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, r: ops.block_matmul(x, r, (2, 4), left=left, order=order), (image, table))
    assert torch.autograd.gradcheck(lambda r: ops.block_matmul(image[0].detach(), r, (2, 4), left=left), (table,))


@pytest.mark.slow
def test_opcheck_compile_vmap():
    image, table = make_image(2, 3, 8, 8, dtype=torch.float32).requires_grad_(), matrices(4, 1, 4).requires_grad_()
    order = torch.randperm(4)
    op = torch.ops.torchprotect.block_matmul
    torch.library.opcheck(op.default, (image, table, (4, 4), False, order))
    plain = (image.detach(), table.detach(), (4, 4), True)
    torch.library.opcheck(op.out, plain, {"out": torch.empty_like(image)})
    compiled = torch.compile(lambda x: ops.block_matmul(x, table, (4, 4), order=order) * 2, fullgraph=True)
    assert torch.equal(compiled(image), ops.block_matmul(image, table, (4, 4), order=order) * 2)
    assert torch.equal(
        torch.vmap(lambda x: ops.block_matmul(x, table, (4, 4)))(image), ops.block_matmul(image, table, (4, 4))
    )
    tables = torch.stack([matrices(4, 1, 4, seed=n) for n in range(2)])
    each = torch.vmap(lambda x, r: ops.block_matmul(x, r, (4, 4)))(image, tables)
    assert torch.equal(each, torch.stack([ops.block_matmul(x, r, (4, 4)) for x, r in zip(image, tables)]))


def test_refusals():
    image = make_image(3, 8, 8, dtype=torch.float32)
    with pytest.raises(TypeError, match="floating point"):
        ops.block_matmul(make_image(3, 8, 8), matrices(4, 1, 4), (4, 4))
    for wrong in (matrices(3, 1, 4), matrices(4, 2, 4), matrices(4, 1, 5), matrices(4, 1, 4, torch.float64)):
        with pytest.raises(ValueError, match="matrices must be"):
            ops.block_matmul(image, wrong, (4, 4))


def test_backend_names_every_operator():
    assert ops.backend().keys() == {"aes_ecb", "block_matmul", "block_permute"}
    assert {kind for kinds in ops.backend().values() for kind in kinds.values()} <= {"compiled", "reference"}
