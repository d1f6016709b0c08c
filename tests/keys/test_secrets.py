"""Secrets are not shown by accident, and leave the process only on purpose."""

import copy
import dataclasses
import hmac
import io
import multiprocessing
import pickle
import pprint
import traceback
from concurrent.futures import ProcessPoolExecutor

import pytest
import torch
from Crypto.Cipher import AES
from support import make_bundle, make_image, sent_to_worker

from torchprotect import functional as F
from torchprotect import keys, transforms
from torchprotect.data._destination import Destination
from torchprotect.data._job import DisguiseJob, ShardTask
from torchprotect.data.keyed import noise_key
from torchprotect.data.store import open_store
from torchprotect.errors import KeyPickledWarning, LabelError, ProtectError
from torchprotect.keys._transfer import rebuild_key, reduce_key

SIZES = {"image_size": (16, 16), "block_size": (4, 4)}
ALL = [
    keys.PermutationKey.generate(**SIZES),
    keys.AESKey.generate(**SIZES),
    keys.RMTKey.generate(**SIZES),
    keys.LabelKey.generate(classes=10),
    keys.CorrespondenceKey.generate(classes=10, targets=2),
    keys.OWSDKey.generate(embedding_size=8, image_size=(16, 16), width=2),
    make_bundle("rmt"),
]


def each_kind(test):
    return pytest.mark.parametrize("key", ALL, ids=lambda key: key.kind)(test)


def use(key):
    """Let a key compute and keep what it derives from its secrets."""
    for name in ("inverse_order", "inverses"):
        getattr(key, name, None)
    if isinstance(key, keys.LabelKey):
        key.unmap(3)
    if isinstance(key, keys.OWSDKey):
        key.network_on(torch.device("meta"))
    key.on("root", torch.device("meta"))


def shows_tensors(value) -> bool:
    return "tensor(" in pprint.pformat(value)


def shown_by_traceback(error: BaseException) -> str:
    """Return a traceback with the local variables of all frames but the test's own."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    del shown.stack[0]
    return "".join(shown.format())


class TestKey:
    @each_kind
    def test_vars_and_asdict_show_public_parameters_only(self, key):
        use(key)
        for shown in (vars(key), dataclasses.asdict(key), key, [key]):
            assert not shows_tensors(shown)
        names = {field.name for field in dataclasses.fields(key)}
        assert names.isdisjoint(key.tensors())
        assert torch.equal(key.root, key.tensors()["root"])  # the attributes are there all the same

    def test_public_parameters_are_still_shown(self):
        assert dataclasses.asdict(ALL[1]) == {**SIZES, "channels": None, "bits": 128}

    @each_kind
    def test_secrets_are_frozen(self, key):
        for name in ("root", "order", "keys", "matrices", "labels", "targets", "generator"):
            if hasattr(key, name):
                with pytest.raises(dataclasses.FrozenInstanceError):
                    setattr(key, name, None)
                with pytest.raises(dataclasses.FrozenInstanceError):
                    delattr(key, name)

    def test_derived_tensors_are_computed_once(self):
        order, matrices = ALL[0], ALL[2]
        assert order.inverse_order is order.inverse_order
        assert matrices.inverses is matrices.inverses


class TestSubkey:
    SUBKEY = ALL[0].subkey("id")
    PLAIN = bytes(bytearray(SUBKEY))

    def test_no_text_shows_it(self):
        for text in (repr(self.SUBKEY), str(self.SUBKEY), f"{self.SUBKEY}", f"{self.SUBKEY!r}", f"{[self.SUBKEY]}"):
            assert text.strip("[]") == "<32 secret bytes>"
        assert pprint.pformat({"key": self.SUBKEY}) == "{'key': <32 secret bytes>}"

    def test_it_is_bytes_to_everything_else(self):
        assert type(self.PLAIN) is bytes
        assert self.SUBKEY == self.PLAIN
        assert hash(self.SUBKEY) == hash(self.PLAIN)
        assert hmac.digest(self.SUBKEY, b"x", "sha256") == hmac.digest(self.PLAIN, b"x", "sha256")
        assert hmac.new(self.SUBKEY, b"x", "sha256").digest() == hmac.digest(self.PLAIN, b"x", "sha256")
        ours, theirs = (AES.new(key, AES.MODE_CTR, nonce=bytes(8)).encrypt(b"x") for key in (self.SUBKEY, self.PLAIN))
        assert ours == theirs

    def test_pickles_as_itself(self):
        again = pickle.loads(pickle.dumps(self.SUBKEY))  # noqa: S301
        assert again == self.SUBKEY
        assert type(again) is keys.SecretBytes


class TestPickling:
    @each_kind
    def test_warns(self, key):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.warns(KeyPickledWarning, match=f"{key.fingerprint[:12]}.*keys.load") as caught:
                pickle.dumps(key, protocol)
            assert caught[0].filename == __file__
        with pytest.warns(KeyPickledWarning):
            stored = pickle.dumps(key)
        assert pickle.loads(stored) == key  # noqa: S301

    def test_saving_a_model_or_hyperparameters_warns(self):
        """As ``torch.save`` does, and Lightning's ``save_hyperparameters`` at each checkpoint."""
        model = torch.nn.Sequential(transforms.BlockPermute(ALL[0]), torch.nn.Flatten())
        for saved in (model, {"state_dict": model.state_dict(), "hyper_parameters": {"key": ALL[0]}}):
            with pytest.warns(KeyPickledWarning):
                torch.save(saved, io.BytesIO())
        torch.save(model.state_dict(), io.BytesIO())  # has no key, so it does not warn

    @each_kind
    def test_worker_processes_get_keys_silently(self, key):
        assert sent_to_worker(key) == key

    @pytest.mark.slow
    def test_started_processes_get_keys_silently(self):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            assert pool.submit(_fingerprint_of, ALL[6]).result() == ALL[6].fingerprint

    @each_kind
    def test_copies_are_the_key_itself(self, key):
        assert copy.copy(key) is copy.deepcopy(key) is key
        assert copy.deepcopy({"nested": [key]})["nested"][0] is key

    @each_kind
    def test_an_engine_may_use_its_own_serialiser(self, key):
        rebuild, arguments = reduce_key(key)
        assert rebuild is rebuild_key
        again = rebuild(*pickle.loads(pickle.dumps(arguments)))  # noqa: S301
        assert again == key
        assert type(again) is type(key)

    def test_arrays_that_share_read_only_memory_are_copied(self):
        """As an engine with shared memory passes them."""
        rebuild, (kind, params, arrays) = reduce_key(ALL[1])
        for array in arrays.values():
            array.flags.writeable = False
        again = rebuild(kind, params, arrays)
        assert again.root.data_ptr() != ALL[1].root.data_ptr()


def _fingerprint_of(key) -> str:
    return key.fingerprint


class TestTracebacks:
    def test_of_disguises_that_fail(self):
        aes, rmt, order = make_bundle("aes"), make_bundle("rmt"), make_bundle("permutation").transform
        small, real, beyond = (
            make_image(3, 8, 8),
            make_image(3, 16, 16, dtype=torch.float32),
            torch.full((3, 16, 16), 2.0),
        )
        for call in (
            lambda: F.block_permute(small, order),
            lambda: F.aes_ecb_disguise(small, aes.transform, aes.permutation),
            lambda: F.aes_ecb_disguise(real, aes.transform, aes.permutation),
            lambda: F.rmt_disguise(small, rmt.transform, None, rmt.permutation),
            lambda: F.rmt_disguise(beyond, rmt.transform, None, rmt.permutation),
            lambda: F.rmt_disguise(make_image(3, 16, 16), rmt.transform, None, rmt.permutation, inverse=True),
        ):
            with pytest.raises(ProtectError) as caught:
                call()
            shown = shown_by_traceback(caught.value)
            for key in (aes, rmt, order):
                for tensor in (t for name, t in key.tensors().items() if "root" not in name):
                    assert repr(tensor)[:30] not in shown

    @each_kind
    def test_of_key_files_that_fail(self, key, tmp_path):
        keys.save(key, tmp_path / "key")
        content = bytearray((tmp_path / "key").read_bytes())
        content[-1] ^= 1
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(ProtectError) as caught:
            keys.load(tmp_path / "key")
        shown = shown_by_traceback(caught.value)
        assert "secret bytes" in shown
        assert "tensor(" not in shown
        assert repr(bytes(content[-8:-1]))[2:-1] not in shown

    def test_of_key_files_whose_tensors_do_not_fit(self, tmp_path):
        """The check fails deep inside, where local variables are tensors."""
        key = ALL[0]
        wrong = {"order": key.order.flip(0)[:-1].contiguous(), "root": key.root}
        (tmp_path / "key").write_bytes(keys._file._dump(key.kind, key.params, wrong, key.fingerprint))
        with pytest.raises(ProtectError, match="must be") as caught:
            keys.load(tmp_path / "key")
        assert "tensor(" not in shown_by_traceback(caught.value)

    def test_of_wrong_passphrases(self, tmp_path):
        keys.save(ALL[3], tmp_path / "key", "open sesame")
        with pytest.raises(ProtectError) as caught:
            keys.load(tmp_path / "key", "close sesame")
        assert "sesame" not in shown_by_traceback(caught.value)
        with pytest.raises(ProtectError) as caught:
            keys.save(ALL[3], tmp_path / "other", "sesame \ud800")
        assert "sesame" not in str(caught.value)


def test_a_label_outside_the_map_shows_no_map():
    """The most common mistake with labels: a traceback with local variables is printed of it."""
    key = keys.LabelKey.generate(classes=10)
    for use in (key.map, key.unmap):
        for wrong in (77, torch.tensor([3, 77])):
            with pytest.raises(LabelError) as raised:
                use(wrong)
            frames = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
            shown = " ".join(frames.format())
            assert str(key.labels.tolist()) not in shown
            assert ", ".join(map(str, key.labels.tolist()[:3])) not in shown


def test_slices_of_secrets_are_secret():
    assert repr(keys.SecretBytes(b"secret")[:3]) == "<3 secret bytes>"
    assert keys.SecretBytes(b"secret")[0] == ord("s")


def test_the_task_of_an_export_shows_no_subkeys():
    key = make_bundle()
    subkeys = key.subkey("manifest"), key.subkey("id"), noise_key(key.subkey("noise"), [])
    job = DisguiseJob([], None, None, *subkeys, None, torch.uint8, None, True, False)
    task = ShardTask(job, Destination(open_store("out"), {}, key.subkey("manifest")))
    assert repr(task).count("<32 secret bytes>") == 4
    assert repr(bytes(key.subkey("id"))) not in repr(task)
