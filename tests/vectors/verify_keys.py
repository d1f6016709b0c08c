"""Check key files with nothing of torchprotect: safetensors, hashlib, json and struct alone.

Usage: python verify_keys.py FILE... ; prints each file's fingerprint, exit code 1 if one does not match its content, or
if the map of a correspondence is none.
"""

import hashlib
import json
import struct
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


def correspondence(params: dict, tensors: dict, prefix: str = "") -> tuple[list, list]:
    """Return targets and shares, a row a class, having checked what the format promises of them."""
    shape = [params["classes"], params["targets"]]
    (targets_type, targets_shape, targets), (shares_type, shares_shape, shares) = (
        tensors[prefix + name] for name in ("targets", "shares")
    )
    if (targets_type, targets_shape, shares_type, shares_shape) != ("I64", shape, "F32", shape):
        raise ValueError("targets are I64 and shares F32, both [classes, targets]")
    wide = shape[1]
    flat = [value for (value,) in struct.iter_unpack("<q", targets)]
    parts = [value for (value,) in struct.iter_unpack("<f", shares)]
    target_rows, share_rows = ([row[i : i + wide] for i in range(0, len(row), wide)] for row in (flat, parts))
    if not all(0 <= target < shape[0] for target in flat):
        raise ValueError("a target is no class")
    if not all(min(row) >= 0 and abs(sum(row) - 1) < 1e-5 for row in share_rows):
        raise ValueError("shares do not sum to 1")
    if wide > 1 and wide != {"mixup-and-concat": 4, "cutmix": 2, "random-square": 2}.get(params["way"], wide):
        raise ValueError("this way of combining takes another number of targets")
    return target_rows, share_rows


def sound(kind: str, params: dict, tensors: dict) -> bool:
    """Check the map of a correspondence, or of a bundle that holds one; other kinds pass."""
    prefix = ""
    if kind == "bundle":
        kind, params, prefix = params["transform"]["kind"], params["transform"]["params"], "transform."
    try:
        return kind != "correspondence" or bool(correspondence(params, tensors, prefix))
    except ValueError:
        return False


def check(path: str) -> bool:
    header, tensors = read(path)
    params = json.loads(header["params"])
    canonical = json.dumps(params, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    right = (header["format"], header["version"], header["params"]) == ("torchprotect-key", "1", canonical)
    return right and header["fingerprint"] == fingerprint(header, tensors) and sound(header["kind"], params, tensors)


def main() -> int:
    results = {path: check(path) for path in sys.argv[1:]}
    for path, right in results.items():
        print(read(path)[0]["fingerprint"], "right" if right else "WRONG", path)
    return 0 if results and all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
