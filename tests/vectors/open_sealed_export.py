"""Open a sealed export with nothing of torchprotect: `cryptography` and the standard library alone.

Usage: python open_sealed_export.py EXPORT IDENTITY OUT [PUBLIC_KEY]; IDENTITY is a file of one age identity.
Exit code 1 if anything is not as docs/reference/envelope-format.md says.
"""

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

SEGMENT, TAG, HEADER = 1 << 20, 16, 40


def hkdf(secret: bytes, info: bytes, salt: bytes = b"") -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decode_identity(text: str) -> bytes:
    """Return the 32 bytes of an age identity: Bech32 without a look at its checksum."""
    line = next(each for each in text.splitlines() if each.startswith("AGE-SECRET-KEY-1"))
    values = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(each) for each in line.lower().rpartition("1")[2][:-6]]
    bits = "".join(f"{value:05b}" for value in values)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, 256, 8))


def unbase64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))


def open_age(content: bytes, identity: bytes) -> bytes:
    """Return what an age file holds: age-encryption.org/v1, X25519 recipients, payloads of one chunk."""
    header, _, rest = content.partition(b"\n---")
    mac, _, payload = rest.partition(b"\n")
    secret = X25519PrivateKey.from_private_bytes(identity)
    own = secret.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    lines = header.decode().splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("-> X25519 "):
            continue
        share = unbase64(line.split()[2])
        shared = secret.exchange(X25519PublicKey.from_public_bytes(share))
        key = hkdf(shared, b"age-encryption.org/v1/X25519", share + own)
        try:
            file_key = ChaCha20Poly1305(key).decrypt(bytes(12), unbase64(lines[number + 1]), None)
        except Exception:  # noqa: S112 - the stanza of another recipient
            continue
        expected = hmac.digest(hkdf(file_key, b"header"), header + b"\n---", "sha256")
        assert hmac.compare_digest(expected, unbase64(mac.decode().strip())), "the age header was changed"
        nonce, sealed = payload[:16], payload[16:]
        return ChaCha20Poly1305(hkdf(file_key, b"payload", nonce)).decrypt(bytes(11) + b"\1", sealed, None)
    raise AssertionError("the identity is not among the recipients")


def open_file(sealed: bytes, key: bytes, data: bytes) -> bytes:
    """Return what a sealed file holds."""
    assert sealed[0] == HEADER, "the header has another length"
    salt, prefix = sealed[1:33], sealed[33:40]
    cipher = AESGCM(hkdf(key, data, salt))
    parts = [sealed[HEADER:SEGMENT], *(sealed[i : i + SEGMENT] for i in range(SEGMENT, len(sealed), SEGMENT))]
    last = len(parts) - 1
    nonces = [prefix + index.to_bytes(4, "big") + bytes([index == last]) for index in range(len(parts))]
    return b"".join(cipher.decrypt(nonce, part, None) for nonce, part in zip(nonces, parts, strict=True))


def open_export(export: Path, identity: bytes, out: Path, public_key: bytes | None = None) -> None:
    content = (export / "manifest.json").read_bytes()
    manifest, plan = json.loads(content), json.loads((export / "plan.json").read_bytes())
    if public_key is not None:
        load_pem_public_key(public_key).verify((export / "manifest.json.sig").read_bytes(), content)
    assert (manifest["format"], manifest["version"]) == ("torchprotect-sealed-export", 1)
    body = {name: value for name, value in plan.items() if name != "hmac"}
    digest = hashlib.sha256(canonical(body)).hexdigest()
    assert manifest["plan"] == digest, "plan and manifest do not belong together"

    data_key = open_age((export / "envelope.age").read_bytes(), identity)
    keys = {name: hkdf(data_key, f"torchprotect/v1/envelope/{name}".encode()) for name in PURPOSES}
    assert manifest["data_key"] == keys["commitment"].hex(), "the envelope is of another export"
    signed = {name: value for name, value in manifest.items() if name not in ("mac", "hmac")}
    mac = hmac.digest(keys["manifest"], canonical(signed), "sha256").hex()
    assert hmac.compare_digest(mac, manifest["mac"]), "the manifest was changed"

    opened = {}
    for entry in [*manifest["documents"], *manifest["shards"]]:
        sealed = (export / entry["name"]).read_bytes()
        assert (len(sealed), hashlib.sha256(sealed).hexdigest()) == (entry["size"], entry["sha256"]), entry["name"]
        name = entry["name"].removesuffix(".sealed")
        place = canonical({"export": digest, "name": name, "shards": len(manifest["shards"])})
        opened[name] = open_file(sealed, keys["file"], place)
        drawn = hmac.digest(keys["salt"], hashlib.sha256(opened[name]).digest() + place, "sha512")
        assert sealed[1:40] == drawn[:39], f"{name} was not sealed as the format says"
    inner = json.loads(opened["manifest.json"])
    open_plan = {name: value for name, value in body.items() if name != "envelope"}
    assert inner["plan"] == hashlib.sha256(canonical(open_plan)).hexdigest(), "the two manifests do not belong together"
    assert [entry["count"] for entry in inner["shards"]] == [entry["count"] for entry in manifest["shards"]]
    for entry in inner["shards"]:
        assert hashlib.sha256(opened[entry["name"]]).hexdigest() == entry["sha256"], entry["name"]
    out.mkdir()
    for name, each in opened.items():
        (out / name).write_bytes(each)


PURPOSES = ("file", "salt", "manifest", "commitment")

if __name__ == "__main__":
    folder, identity_file, target, *signer = map(Path, sys.argv[1:])
    signed_by = signer[0].read_bytes() if signer else None
    open_export(folder, decode_identity(identity_file.read_text()), target, signed_by)
    print(f"{target}: opened, all as the format says")
