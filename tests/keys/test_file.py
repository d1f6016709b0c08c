import hashlib
import json
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from Crypto.Cipher import AES
from support import make_bundle

from torchprotect import keys
from torchprotect.errors import (
    KeyFileError,
    KeyIntegrityError,
    KeyKindError,
    KeyVersionError,
    PassphraseError,
    ProtectError,
)

VECTORS = Path(__file__).parent.parent / "vectors"
EXPECTED = json.loads((VECTORS / "keys" / "expected.json").read_text())
PASSPHRASE = "correct horse battery staple"


@pytest.mark.parametrize("kind", ["aes", "rmt", "permutation"])
@pytest.mark.parametrize("passphrase", [None, "größer als nötig"])
def test_round_trip(tmp_path, kind, passphrase):
    for key in (make_bundle(kind), make_bundle(kind).transform, make_bundle(kind).labels):
        path = tmp_path / f"{key.kind}"
        keys.save(key, path, passphrase)
        again = keys.load(path, passphrase)
        assert type(again) is type(key)
        assert again == key
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not [p for p in tmp_path.iterdir() if p.suffix == ".tmp"]


@pytest.mark.parametrize("name", EXPECTED)
def test_known_answers(name):
    key = keys.load(VECTORS / "keys" / f"{name}.safetensors")
    assert key.fingerprint == EXPECTED[name]["fingerprint"]
    assert {purpose: key.subkey(purpose).hex() for purpose in EXPECTED[name]["subkeys"]} == EXPECTED[name]["subkeys"]


def test_independent_verifier_agrees(tmp_path):
    files = [str(VECTORS / "keys" / f"{name}.safetensors") for name in EXPECTED]
    command = [sys.executable, str(VECTORS / "verify_keys.py")]
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    for name in EXPECTED:
        assert EXPECTED[name]["fingerprint"] in done.stdout
    broken = bytearray((VECTORS / "keys" / "labels.safetensors").read_bytes())
    broken[-1] ^= 1
    (tmp_path / "broken").write_bytes(broken)
    assert subprocess.run([*command, str(tmp_path / "broken")], capture_output=True).returncode == 1


def test_independent_subkeys():
    sys.path.insert(0, str(VECTORS))
    import verify_keys

    for name, expected in EXPECTED.items():
        _, tensors = verify_keys.read(str(VECTORS / "keys" / f"{name}.safetensors"))
        root = tensors["root"][2]
        assert {p: verify_keys.subkey(root, p).hex() for p in expected["subkeys"]} == expected["subkeys"]


def test_wrapped_file_opens_by_its_specification():
    """scrypt from hashlib, GCM with the canonical outer header as associated data."""
    path = VECTORS / "keys" / "wrapped.safetensors"
    assert keys.load(path, PASSPHRASE).fingerprint == EXPECTED["aes-128"]["fingerprint"]
    content = path.read_bytes()
    tensors = {name: bytes(t.tolist()) for name, t in safetensors.torch.load(content).items()}
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])["__metadata__"]
    secret = hashlib.scrypt(PASSPHRASE.encode(), salt=tensors["salt"], n=2**17, r=8, p=1, maxmem=2**28, dklen=32)
    cipher = AES.new(secret, AES.MODE_GCM, nonce=tensors["nonce"])
    cipher.update(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    assert cipher.decrypt_and_verify(tensors["ciphertext"], tensors["tag"])[8:9] == b"{"


@pytest.mark.parametrize("name", ["labels", "aes-128"])
def test_every_changed_byte_is_refused(tmp_path, name):
    content = (VECTORS / "keys" / f"{name}.safetensors").read_bytes()
    path = tmp_path / "key"
    for place in range(len(content)):
        for bit in (1, 0x80):
            changed = bytearray(content)
            changed[place] ^= bit
            path.write_bytes(changed)
            with pytest.raises(ProtectError):
                keys.load(path)


def test_a_changed_tensor_byte_is_an_integrity_error(tmp_path):
    content = bytearray((VECTORS / "keys" / "aes-128.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(KeyIntegrityError, match="a byte was changed"):
        keys.load(tmp_path / "key")


def test_every_truncation_is_refused(tmp_path):
    content = (VECTORS / "keys" / "labels.safetensors").read_bytes()
    for length in range(len(content)):
        (tmp_path / "key").write_bytes(content[:length])
        with pytest.raises(KeyFileError):
            keys.load(tmp_path / "key")


def rewrite(path: Path, **changes: str) -> None:
    """Write the labels key with other header fields."""
    content = (VECTORS / "keys" / "labels.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])["__metadata__"]
    header = {name: value for name, value in {**header, **changes}.items() if value is not None}
    safetensors.torch.save_file(safetensors.torch.load(content), path, header)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"version": "2"}, KeyVersionError),
        ({"version": "0"}, KeyVersionError),
        ({"version": "x"}, KeyFileError),
        ({"format": "pt"}, KeyFileError),
        ({"kind": "unheard-of"}, KeyKindError),
        ({"kind": "permutation"}, KeyFileError),
        ({"params": '{"classes":11}'}, KeyFileError),
        ({"params": '{"classes": 10}'}, KeyFileError),
        ({"params": "["}, KeyFileError),
        ({"params": '{"a":NaN}'}, KeyFileError),
        ({"params": '{"a":"\\ud800"}'}, KeyFileError),
        ({"params": "[" * 100_000}, KeyFileError),
        ({"params": '{"classes":10,"note":"x"}'}, KeyIntegrityError),
        ({"params": '{"classes":10.0}'}, KeyFileError),
        ({"params": "[]"}, KeyFileError),
        ({"fingerprint": "0" * 64}, KeyIntegrityError),
        ({"fingerprint": None}, KeyIntegrityError),
        ({"comment": "hello"}, KeyFileError),
    ],
)
def test_foreign_headers(tmp_path, changes, error):
    rewrite(tmp_path / "key", **changes)
    with pytest.raises(error):
        keys.load(tmp_path / "key")


def test_foreign_files(tmp_path):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(KeyFileError, match="not a torchprotect key file"):
        keys.load(path)
    path.write_bytes(b"\x80\x04K\x01.")  # a pickle
    with pytest.raises(KeyFileError):
        keys.load(path)
    with pytest.raises(FileNotFoundError):
        keys.load(tmp_path / "missing")


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "key"
    keys.save(make_bundle(), path, "right")
    return path


class TestPassphrase:
    def test_wrong_missing_superfluous(self, wrapped, tmp_path):
        with pytest.raises(PassphraseError, match="does not open"):
            keys.load(wrapped, "wrong")
        with pytest.raises(PassphraseError, match="protected by a passphrase"):
            keys.load(wrapped)
        keys.save(make_bundle(), tmp_path / "plain")
        with pytest.raises(PassphraseError, match="not protected"):
            keys.load(tmp_path / "plain", "right")
        with pytest.raises(PassphraseError, match="empty"):
            keys.save(make_bundle(), tmp_path / "empty", "")
        assert not (tmp_path / "empty").exists()

    def test_changed_byte(self, wrapped, tmp_path):
        content = bytearray(wrapped.read_bytes())
        content[-1] ^= 1
        (tmp_path / "key").write_bytes(content)
        with pytest.raises(PassphraseError):
            keys.load(tmp_path / "key", "right")

    def test_larger_parameters_are_refused_before_they_cost_anything(self, wrapped, tmp_path):
        tensors = safetensors.torch.load(wrapped.read_bytes())
        params = '{"cipher":"aes-256-gcm","kdf":"scrypt","n":1099511627776,"p":1,"r":8}'
        header = {"format": "torchprotect-key", "version": "1", "kind": "wrapped", "params": params}
        safetensors.torch.save_file(tensors, tmp_path / "key", header)
        with pytest.raises(KeyFileError, match="other scrypt or cipher parameters"):
            keys.load(tmp_path / "key", "right")

    def test_nothing_of_the_key_is_readable(self, wrapped):
        key = keys.load(wrapped, "right")
        content = wrapped.read_bytes()
        assert bytes(key.root.tolist()) not in content
        assert key.fingerprint.encode() not in content
        assert keys.peek(wrapped).fingerprint is None


def test_keys_are_never_overwritten(tmp_path):
    first, second = make_bundle(), make_bundle()
    keys.save(first, tmp_path / "key")
    with pytest.raises(FileExistsError, match="never overwritten"):
        keys.save(second, tmp_path / "key")
    assert keys.load(tmp_path / "key") == first


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        keys.save(make_bundle(), tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


def test_leftover_of_a_killed_process_is_replaced(tmp_path):
    (tmp_path / "key.tmp").write_bytes(b"half")
    keys.save(make_bundle(), tmp_path / "key")
    assert [p.name for p in tmp_path.iterdir()] == ["key"]


def test_peek_shows_the_fingerprint_without_checking():
    assert keys.peek(VECTORS / "keys" / "aes-128.safetensors").fingerprint == EXPECTED["aes-128"]["fingerprint"]
