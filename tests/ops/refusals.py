"""What tests of bad input share: calls that would be right, and what a refusal looks like."""

import pytest
import torch
from calls import Call, make_call, same_bits

NAMES = ["block_permute", "aes_ecb", "block_matmul"]
WITH_TABLE = NAMES[1:]
SHAPE, BLOCK = (2, 3, 8, 12), (4, 4)


def make(name: str) -> Call:
    return make_call(name, SHAPE, BLOCK, sharing=3)


def check_refusal(call: Call, error: type, match: str, direct=(RuntimeError,)):
    """Expect the error from the public function, one or another from PyTorch's, and all memory as it was."""
    held = [t for t in (call.image, call.table, call.order, call.out) if t is not None and t.device.type == "cpu"]
    held = [t for t in held if t.layout == torch.strided and t.numel() < 2**20]
    before = [t.clone() for t in held]
    with pytest.raises(error, match=match) as caught:
        call.public()
    assert caught.type is error
    with pytest.raises((error, *direct)):
        call.direct()
    if call.out is None:
        with pytest.raises((error, *direct[1:])):
            call.reference()
    assert all(map(same_bits, held, before))


def with_out(call: Call) -> Call:
    return call.but(out=torch.zeros_like(call.image))
