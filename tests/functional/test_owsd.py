"""Scrambling: a slow reference in numpy, golden values, batches, refusals."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from torchprotect import functional as F
from torchprotect import keys
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError
from torchprotect.training import full_precision

VECTORS = Path(__file__).parent.parent / "vectors"


@pytest.fixture(scope="module")
def key():
    return keys.OWSDKey.generate(embedding_size=8, image_size=(16, 24), width=4)


@pytest.fixture(scope="module")
def embeddings():
    return torch.rand(6, 8, generator=torch.Generator().manual_seed(3)) * 4


def up(image, weight, stride, cut):
    """Transposed convolution by definition: each pixel adds the kernel, scaled, to the output."""
    (count, rows, columns), (_, made, high, wide) = image.shape, weight.shape
    out = np.zeros((made, (rows - 1) * stride + high, (columns - 1) * stride + wide))
    for c, y, x in np.ndindex(count, rows, columns):
        out[:, y * stride : y * stride + high, x * stride : x * stride + wide] += image[c, y, x] * weight[c]
    return out[:, cut : out.shape[1] - cut, cut : out.shape[2] - cut]


def scramble_with_loops(embedding, tensors):
    image, layer = embedding.double().numpy()[:, None, None], 0
    weights = {name: tensor.double().numpy() for name, tensor in tensors.items()}
    while True:
        first = layer == 0
        image = up(image, weights[f"layers.{layer}.weight"], 1 if first else 2, 0 if first else 1)
        if f"layers.{layer + 1}.running_mean" not in weights:
            return np.rint((np.tanh(image) + 1) / 2 * 255)
        mean, variance = (weights[f"layers.{layer + 1}.running_{name}"][:, None, None] for name in ("mean", "var"))
        image = np.maximum((image - mean) / np.sqrt(variance + 1e-5), 0)
        layer += 3


def test_slow_reference(key, embeddings):
    out = F.owsd_scramble(embeddings, key)
    assert out.dtype == torch.uint8
    assert out.shape == (6, 3, 16, 24)
    for made, embedding in zip(out, embeddings, strict=True):
        off = np.abs(made.numpy().astype(int) - scramble_with_loops(embedding, key.generator))
        assert off.max() <= 1
        assert (off == 0).mean() > 0.99


def test_golden_values():
    vector = load_file(VECTORS / "owsd" / "scrambled.safetensors")
    out = F.owsd_scramble(vector["input"], keys.load(VECTORS / "keys" / "owsd.safetensors"))
    assert (out.int() - vector["output"].int()).abs().max() <= 1
    assert len(vector["output"].unique()) > 100


def test_batched_and_single_results_are_equal(key, embeddings):
    out = F.owsd_scramble(embeddings, key)
    assert torch.equal(out, F.owsd_scramble(embeddings, key))
    singles = torch.cat([F.owsd_scramble(embeddings[i : i + 1], key) for i in range(6)])
    assert (out.int() - singles.int()).abs().max() <= 1
    others = torch.cat([embeddings[:1], torch.zeros(5, 8)])
    assert (
        F.owsd_scramble(others, key)[0].int() - out[0].int()
    ).abs().max() <= 1  # independent of the other embeddings


def test_threads_share_a_key(key, embeddings):
    expected = F.owsd_scramble(embeddings, key)
    with ThreadPoolExecutor(4) as pool:
        for made in pool.map(lambda _: F.owsd_scramble(embeddings, key), range(100)):
            assert torch.equal(made, expected)
    assert all(tensor.is_meta for tensor in key.network.state_dict().values())


def test_autocast_and_cudnn_settings_have_no_effect(key, embeddings):
    expected = F.owsd_scramble(embeddings, key)
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(F.owsd_scramble(embeddings, key), expected)
    after = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32
    assert before == after


def test_cudnn_flags_are_restored_after_concurrent_scrambling():
    def flags():
        cudnn = torch.backends.cudnn
        return cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32

    def compute(first):
        with full_precision(torch.device("cuda")):
            time.sleep(0.1 if first else 0.3)  # the second begins while the first computes, and ends after it
            return flags()

    before = flags()
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(compute, (True, False))) == [(True, False, False)] * 2
    assert flags() == before


def test_keys_differ(key, embeddings):
    other = keys.OWSDKey.generate(embedding_size=8, image_size=(16, 24), width=4)
    assert (F.owsd_scramble(embeddings, other).int() - F.owsd_scramble(embeddings, key).int()).abs().float().mean() > 10


def test_empty_batch(key):
    assert F.owsd_scramble(torch.zeros(0, 8), key).shape == (0, 3, 16, 24)


@pytest.mark.parametrize(
    ("embeddings", "error"),
    [
        (torch.zeros(2, 8, dtype=torch.uint8), InputTypeError),
        (torch.zeros(2, 9), InputShapeError),
        (torch.zeros(8), InputShapeError),
        (torch.full((2, 8), torch.nan), InputRangeError),
    ],
)
def test_refusals(key, embeddings, error):
    with pytest.raises(error):
        F.owsd_scramble(embeddings, key)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_within_one_grey_level(key, embeddings):
    out = F.owsd_scramble(embeddings.cuda(), key).cpu()
    assert (out.int() - F.owsd_scramble(embeddings, key).int()).abs().max() <= 1


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_at_full_size():
    key = keys.OWSDKey.generate()
    embeddings = torch.rand(16, 2048).cuda()
    out = F.owsd_scramble(embeddings, key)
    torch.backends.cudnn.benchmark = True
    try:
        assert torch.equal(F.owsd_scramble(embeddings, key), out)
    finally:
        torch.backends.cudnn.benchmark = False
    singles = torch.cat([F.owsd_scramble(each[None], key) for each in embeddings])
    assert (singles.int() - out.int()).abs().max() <= 1
    assert (F.owsd_scramble(embeddings[:2].cpu(), key).int() - out[:2].cpu().int()).abs().max() <= 1
