"""Check key files with nothing of torchprotect: safetensors, hashlib and json alone.

Usage: python verify_keys.py FILE... ; prints each file's fingerprint, exit code 1 if one does not match its content.
"""

import hashlib
import json
import sys

import safetensors


def read(path: str) -> tuple[dict, dict]:
    """Return header strings and tensors: name -> (dtype, shape, bytes)."""
    with open(path, "rb") as file:
        content = file.read()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])["__metadata__"]
    tensors = {name: (t["dtype"], t["shape"], bytes(t["data"])) for name, t in safetensors.deserialize(content)}
    return header, tensors


def fingerprint(header: dict, tensors: dict) -> str:
    digest = hashlib.sha256()

    def add(field: bytes) -> None:
        digest.update(len(field).to_bytes(8, "little") + field)

    add(header["kind"].encode())
    add(header["params"].encode())
    for name in sorted(tensors):
        dtype, shape, data = tensors[name]
        add(name.encode())
        add(dtype.encode())
        add(b"".join(size.to_bytes(8, "little") for size in shape))
        add(data)
    return digest.hexdigest()


def subkey(root: bytes, purpose: str) -> bytes:
    """HKDF-SHA256 (RFC 5869) with an empty salt, one block of output; HMAC written out."""

    def hmac(key: bytes, message: bytes) -> bytes:
        key = key.ljust(64, b"\0")
        inner = hashlib.sha256(bytes(b ^ 0x36 for b in key) + message).digest()
        return hashlib.sha256(bytes(b ^ 0x5C for b in key) + inner).digest()

    return hmac(hmac(bytes(32), root), f"torchprotect/v1/{purpose}".encode() + b"\x01")


def check(path: str) -> bool:
    header, tensors = read(path)
    params = json.loads(header["params"])
    canonical = json.dumps(params, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    right = (header["format"], header["version"], header["params"]) == ("torchprotect-key", "1", canonical)
    return right and header["fingerprint"] == fingerprint(header, tensors)


def main() -> int:
    results = {path: check(path) for path in sys.argv[1:]}
    for path, right in results.items():
        print(read(path)[0]["fingerprint"], "right" if right else "WRONG", path)
    return 0 if results and all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
