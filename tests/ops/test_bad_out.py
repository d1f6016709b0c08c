"""Results that cannot be written to: refused, and nothing written."""

import pytest
import torch
from calls import make_call, place
from refusals import BLOCK, NAMES, SHAPE, WITH_TABLE, check_refusal, make

from torchprotect.errors import InputShapeError, ProtectError


@pytest.mark.parametrize("name", NAMES)
def test_out_of_another_kind(name):
    call = make(name)
    image = call.image
    shapes = [(1, 3, 8, 12), (2, 3, 8, 13), (2, 3, 12, 8), (3, 8, 12), (6, 8, 12), ()]
    outs = [image.new_zeros(shape) for shape in shapes]
    outs += [torch.zeros(SHAPE, dtype=torch.int32), torch.zeros(SHAPE, dtype=torch.float64), image.to("meta")]
    outs += [image.new_zeros(1, 1, 1, 1).expand(2**10, 2**10, 2**10, 2**10)]
    for out in outs:
        check_refusal(call.but(out=out), InputShapeError, "out must have")


@pytest.mark.parametrize("name", NAMES)
def test_out_that_is_the_image(name):
    call = make(name)
    whole, image = place((4, *SHAPE[1:]), "plain", call.image.dtype)
    image = image[:2].copy_(call.image)
    outs = [image, image.view(SHAPE), image.mT.contiguous().mT.set_(image), whole[1:3], image.flip(0).set_(image)]
    for out in outs:
        check_refusal(call.but(image=image, out=out), InputShapeError, "out shares memory")


def over(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a tensor like ``like`` that begins with the memory of ``tensor``, after moving that to a larger place."""
    space = torch.zeros(max(tensor.nbytes, like.nbytes) + 64, dtype=torch.uint8)
    tensor.set_(space[: tensor.nbytes].view(tensor.dtype).view(tensor.shape).copy_(tensor))
    return space[: like.nbytes].view(like.dtype).view(like.shape)


@pytest.mark.parametrize("name", NAMES)
def test_out_that_is_the_order(name):
    call = make(name).but(order=torch.arange(6))
    check_refusal(call.but(out=over(call.order, call.image)), InputShapeError, "out shares memory")


@pytest.mark.parametrize("name", WITH_TABLE)
def test_out_that_is_the_table(name):
    call = make(name)
    check_refusal(call.but(out=over(call.table, call.image)), InputShapeError, "out shares memory")


OVERLAPPING = [(0, 96, 12, 1), (288, 0, 12, 1), (288, 96, 0, 1), (288, 96, 12, 0), (0, 0, 0, 0)]  # as if expanded
OVERLAPPING += [(96, 96, 12, 1), (288, 96, 11, 1), (1, 1, 1, 1)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strides", OVERLAPPING, ids=str)
def test_out_that_overlaps_itself(name, strides):
    call = make(name)
    out = call.image.new_zeros(576).as_strided(SHAPE, strides)
    check_refusal(call.but(out=out), InputShapeError, "out overlaps itself")


@pytest.mark.parametrize("name", NAMES)
def test_out_where_gradients_are_needed(name):
    """It is written to past autograd, so a gradient would be wrong: refused, as PyTorch's own functions do."""
    if name == "aes_ecb":
        pytest.skip("bytes have no gradients")
    call = make_call(name, SHAPE, BLOCK, dtype=torch.float32)
    for out, image in [
        (torch.zeros(SHAPE, requires_grad=True), call.image),
        (torch.zeros(SHAPE), call.image.clone().requires_grad_()),
    ]:
        with pytest.raises((ProtectError, RuntimeError)):
            call.but(out=out, image=image).public()
        assert not out.detach().any()
        with torch.no_grad():
            assert torch.equal(call.but(out=out, image=image).public(), call.reference())
