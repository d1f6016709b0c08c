import hashlib
import json
import os
import resource
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


@pytest.mark.slow
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


@pytest.mark.parametrize("name", EXPECTED)
def test_known_sharing(name):
    key = keys.load(VECTORS / "keys" / f"{name}.safetensors")
    assert getattr(key, "shared", False) == name.endswith("-shared")


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

    @pytest.mark.parametrize("passphrase", ["", " ", "\t \n", "\u2028", "\u00a0"])
    def test_blank_ones_are_refused_for_new_files(self, tmp_path, passphrase):
        with pytest.raises(PassphraseError, match="empty or blank"):
            keys.save(make_bundle(), tmp_path / "key", passphrase)
        assert not (tmp_path / "key").exists()

    def test_files_with_a_blank_one_still_open(self, tmp_path, monkeypatch):
        key = make_bundle()
        header = keys._file._header("wrapped", keys._wrap.PARAMS)
        content = keys._file._dump(key.kind, key.params, key.tensors(), key.fingerprint)
        with monkeypatch.context() as unchecked:
            unchecked.setattr(keys._secret.SecretBytes, "decode", lambda _: "as an earlier version wrote it")
            wrapped = keys._wrap.wrap(content, keys.SecretBytes(b" "), header)
        safetensors.torch.save_file(wrapped, tmp_path / "key", header)
        assert keys.load(tmp_path / "key", " ") == key

    def test_passphrases_must_be_text(self, tmp_path):
        with pytest.raises(PassphraseError, match="must be a str, got bytes"):
            keys.save(make_bundle(), tmp_path / "key", b"secret")

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


def test_peek_shows_the_fingerprint_without_checking():
    assert keys.peek(VECTORS / "keys" / "aes-128.safetensors").fingerprint == EXPECTED["aes-128"]["fingerprint"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither")
def test_pipes_and_devices_are_refused_at_once(tmp_path):
    """Reading them would block or exhaust memory."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        for read in (keys.load, keys.peek):
            with pytest.raises(KeyFileError, match="not a regular file"):
                read(path)


HUGE = 1 << 20
HOSTILE = {
    "permutation": {"image_size": [HUGE, HUGE], "block_size": [1, 1]},
    "aes-ecb": {"image_size": [HUGE, HUGE], "block_size": [1, 16], "channels": 1 << 40, "bits": 256},
    "rmt": {"image_size": [HUGE] * 2, "block_size": [HUGE] * 2, "channels": 9, "matrix": "uniform", "side": "left"},
    "labels": {"classes": 1 << 50},
    "correspondence": {"classes": 1 << 50, "targets": 8, "way": "concat"},
    "owsd": {"embedding_size": HUGE, "image_size": [HUGE, HUGE], "width": 1 << 12},
}
HOSTILE["bundle"] = {"transform": {"kind": "rmt", "params": HOSTILE["rmt"]}}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_small_files_that_claim_huge_sizes_are_refused_cheaply(tmp_path):
    """Load in a process limited to little more memory than importing the package needs."""
    for kind, params in HOSTILE.items():
        prefix = "transform." if kind == "bundle" else ""
        tensors = {name: torch.zeros(32, dtype=torch.uint8) for name in ("root", f"{prefix}root")}
        for name, dtype in (("order", torch.int64), ("keys", torch.uint8), ("matrices", torch.float32)):
            tensors[prefix + name] = torch.zeros((0, 1 << 40), dtype=dtype)  # no bytes, whatever the shape
        content = keys._file._dump(kind, params, tensors, "0" * 64)
        assert len(content) < 2000
        (tmp_path / kind).write_bytes(content)
    program = (
        "import resource, sys; from torchprotect import keys; from torchprotect.errors import KeyFileError\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20),) * 2)\n"
        "for path in sys.argv[1:]:\n"
        "    try: keys.load(path)\n"
        "    except KeyFileError: print('refused')"
    )
    command = [sys.executable, "-c", program, *(str(tmp_path / kind) for kind in HOSTILE)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split() == ["refused"] * len(HOSTILE), done.stderr


def test_a_huge_file_is_refused_by_its_header(tmp_path):
    """A sparse file of four gigabytes, which uses no disk space."""
    for start in (b"", (1 << 30).to_bytes(8, "little"), (2).to_bytes(8, "little") + b"{}"):
        with (tmp_path / "key").open("wb") as file:
            file.write(start)
            file.truncate(4_200_000_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for read in (keys.load, keys.peek):
            with pytest.raises(KeyFileError, match="not a torchprotect key file"):
                read(tmp_path / "key")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
