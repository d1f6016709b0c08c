import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import aes_with_loops, make_image, permute_with_loops

from torchprotect import ops
from torchprotect.errors import BlockSizeError
from torchprotect.ops import _aes_torch
from torchprotect.ops.aes_ecb import _crypt_cpu

FIPS_197 = [  # appendix C: key, plain text 00112233445566778899aabbccddeeff, cipher text
    ("000102030405060708090a0b0c0d0e0f", "69c4e0d86a7b0430d8cdb78070b4c55a"),
    ("000102030405060708090a0b0c0d0e0f1011121314151617", "dda97ca4864cdfe06eaf70a0ec0d7191"),
    ("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "8ea2b7ca516745bfeafc49904b496089"),
]
SP_800_38A = [  # F.1.1: AES-128 ECB, four units under one key
    ("6bc1bee22e409f96e93d7e117393172a", "3ad77bb40d7a3660a89ecaf32466ef97"),
    ("ae2d8a571e03ac9c9eb76fac45af8e51", "f5d3d58503b9699de785895a96fdbaaf"),
    ("30c81c46a35ce411e5fbc1191a0a52ef", "43b1cd7f598ece23881b00e3ed030688"),
    ("f69f2445df4f9b17ad2b417be66c3710", "7b0c785e27e8ad3f8223207104725dd4"),
]


def tensor(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


@pytest.mark.parametrize("crypt", [_crypt_cpu, _aes_torch.crypt])
def test_published_vectors(crypt):
    plain = tensor("00112233445566778899aabbccddeeff")
    for key, expected in FIPS_197:
        assert torch.equal(crypt(plain[None], tensor(key)[None], False)[0], tensor(expected))
        assert torch.equal(crypt(tensor(expected)[None], tensor(key)[None], True)[0], plain)
    key = tensor("2b7e151628aed2a6abf7158809cf4f3c")[None]
    units, expected = (torch.cat([tensor(pair[side]) for pair in SP_800_38A])[None] for side in (0, 1))
    assert torch.equal(crypt(units, key, False), expected)


def test_published_vector_through_the_operator():
    image = torch.cat([tensor(plain) for plain, _ in SP_800_38A]).reshape(1, 4, 16)
    keys = tensor("2b7e151628aed2a6abf7158809cf4f3c").reshape(1, 1, 16)
    expected = torch.cat([tensor(cipher) for _, cipher in SP_800_38A]).reshape(1, 4, 16)
    assert torch.equal(ops.aes_ecb(image, keys, (4, 16)), expected)


@pytest.mark.parametrize("length", [16, 24, 32])
@pytest.mark.parametrize("sharing", [1, 3])
@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 3, 8, 8), (2, 2, 3, 8, 8)])
def test_matches_loops(shape, sharing, length, device):
    image, keys = make_image(*shape), make_image(4, sharing, length, seed=1)
    out = ops.aes_ecb(image.to(device), keys.to(device), (4, 4))
    assert torch.equal(out.cpu(), aes_with_loops(image, keys, (4, 4)))
    assert torch.equal(ops.aes_ecb(out, keys.to(device), (4, 4), decrypt=True).cpu(), image)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.integers(1, 3), st.sampled_from([(4, 4), (2, 8), (16, 1), (8, 6)]), st.data())
def test_fused_order(batch, channels, block, data):
    image = make_image(batch, channels, 2 * block[0], 2 * block[1])
    keys = make_image(4, data.draw(st.sampled_from([1, channels])), 16, seed=2)
    order = torch.tensor(data.draw(st.permutations(range(4))))
    out = ops.aes_ecb(image, keys, block, order=order)
    assert torch.equal(out, permute_with_loops(aes_with_loops(image, keys, block), order, block))
    back = ops.aes_ecb(out, keys[order], block, decrypt=True, order=order.argsort())
    assert torch.equal(back, image)


def test_torch_kernel_gives_the_bits_of_pycryptodome():
    for length in (16, 24, 32):
        units, keys = make_image(5, 320, seed=3), make_image(5, length, seed=4)
        for decrypt in (False, True):
            assert torch.equal(_aes_torch.crypt(units, keys, decrypt), _crypt_cpu(units, keys, decrypt))


def test_layouts():
    image, keys = make_image(4, 3, 8, 8), make_image(4, 3, 16)
    last = image.contiguous(memory_format=torch.channels_last)
    out = ops.aes_ecb(last, keys, (4, 4))
    assert torch.equal(out, ops.aes_ecb(image, keys, (4, 4)))
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(ops.aes_ecb(image.mT, keys, (4, 4)), ops.aes_ecb(image.mT.contiguous(), keys, (4, 4)))
    assert ops.aes_ecb(image[:0], keys, (4, 4)).shape == (0, 3, 8, 8)


@pytest.mark.slow
def test_opcheck_compile_vmap():
    image, keys, order = make_image(2, 3, 8, 8), make_image(4, 1, 16), torch.randperm(4)
    op = torch.ops.torchprotect.aes_ecb
    torch.library.opcheck(op.default, (image, keys, (4, 4), False, order))
    torch.library.opcheck(op.default, (image, keys, (4, 4), True))
    torch.library.opcheck(op.out, (image, keys, (4, 4), False, order), {"out": torch.empty_like(image)})
    compiled = torch.compile(lambda x: ops.aes_ecb(x, keys, (4, 4), order=order) ^ 1, fullgraph=True)
    assert torch.equal(compiled(image), ops.aes_ecb(image, keys, (4, 4), order=order) ^ 1)
    mapped = torch.vmap(lambda x: ops.aes_ecb(x, keys, (4, 4)))(image)
    assert torch.equal(mapped, ops.aes_ecb(image, keys, (4, 4)))
    many = make_image(2, 4, 1, 16, seed=5)
    each = torch.vmap(lambda x, k: ops.aes_ecb(x, k, (4, 4)))(image, many)
    assert torch.equal(each, torch.stack([ops.aes_ecb(x, k, (4, 4)) for x, k in zip(image, many)]))


def test_refusals():
    image, keys = make_image(3, 8, 8), make_image(4, 1, 16)
    with pytest.raises(TypeError, match="uint8"):
        ops.aes_ecb(image.float(), keys, (4, 4))
    with pytest.raises(BlockSizeError, match="not a multiple of 16"):
        ops.aes_ecb(image, make_image(16, 1, 16), (2, 2))
    with pytest.raises(ValueError, match=r"keys must be uint8 \[4, 3 or 1, 16, 24 or 32\]"):
        ops.aes_ecb(image, keys[:3], (4, 4))
    with pytest.raises(ValueError, match="keys must be"):
        ops.aes_ecb(image, make_image(4, 2, 16), (4, 4))
    with pytest.raises(ValueError, match="keys must be"):
        ops.aes_ecb(image, make_image(4, 1, 20), (4, 4))
