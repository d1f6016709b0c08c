"""The checked-in vectors are the byte-exact specification: the package and slow references must both give them."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors import safe_open
from support import aes_with_loops, matmul_with_loops, permute_with_loops

from torchprotect import functional as F
from torchprotect import keys, transforms

VECTORS = Path(__file__).parent.parent / "vectors"
NAMES = sorted(path.stem for path in VECTORS.glob("*.safetensors"))


def load(name):
    with safe_open(VECTORS / f"{name}.safetensors", "pt") as file:
        header = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    key = keys.load(VECTORS / "keys" / f"{header['key']}.safetensors") if header["key"] else None
    return tensors, key, json.loads(header["options"])


def test_all_vectors_are_here():
    assert len(NAMES) == 16


def disguise(name, tensors, key, options):
    if name == "salt_and_pepper":
        return F.salt_and_pepper(tensors["input"], tensors["uniforms"], **options)
    if name == "rmt-noise":
        return F.rmt_disguise(tensors["input"], key, tensors["delta"])
    if name == "rmt-permuted":
        order = keys.load(VECTORS / "keys" / "permutation.safetensors")
        assert torch.equal(order.order, tensors["order"])
        return F.rmt_disguise(tensors["input"], key, None, order)
    return transforms.from_key(key, **options)(tensors["input"])


@pytest.mark.parametrize("name", NAMES)
def test_package_matches_the_vectors(name):
    tensors, key, options = load(name)
    out = disguise(name, tensors, key, options)
    assert out.dtype == tensors["output"].dtype
    assert torch.equal(out, tensors["output"])


@pytest.mark.parametrize("name", [name for name in NAMES if "unit" not in name and name != "salt_and_pepper"])
def test_slow_references_match_the_vectors(name):
    tensors, key, _ = load(name)
    image, order = tensors["input"], None
    if isinstance(key, keys.KeyBundle):
        key, order = key.transform, key.permutation.order
    if name == "block_permute":
        out = permute_with_loops(image, key.order, (4, 8))
    elif name.startswith("aes"):
        out = aes_with_loops(image, key.keys, (4, 8))
    else:
        pixels = image.float() + tensors.get("delta", torch.tensor(0.0))
        out = matmul_with_loops(pixels, key.matrices, (4, 8), key.side == "left")
    order = tensors.get("order", order)
    assert torch.equal(out if order is None else permute_with_loops(out, order, (4, 8)), tensors["output"])


@pytest.mark.parametrize("unit", [8, 4, 2])
def test_pillow_matches_the_vectors_of_small_units(unit):
    """Scale up both ways, run the cipher over whole blocks, let Pillow scale down, permute."""
    tensors, bundle, _ = load(f"aes_ecb-unit-{unit}")
    factor = 16 // unit
    large = tensors["input"].repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    cipher = aes_with_loops(large, bundle.transform.keys, (4 * factor, 8 * factor))
    small = torch.empty_like(tensors["input"])
    for n, c in np.ndindex(*small.shape[:2]):
        picture = PIL.Image.fromarray(cipher[n, c].numpy()).resize((16, 8), PIL.Image.Resampling.BICUBIC)
        small[n, c] = torch.from_numpy(np.array(picture))
    assert torch.equal(permute_with_loops(small, bundle.permutation.order, (4, 8)), tensors["output"])


def test_salt_and_pepper_matches_its_definition():
    tensors, _, options = load("salt_and_pepper")
    amount = options["amount"]
    for n, y, x in np.ndindex(*tensors["uniforms"].shape):
        chance, plain = float(tensors["uniforms"][n, y, x]), tensors["input"][n, :, y, x].tolist()
        expected = [0] * 3 if chance < amount / 2 else [255] * 3 if chance >= 1 - amount / 2 else plain
        assert tensors["output"][n, :, y, x].tolist() == expected
