"""Ed25519 signatures: a published vector, OpenSSL, and files that are no keys."""

import shutil
import subprocess

import pytest

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from torchprotect.envelope import Signer, SigningKey, generate_signing_key
from torchprotect.errors import EnvelopeError


@pytest.fixture
def pair(tmp_path):
    return tmp_path / "release", generate_signing_key(tmp_path / "release")


def private_pem(secret, encryption=None):
    return secret.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, encryption or forms.NoEncryption())


def test_rfc_8032_test_3(tmp_path):
    secret = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
    path = tmp_path / "rfc"
    path.write_bytes(private_pem(ed25519.Ed25519PrivateKey.from_private_bytes(secret)))
    assert SigningKey.load(path).sign(bytes.fromhex("af82")).hex() == (
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
    )


def test_signed_and_changed(pair, tmp_path):
    key, signer = SigningKey.load(pair[0]), Signer.load(pair[1])
    signature = key.sign(b"content")
    assert signer.has_signed(b"content", signature)
    assert key.signer.has_signed(b"content", signature)
    assert not signer.has_signed(b"content.", signature)
    for position in range(64):
        changed = bytearray(signature)
        changed[position] ^= 1
        assert not signer.has_signed(b"content", bytes(changed))
    assert not signer.has_signed(b"content", b"")
    assert not Signer.load(generate_signing_key(tmp_path / "other")).has_signed(b"content", signature)
    assert repr(key) == "SigningKey(...)"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_agrees(pair, tmp_path):
    (tmp_path / "content").write_bytes(b"content")
    (tmp_path / "content.sig").write_bytes(SigningKey.load(pair[0]).sign(b"content"))
    command = f"openssl pkeyutl -verify -pubin -inkey {pair[1]} -rawin -in content -sigfile content.sig"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Signature Verified Successfully" in done.stdout, done.stderr


def test_files_of_a_new_key(pair, tmp_path):
    assert pair[0].stat().st_mode & 0o777 == 0o600
    assert pair[1] == tmp_path / "release.pub"
    assert "PUBLIC KEY" in pair[1].read_text()
    assert "PRIVATE" not in pair[1].read_text()
    for taken in ("release", "release.pub"):
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        with pytest.raises(FileExistsError, match="never overwritten"):
            generate_signing_key(tmp_path / "release")
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        (tmp_path / "release").rename(tmp_path / f"was-{taken}") if taken == "release.pub" else None


def test_a_secret_key_of_that_name_alone(tmp_path):
    (tmp_path / "release").write_text("mine")
    with pytest.raises(FileExistsError):
        generate_signing_key(tmp_path / "release")
    assert [path.name for path in tmp_path.iterdir()] == ["release"]


def test_files_that_are_no_keys(pair, tmp_path):
    with pytest.raises(EnvelopeError, match="is not the secret signing key"):
        SigningKey.load(pair[1])
    with pytest.raises(EnvelopeError, match=r"is not the public key \(NAME\.pub\)"):
        Signer.load(pair[0])
    path = tmp_path / "x"
    for content in (b"", b"hello", b"-----BEGIN PUBLIC KEY-----\nxx\n-----END PUBLIC KEY-----\n"):
        path.write_bytes(content)
        with pytest.raises(EnvelopeError, match="is not an Ed25519 key in PEM"):
            Signer.load(path)
    path.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(EnvelopeError, match="is not an Ed25519 key in PEM"):
        SigningKey.load(path)
    path.write_bytes(private_pem(ed25519.Ed25519PrivateKey.generate(), forms.BestAvailableEncryption(b"secret")))
    with pytest.raises(EnvelopeError, match="is not an Ed25519 key in PEM"):
        SigningKey.load(path)
