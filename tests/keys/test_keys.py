import copy
import os
import subprocess
import sys
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from support import make_bundle, sent_to_worker

from torchprotect import keys
from torchprotect.errors import (
    BlockSizeError,
    InputRangeError,
    InputTypeError,
    KeyFileError,
    KeyKindError,
    KeySizeError,
    LabelError,
)

SIZE, BLOCK = {"image_size": (16, 24)}, {"block_size": (4, 8)}


def every_kind() -> list[keys.Key]:
    return [
        keys.PermutationKey.generate(**SIZE, **BLOCK),
        keys.AESKey.generate(**SIZE, **BLOCK, channels=3, bits=256),
        keys.RMTKey.generate(**SIZE, **BLOCK, matrix="uniform", side="left"),
        keys.LabelKey.generate(classes=7),
        make_bundle("rmt"),
        make_bundle("permutation"),
    ]


@pytest.mark.parametrize("key", every_kind(), ids=lambda key: key.kind)
def test_values_are_frozen_equal_by_fingerprint_and_sent_to_workers(key):
    again = sent_to_worker(key)
    assert again == key
    assert hash(again) == hash(key)
    assert copy.deepcopy(key) is copy.copy(key) is key
    assert len({key, again}) == 1
    assert len(key.fingerprint) == 64
    with pytest.raises(AttributeError):
        key.root = torch.zeros(32, dtype=torch.uint8)
    assert key != type(key).from_parts(key.params, {**key.tensors(), "root": 255 - key.root})


@pytest.mark.parametrize("key", every_kind(), ids=lambda key: key.kind)
def test_repr_shows_no_secret(key):
    text = repr(key) + str(key)
    assert key.fingerprint[:12] in text
    assert key.fingerprint not in text
    assert "tensor" not in text
    assert bytes(key.root.tolist()).hex()[:16] not in text


def test_two_keys_differ():
    for first, second in zip(every_kind(), every_kind()):
        assert first != second
        for name, tensor in first.tensors().items():
            if tensor.numel() > 20:
                assert not torch.equal(tensor, second.tensors()[name])


def test_device_copies_are_not_sent_to_workers():
    key = make_bundle("aes").transform
    before = len(ForkingPickler.dumps(key))
    key.on("keys", torch.device("meta"))
    assert key.on("keys", torch.device("meta")) is key.on("keys", torch.device("meta"))
    assert len(ForkingPickler.dumps(key)) == before


def test_permutations_are_uniform():
    orders = torch.stack(
        [keys.PermutationKey.generate(image_size=(4, 4), block_size=(2, 2)).order for _ in range(2400)]
    )
    codes = (orders * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.tensor([(codes == code).sum() for code in codes.unique()])
    assert len(counts) == 24
    assert (
        float(((counts - 100) ** 2 / 100).sum()) < 80
    )  # chi-squared, 23 degrees of freedom: exceeded once in 30 million runs


def test_orthogonal_matrices_follow_haar_on_the_whole_group():
    key = keys.RMTKey.generate(image_size=(120, 120), block_size=(3, 3))
    matrices = key.matrices[:, 0].double()
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3).double().expand(1600, 3, 3), rtol=0, atol=1e-5)
    determinants = torch.linalg.det(matrices)
    assert 0.42 < float((determinants > 0).double().mean()) < 0.58  # O(3), not SO(3); 6 deviations
    assert (
        float(matrices.mean(0).abs().max()) < 0.09
    )  # every entry has mean 0, deviation 0.58: 6 deviations of the mean
    assert abs(float((matrices**2).mean()) - 1 / 3) < 1e-6
    assert float(((matrices**2).mean(0) - 1 / 3).abs().max()) < 0.05


@pytest.mark.parametrize(("matrix", "mean", "deviation"), [("uniform", 0.5, 12**-0.5), ("gaussian", 0.0, 1.0)])
def test_invertible_matrices(matrix, mean, deviation):
    key = keys.RMTKey.generate(image_size=(64, 64), block_size=(8, 8), matrix=matrix, channels=3)
    values = key.matrices.double()
    assert abs(float(values.mean()) - mean) < 0.05
    assert abs(float(values.std()) - deviation) < 0.05
    assert float(torch.linalg.cond(values).max()) <= 10_000
    product = values @ key.inverses.double()
    torch.testing.assert_close(product, torch.eye(8).double().expand_as(product), rtol=0, atol=1e-2)


def test_matrices_that_would_not_be_bounded_are_refused(monkeypatch):
    monkeypatch.setattr("torchprotect.keys.rmt._MAX_ROUNDS", 2)  # each round takes a while at this size
    with pytest.raises(BlockSizeError, match="orthogonal"):
        keys.RMTKey.generate(image_size=(1024, 1024), block_size=(1024, 1024), matrix="uniform")


def test_shapes_follow_the_arguments():
    assert keys.AESKey.generate(**SIZE, **BLOCK).keys.shape == (12, 1, 16)
    assert keys.AESKey.generate(**SIZE, **BLOCK, channels=3, bits=192).keys.shape == (12, 3, 24)
    assert keys.RMTKey.generate(**SIZE, **BLOCK, channels=3).matrices.shape == (12, 3, 8, 8)
    assert keys.RMTKey.generate(**SIZE, **BLOCK, side="left").matrices.shape == (12, 1, 4, 4)
    assert keys.PermutationKey.generate(**SIZE, **BLOCK).order.shape == (12,)
    assert keys.AESKey.generate(image_size=[16, 24], block_size=[4, 8]).image_size == (16, 24)


def test_own_key_for_each_position():
    keys_ = keys.AESKey.generate(image_size=(32, 32), block_size=(4, 4), channels=3).keys.reshape(-1, 16)
    assert len(keys_.unique(dim=0)) == len(keys_) == 192


@pytest.mark.parametrize("channels", [None, 3])
def test_one_secret_for_all_positions(channels, tmp_path):
    made = [
        keys.AESKey.generate(**SIZE, **BLOCK, channels=channels, shared=True),
        keys.RMTKey.generate(**SIZE, **BLOCK, channels=channels, shared=True),
        keys.RMTKey.generate(**SIZE, **BLOCK, channels=channels, matrix="uniform", side="left", shared=True),
    ]
    for n, key in enumerate(made):
        keys.save(key, tmp_path / str(n))
        for each in (key, keys.load(tmp_path / str(n)), sent_to_worker(key)):
            assert each.shared
            assert ", shared, fingerprint=" in repr(each)
            values = next(tensor for name, tensor in each.tensors().items() if name != "root")
            assert values.shape[:2] == (12, channels or 1)
            assert values.is_contiguous()
            assert torch.equal(values, values[:1].repeat(12, 1, *[1] * (values.ndim - 2)))
            assert len(values[0].unique(dim=0)) == (channels or 1)  # channels have their own
        assert "shared" not in key.params  # the file format has no field for it


def test_own_secrets_are_not_shared():
    kinds = (keys.AESKey, keys.RMTKey)
    assert not any(kind.generate(**SIZE, **BLOCK).shared for kind in kinds)
    # a single block has nothing to share its secret with
    alone = [kind.generate(image_size=(4, 8), block_size=(4, 8), shared=True) for kind in kinds]
    assert not any(key.shared for key in alone)
    almost = keys.AESKey.generate(**SIZE, **BLOCK, shared=True).tensors()
    almost["keys"] = almost["keys"].clone()
    almost["keys"][-1, 0, -1] ^= 1
    params = keys.AESKey.generate(**SIZE, **BLOCK).params
    assert not keys.AESKey.from_parts(params, almost).shared


def test_a_shared_matrix_is_checked_and_inverted_like_others():
    key = keys.RMTKey.generate(**SIZE, **BLOCK, matrix="gaussian", shared=True)
    product = key.matrices.double() @ key.inverses.double()
    torch.testing.assert_close(product, torch.eye(8).double().expand_as(product), rtol=0, atol=1e-2)
    assert key.inverses.shape == key.matrices.shape
    singular = torch.zeros_like(key.matrices)
    with pytest.raises(KeyFileError, match="ill-conditioned"):
        keys.RMTKey.from_parts(key.params, {**key.tensors(), "matrices": singular})


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: keys.PermutationKey.generate(image_size=(28, 28), block_size=(5, 4)), BlockSizeError, r"\[1, 2, 4, 7"),
        (lambda: keys.PermutationKey.generate(image_size=(28,), block_size=(4, 4)), BlockSizeError, "pair"),
        (lambda: keys.PermutationKey.generate(image_size=(28, 28), block_size=(0, 4)), BlockSizeError, "from 1 to"),
        (lambda: keys.PermutationKey.generate(image_size=(10**12, 28), block_size=(7, 4)), BlockSizeError, "from 1 to"),
        (lambda: keys.AESKey.generate(image_size=(28, 28), block_size=(7, 7)), BlockSizeError, r"\(4, 4\)"),
        (lambda: keys.AESKey.generate(image_size=(9, 9), block_size=(3, 3)), BlockSizeError, "pad the image"),
        (lambda: keys.AESKey.generate(**SIZE, **BLOCK, bits=512), InputRangeError, "bits must be 128, 192 or 256"),
        (lambda: keys.AESKey.generate(**SIZE, **BLOCK, channels=0), InputRangeError, "channels"),
        (lambda: keys.RMTKey.generate(**SIZE, **BLOCK, matrix="haar"), InputRangeError, "orthogonal"),
        (lambda: keys.RMTKey.generate(**SIZE, **BLOCK, side="up"), InputRangeError, "right"),
        (lambda: keys.LabelKey.generate(classes=1), InputRangeError, "at least 2"),
        (lambda: keys.KeyBundle(keys.LabelKey.generate(classes=3)), KeyKindError, "BlockKey"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_bundles_hold_keys_that_fit():
    aes = keys.AESKey.generate(image_size=(16, 16), block_size=(4, 4))
    with pytest.raises(KeySizeError, match="same sizes"):
        keys.KeyBundle(aes, keys.PermutationKey.generate(image_size=(16, 16), block_size=(8, 8)))
    order = keys.PermutationKey.generate(image_size=(16, 16), block_size=(4, 4))
    with pytest.raises(KeyKindError, match="cannot have a second permutation"):
        keys.KeyBundle(order, order)
    assert keys.KeyBundle(aes) != keys.KeyBundle(aes)  # each bundle has a root of its own


def test_tampered_values_are_refused_without_being_shown():
    order = keys.PermutationKey.generate(**SIZE, **BLOCK)
    broken = order.order.clone()
    broken[0] = broken[1]
    with pytest.raises(KeyFileError, match="not a permutation") as caught:
        keys.PermutationKey(order.image_size, order.block_size, broken, order.root)
    assert str(broken.tolist()) not in str(caught.value)


class TestLabelKey:
    def test_map_and_unmap(self):
        key = keys.LabelKey.generate(classes=10)
        labels = torch.randint(0, 10, (4, 5))
        assert torch.equal(key.unmap(key.map(labels)), labels)
        assert [key.unmap(key.map(y)) for y in range(10)] == list(range(10))
        assert sorted(key.map(y) for y in range(10)) == list(range(10))
        assert torch.equal(key.map(torch.tensor([1], dtype=torch.uint8)), key.labels[1:2])
        assert key.map(torch.empty(0, dtype=torch.int64)).shape == (0,)

    @pytest.mark.parametrize("label", [10, -1, torch.tensor([3, 10]), torch.tensor(-1)])
    def test_outside(self, label):
        with pytest.raises(LabelError, match=r"0\.\.9"):
            keys.LabelKey.generate(classes=10).map(label)

    @pytest.mark.parametrize(
        ("label", "message"),
        [
            (1.0, "an integer or a tensor of integers, got float"),
            ("1", "got str"),
            (True, "got bool"),
            (None, "got NoneType"),
            (torch.tensor([0.5]), "argmax"),
            (torch.tensor([True]), "argmax"),
            ([1, 2], "torch.tensor makes one of numbers"),
            (np.array([1, 2]), "torch.from_numpy makes one"),
            (torch.eye(10), "argmax"),
            (torch.eye(10, dtype=torch.int64)[:3], "one-hot"),
        ],
    )
    def test_wrong_type(self, label, message):
        with pytest.raises(InputTypeError, match=message):
            keys.LabelKey.generate(classes=10).map(label)

    def test_rows_that_are_not_one_hot_are_labels(self):
        key = keys.LabelKey.generate(classes=10)
        for labels in (5 * torch.eye(10, dtype=torch.int64), torch.ones(2, 10, dtype=torch.int64), torch.eye(9).long()):
            assert torch.equal(key.unmap(key.map(labels)), labels)

    def test_numbers_of_numpy(self):
        key = keys.LabelKey.generate(classes=10)
        assert key.map(np.int64(3)) == key.map(np.uint8(3)) == key.map(3)
        assert type(key.map(np.int64(3))) is int


@pytest.mark.slow
def test_keys_ignore_every_seed():
    """The public implementations draw "secret" permutations from a fixed seed; ours cannot be seeded at all."""
    program = (
        "import random, numpy, torch; random.seed(1); numpy.random.seed(1); torch.manual_seed(1);"
        "from torchprotect import keys;"
        "print(keys.PermutationKey.generate(image_size=(16, 16), block_size=(1, 1)).order.tolist())"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout for _ in range(2)]
    assert runs[0] != runs[1]


def test_no_prng_state_changes(monkeypatch):
    drawn = []
    real = os.urandom
    monkeypatch.setattr(os, "urandom", lambda n: drawn.append(n) or real(n))
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    every_kind()
    assert sum(drawn) > 1000
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
