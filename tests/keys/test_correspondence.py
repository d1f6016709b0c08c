import copy
import json
import os
import random
import struct
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from support import sent_to_worker

from torchprotect import adversarial, keys
from torchprotect._json import canonical
from torchprotect.errors import (
    InputRangeError,
    InputTypeError,
    KeyFileError,
    KeyIntegrityError,
    KeyKindError,
    LabelError,
    ProtectError,
)
from torchprotect.keys import CorrespondenceKey
from torchprotect.keys._base import fingerprint
from torchprotect.keys.correspondence import MIX_MODES

VECTORS = Path(__file__).parent.parent / "vectors"
sys.path.insert(0, str(VECTORS))
import verify_keys  # noqa: E402

# Adversarial Data Encryption, as printed: section 3.3, Table 4, Table 6, section 5
P = {0: 8, 1: 3, 2: 1, 3: 0, 4: 2, 5: 4, 6: 9, 7: 6, 8: 7, 9: 5}
TARGET_1 = [8, 3, 1, 0, 2, 4, 9, 6, 7, 5]
TARGET_2 = [4, 2, 3, 5, 7, 1, 8, 0, 6, 9]
TARGET_3 = [6, 2, 9, 1, 0, 7, 5, 3, 4, 8]
TARGET_4 = [3, 9, 6, 1, 5, 8, 4, 7, 0, 2]
MRI = {0: (1, 3), 1: (2, 4), 2: (3, 0), 3: (4, 1), 4: (0, 2)}


class TestGenerate:
    @pytest.mark.parametrize("classes", [2, 3, 10, 100])
    def test_first_targets_are_a_derangement(self, classes):
        first = CorrespondenceKey.generate(classes=classes).targets[:, 0]
        assert first.sort().values.tolist() == list(range(classes))
        assert not bool((first == torch.arange(classes)).any())

    @pytest.mark.parametrize("counts", [1, 2, 4, 8, [1, 2, 3, 4, 5, 6, 7, 8, 1]])
    def test_numbers_of_targets(self, counts):
        key = CorrespondenceKey.generate(classes=9, targets=counts)
        wanted = [counts] * 9 if isinstance(counts, int) else counts
        assert key.targets.shape == key.weights.shape == (9, max(wanted))
        for label, count in enumerate(wanted):
            row, weights = key.targets[label].tolist(), key.weights[label]
            assert len(set(row[:count])) == count  # different ones
            assert label not in row  # never itself
            assert set(row[count:]) <= {row[0]}
            torch.testing.assert_close(weights[:count], torch.full((count,), 1 / count))
            assert not bool(weights[count:].any())
        assert key.classes == 9

    def test_all_other_classes_can_be_targets(self):
        key = CorrespondenceKey.generate(classes=5, targets=4)
        for label in range(5):
            assert sorted([*key.targets[label].tolist(), label]) == list(range(5))

    def test_weights_as_given(self):
        weights = [[0.3, 0.7], [1.0], [0.2, 0.8]]
        key = CorrespondenceKey.generate(classes=3, targets=[2, 1, 2], weights=weights)
        assert torch.equal(key.weights, torch.tensor([[0.3, 0.7], [1.0, 0.0], [0.2, 0.8]]))

    def test_derangements_are_uniform(self):
        """The nine derangements of four classes are equally frequent."""
        counts: dict[tuple[int, ...], int] = {}
        for _ in range(1800):
            drawn = tuple(CorrespondenceKey.generate(classes=4).targets[:, 0].tolist())
            counts[drawn] = counts.get(drawn, 0) + 1
        assert len(counts) == 9
        chi = sum((n - 200) ** 2 / 200 for n in counts.values())
        assert chi < 52  # 8 degrees of freedom: exceeded once in 50 million runs

    def test_further_targets_are_uniform(self):
        counts = torch.zeros(5, 5)
        for _ in range(400):
            for label, (first, second) in enumerate(CorrespondenceKey.generate(classes=5, targets=2).targets.tolist()):
                assert len({label, first, second}) == 3
                counts[label, second] += 1
        off = counts[~torch.eye(5, dtype=torch.bool)]
        assert float(((off - 100) ** 2 / 100).sum()) < 70  # 15 degrees of freedom

    def test_seeds_have_no_influence(self):
        drawn = []
        with torch.random.fork_rng(devices=[]):
            for _ in range(2):
                random.seed(1)
                np.random.seed(1)
                torch.manual_seed(1)
                drawn.append(CorrespondenceKey.generate(classes=50, targets=3).targets)
        assert not torch.equal(*drawn)

    def test_os_entropy_alone(self, monkeypatch):
        drawn, real = [], os.urandom
        monkeypatch.setattr(os, "urandom", lambda n: drawn.append(n) or real(n))
        states = torch.get_rng_state(), np.random.get_state()[1].copy()
        CorrespondenceKey.generate(classes=10, targets=3)
        assert sum(drawn) >= 8 * 10 * 11 + 32  # a word a class for eleven permutations, and the root
        assert torch.equal(states[0], torch.get_rng_state())
        assert (states[1] == np.random.get_state()[1]).all()
        monkeypatch.setattr(os, "urandom", lambda n: (b"\x03\x01\x02" * n)[:n] if n == 32 else real(n))
        assert CorrespondenceKey.generate(classes=10).root.tolist() == list((b"\x03\x01\x02" * 32)[:32])

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"classes": 1}, InputRangeError, "at least 2"),
            ({"classes": True}, InputRangeError, "at least 2"),
            ({"classes": 10.0}, InputRangeError, "at least 2"),
            ({"classes": 10, "targets": 0}, InputRangeError, "from 1 to 8"),
            ({"classes": 10, "targets": 9}, InputRangeError, "from 1 to 8"),
            ({"classes": 3, "targets": 3}, InputRangeError, "from 1 to 2"),
            ({"classes": 3, "targets": [1, 1]}, InputRangeError, "got 2"),
            ({"classes": 3, "targets": [1, 1, True]}, InputRangeError, "1 to 2"),
            ({"classes": 3, "targets": True}, InputRangeError, "1 to 2"),
            ({"classes": 3, "targets": 1.5}, InputTypeError, "must be an integer"),
            ({"classes": 3, "mix_mode": "blend"}, InputRangeError, "mix_mode must be one of"),
            ({"classes": 9, "targets": 3, "mix_mode": "cutmix"}, InputRangeError, "mixes 2 targets, not 3"),
            (
                {"classes": 9, "targets": 2, "mix_mode": "mixup-and-concat"},
                InputRangeError,
                "mixes 4 targets, not 2",
            ),
            ({"classes": 2, "weights": [[1.0]]}, InputRangeError, "one row for each class"),
            ({"classes": 2, "weights": [[0.5, 0.5]] * 2}, InputRangeError, "one number for each of its targets"),
            ({"classes": 3, "targets": 2, "weights": [[0.5, 0.6]] * 3}, InputRangeError, "sum to 1"),
            ({"classes": 3, "targets": 2, "weights": [[1.5, -0.5]] * 3}, InputRangeError, "sum to 1"),
            ({"classes": 3, "targets": 2, "weights": [[float("nan"), 0.5]] * 3}, InputRangeError, "sum to 1"),
            ({"classes": 2, "weights": [["1"], ["1"]]}, InputTypeError, "row of numbers"),
            ({"classes": 2, "weights": [1.0, 1.0]}, InputTypeError, "row of numbers"),
        ],
    )
    def test_refusals(self, options, error, message):
        with pytest.raises(error, match=message):
            CorrespondenceKey.generate(**options)


class TestFromMap:
    def test_any_map(self):
        """Fixed points, repeated targets and unused classes are allowed: an attacker cannot know."""
        key = CorrespondenceKey.from_map([[0], [0, 0], [2, 1, 0]])
        assert key.targets.tolist() == [[0, 0, 0], [0, 0, 0], [2, 1, 0]]
        third = torch.tensor(1 / 3).item()
        assert key.weights.tolist() == [[1, 0, 0], [0.5, 0.5, 0], [third, third, third]]
        assert key.mix_mode == "concat"

    @pytest.mark.parametrize(
        ("rows", "error"),
        [
            ([[1]], InputRangeError),
            ([[1], []], InputRangeError),
            ([[1], [2]], InputRangeError),
            ([[1], [-1]], InputRangeError),
            ([[1], [True]], InputRangeError),
            ([[1], [0.0]], InputRangeError),
            ([[1], [0] * 9], InputRangeError),
            ([1, 0], InputTypeError),
        ],
    )
    def test_refusals(self, rows, error):
        with pytest.raises(error):
            CorrespondenceKey.from_map(rows)


class TestPresets:
    def test_basic(self):
        key = CorrespondenceKey.preset("basic")
        assert {y: int(t) for y, t in enumerate(key.targets[:, 0])} == P
        assert key.targets.tolist() == [[t] for t in TARGET_1]
        assert key.weights.tolist() == [[1.0]] * 10

    def test_table_4(self):
        key = CorrespondenceKey.preset("horizontal-concat")
        assert key.targets.T.tolist() == [TARGET_1, TARGET_2]
        assert key.weights.tolist() == [[0.5, 0.5]] * 10
        assert key.mix_mode == "concat"
        assert int(key.targets[9, 1]) == 9  # the paper's fixed point

    def test_table_6(self):
        key = CorrespondenceKey.preset("mixup-and-concat")
        assert key.targets.T.tolist() == [TARGET_1, TARGET_2, TARGET_3, TARGET_4]
        assert key.mix_mode == "mixup-and-concat"
        torch.testing.assert_close(key.weights, torch.tensor([[0.4 / 2, 0.6 / 2, 0.6 / 2, 0.4 / 2]] * 10))
        assert int(key.targets[7, 3]) == 7

    def test_mri(self):
        key = CorrespondenceKey.preset("mri")
        assert {y: tuple(row) for y, row in enumerate(key.targets.tolist())} == MRI
        assert key.mix_mode == "concat"

    def test_known_to_everyone_but_each_with_a_root_of_its_own(self):
        assert CorrespondenceKey.preset("basic") != CorrespondenceKey.preset("basic")
        with pytest.raises(InputRangeError, match=r"'basic', 'horizontal-concat', 'mixup-and-concat', 'mri'"):
            CorrespondenceKey.preset("table 4")


class TestOf:
    def test_rows_of_each_label(self):
        key = CorrespondenceKey.preset("mri")
        for labels in (torch.tensor([4, 0, 4]), torch.tensor([4, 0, 4], dtype=torch.uint8)):
            targets, weights = key.of(labels)
            assert targets.tolist() == [[0, 2], [1, 3], [0, 2]]
            assert weights.tolist() == [[0.5, 0.5]] * 3
        assert key.of(torch.zeros(0, dtype=torch.int64))[0].shape == (0, 2)

    @pytest.mark.parametrize("label", [-1, 5])
    def test_outside(self, label):
        with pytest.raises(LabelError, match=r"0\.\.4"):
            CorrespondenceKey.preset("mri").of(torch.tensor([0, label]))

    @pytest.mark.parametrize("labels", [torch.tensor([1.0]), torch.tensor([True])])
    def test_wrong_type(self, labels):
        with pytest.raises(InputTypeError, match="labels must be integers"):
            CorrespondenceKey.preset("mri").of(labels)

    def test_what_comes_out_is_what_the_engine_takes(self):
        key = CorrespondenceKey.generate(classes=4, targets=[1, 2, 1, 2], mix_mode="cutmix")
        targets, weights = key.of(torch.arange(4))
        images = torch.rand(4, 2, 6, 6, generator=torch.Generator().manual_seed(0))
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(72, 4))
        how = adversarial.PGDSettings(eps=0.5, step_size=0.2, steps=2)
        positions = torch.full((4, 2), 0.4)
        found = adversarial.perturb_toward(
            net, images, targets, weights, how, mix_mode=key.mix_mode, positions=positions
        )
        assert found.max_distance > 0

    def test_ways_are_those_of_the_engine(self):
        assert set(MIX_MODES) == set(adversarial.MIX_MODES)


class TestValue:
    def test_equality_workers_copy(self):
        key = CorrespondenceKey.generate(classes=10, targets=2)
        again = sent_to_worker(key)
        assert again == key == copy.deepcopy(key)
        assert torch.equal(again.targets, key.targets)
        assert again.mix_mode == key.mix_mode
        key.on("targets", torch.device("meta"))
        assert len(ForkingPickler.dumps(key)) == len(ForkingPickler.dumps(again))
        with pytest.raises(AttributeError):
            key.mix_mode = "mixup"

    def test_everything_is_under_the_fingerprint(self):
        key = CorrespondenceKey.from_map([[1, 2], [2, 0], [0, 1]])
        others = [
            CorrespondenceKey(key.targets.flip(1), key.weights, key.mix_mode, key.root),
            CorrespondenceKey(key.targets, torch.tensor([[0.4, 0.6]] * 3), key.mix_mode, key.root),
            CorrespondenceKey(key.targets, key.weights, "mixup", key.root),
            CorrespondenceKey(key.targets, key.weights, key.mix_mode, 255 - key.root),
        ]
        assert len({key.fingerprint, *(other.fingerprint for other in others)}) == 5

    def test_repr_shows_no_target(self):
        key = CorrespondenceKey.from_map([[7]] * 6 + [[7, 8]] + [[3]] * 3, weights=[[1]] * 6 + [[0.3, 0.7]] + [[1]] * 3)
        assert (
            repr(key)
            == str(key)
            == (f"CorrespondenceKey(classes=10, targets=2, way=concat, fingerprint={key.fingerprint[:12]})")
        )


class TestFile:
    @pytest.mark.parametrize("passphrase", [None, "größer als nötig"])
    @pytest.mark.parametrize("make", [CorrespondenceKey.generate, "bundle"])
    def test_round_trip(self, tmp_path, passphrase, make):
        key = CorrespondenceKey.generate(classes=10, targets=[1, 2, 3, 4, 5, 1, 1, 1, 1, 1])
        key = keys.KeyBundle(key, None, keys.LabelKey.generate(classes=10)) if make == "bundle" else key
        keys.save(key, tmp_path / "key", passphrase)
        again = keys.load(tmp_path / "key", passphrase)
        assert type(again) is type(key)
        assert again == key
        inner = again.transform if make == "bundle" else again
        wanted = key.transform if make == "bundle" else key
        assert torch.equal(inner.targets, wanted.targets)
        assert torch.equal(inner.weights, wanted.weights)

    @pytest.mark.parametrize("name", ["correspondence", "correspondence-uneven"])
    def test_every_changed_byte_is_refused(self, tmp_path, name):
        content = (VECTORS / "keys" / f"{name}.safetensors").read_bytes()
        path = tmp_path / "key"
        for place in range(len(content)):
            changed = bytearray(content)
            changed[place] ^= 1
            path.write_bytes(changed)
            with pytest.raises(ProtectError):
                keys.load(path)
        for length in range(0, len(content), 7):
            path.write_bytes(content[:length])
            with pytest.raises(KeyFileError):
                keys.load(path)

    def test_independent_reading(self):
        """Targets and shares as the specification alone gives them."""
        for name in ("correspondence", "correspondence-uneven", "correspondence-bundle"):
            path = VECTORS / "keys" / f"{name}.safetensors"
            header, tensors = verify_keys.read(str(path))
            params, prefix = json.loads(header["params"]), ""
            if "transform" in params:
                params, prefix = params["transform"]["params"], "transform."
            targets, shares = verify_keys.correspondence(params, tensors, prefix)
            key = keys.load(path)
            key = key.transform if prefix else key
            assert (key.targets.tolist(), key.weights.tolist()) == (targets, shares)
        assert shares == [[1.0]] * 10
        uneven = keys.load(VECTORS / "keys" / "correspondence-uneven.safetensors")
        third = [0.2, 0.3, 0.5]
        assert uneven.weights[2].tolist() == [struct.unpack("<f", struct.pack("<f", share))[0] for share in third]
        assert uneven.mix_mode == "mixup"


def forge(path: Path, params: dict | None = None, **changes) -> None:
    """Write a file with other values and a matching fingerprint."""
    key = CorrespondenceKey.from_map([[1, 2], [2, 0], [0, 1]])
    changed = {**key.tensors(), **changes}
    tensors = {name: tensor.contiguous() for name, tensor in changed.items() if tensor is not None}
    params = key.params | (params or {})
    try:
        stated = fingerprint("correspondence", params, tensors)
    except KeyError:  # a dtype that no key has
        stated = "0" * 64
    header = {"format": "torchprotect-key", "version": "1", "kind": "correspondence", "fingerprint": stated}
    safetensors.torch.save_file(tensors, path, {**header, "params": canonical(params).decode()})


MAP = torch.tensor([[1, 2], [2, 0], [0, 1]])


class TestForgedFiles:
    def test_the_forger_can_make_a_good_file(self, tmp_path):
        forge(tmp_path / "key")
        assert keys.load(tmp_path / "key").targets.tolist() == MAP.tolist()
        assert verify_keys.check(str(tmp_path / "key"))

    @pytest.mark.parametrize(
        "changes",
        [
            {"targets": MAP + 1},
            {"targets": MAP - 1},
            {"shares": torch.full((3, 2), 0.6)},
            {"shares": torch.full((2, 3), 0.5)},
            {"params": {"way": "mixup-and-concat"}},
        ],
    )
    def test_the_independent_verifier_refuses_too(self, tmp_path, changes):
        forge(tmp_path / "key", **changes)
        assert not verify_keys.check(str(tmp_path / "key"))

    @pytest.mark.parametrize(
        "changes",
        [
            {"targets": MAP + 1},
            {"targets": MAP - 1},
            {"targets": MAP - 2**62},
            {"targets": MAP.int()},
            {"targets": MAP.float()},
            {"targets": MAP[:2]},
            {"targets": MAP[:1]},
            {"targets": MAP[:, :1]},
            {"targets": MAP[:, :0], "shares": torch.zeros(3, 0)},
            {"targets": MAP[:, 0]},
            {"targets": MAP[0, 0]},
            {"targets": MAP[None]},
            {"targets": MAP[:0], "shares": torch.zeros(0, 2)},
            {"targets": MAP.repeat(1, 5), "shares": torch.full((3, 10), 0.1)},
            {"targets": torch.zeros(100_000, 9, dtype=torch.int64), "shares": torch.full((100_000, 9), 1 / 9)},
            {"targets": torch.zeros(1, 100_000, dtype=torch.int64), "shares": torch.full((1, 100_000), 1e-5)},
            {"shares": torch.full((3, 2), 0.6)},
            {"shares": torch.tensor([[1.5, -0.5]] * 3)},
            {"shares": torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.5, torch.nan]])},
            {"shares": torch.tensor([[torch.inf, 0.0]] * 3)},
            {"shares": torch.tensor([[0.5, 0.5 + 1e-4]] * 3)},
            {"shares": torch.full((3, 2), 0.5, dtype=torch.float64)},
            {"shares": torch.full((2, 3), 1 / 3)},
            {"shares": torch.ones(3, 2, dtype=torch.int64)},
            {"root": torch.zeros(31, dtype=torch.uint8)},
            {"root": torch.zeros(32)},
            {"root": None},
            {"targets": None},
            {"shares": None},
            {"more": torch.zeros(2, dtype=torch.uint8)},
            {"way": torch.zeros(2, dtype=torch.uint8)},
            {"params": {"way": "blend"}},
            {"params": {"way": "cutmix", "targets": 3}, "targets": MAP.repeat(1, 2)[:, :3], "shares": torch.eye(3)},
            {"params": {"way": "mixup-and-concat"}},
            {"params": {"way": None}},
            {"params": {"way": ["concat"]}},
        ],
        ids=lambda changes: "-".join(f"{k}{list(getattr(v, 'shape', ''))}" for k, v in changes.items()),
    )
    def test_malformed(self, tmp_path, changes):
        forge(tmp_path / "key", **changes)
        with pytest.raises(KeyFileError) as caught:
            keys.load(tmp_path / "key")
        assert "tensor(" not in str(caught.value)

    @pytest.mark.parametrize("params", [{"classes": 4}, {"targets": 1}, {"classes": 3.0}, {"note": "x"}])
    def test_params_that_do_not_describe_the_tensors(self, tmp_path, params):
        forge(tmp_path / "key", params)
        with pytest.raises(KeyIntegrityError):
            keys.load(tmp_path / "key")


class TestBundle:
    def test_with_a_label_map(self):
        key, labels = CorrespondenceKey.generate(classes=10), keys.LabelKey.generate(classes=10)
        bundle = keys.KeyBundle(key, None, labels)
        assert bundle.params["transform"] == {"kind": "correspondence", "params": key.params}
        assert set(bundle.tensors()) == {
            *(f"transform.{name}" for name in ("targets", "shares", "root")),
            "labels.labels",
            "labels.root",
            "root",
        }
        assert sent_to_worker(bundle) == bundle
        assert "tensor" not in repr(bundle)

    def test_there_are_no_blocks_to_permute(self):
        order = keys.PermutationKey.generate(image_size=(16, 16), block_size=(4, 4))
        with pytest.raises(KeyKindError, match="no blocks to permute"):
            keys.KeyBundle(CorrespondenceKey.generate(classes=10), order)
        with pytest.raises(KeyKindError, match="must be a BlockKey or a CorrespondenceKey"):
            keys.KeyBundle(keys.LabelKey.generate(classes=10))
        with pytest.raises(KeyKindError, match="labels must be a LabelKey"):
            keys.KeyBundle(CorrespondenceKey.generate(classes=10), None, CorrespondenceKey.generate(classes=10))
