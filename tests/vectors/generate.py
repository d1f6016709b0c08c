"""Make the key files and golden vectors in this folder. Run once; the files are the specification, not this script."""

import hashlib
import json
from pathlib import Path

import safetensors.torch
import torch

from torchprotect import functional as F
from torchprotect import keys

HERE = Path(__file__).parent
SIZE, BLOCK = {"image_size": (8, 16)}, {"block_size": (4, 8)}
PASSPHRASE = "correct horse battery staple"


def make_keys() -> dict[str, keys.Key]:
    permutation = keys.PermutationKey.generate(**SIZE, **BLOCK)
    labels = keys.LabelKey.generate(classes=10)
    aes = keys.AESKey.generate(**SIZE, **BLOCK)
    return {
        "permutation": permutation,
        "labels": labels,
        "aes-128": aes,
        "aes-192-channels": keys.AESKey.generate(**SIZE, **BLOCK, channels=3, bits=192),
        "aes-256": keys.AESKey.generate(**SIZE, **BLOCK, bits=256),
        "rmt-orthogonal": keys.RMTKey.generate(**SIZE, **BLOCK),
        "rmt-uniform-channels": keys.RMTKey.generate(**SIZE, **BLOCK, channels=3, matrix="uniform"),
        "rmt-gaussian-left": keys.RMTKey.generate(**SIZE, **BLOCK, matrix="gaussian", side="left"),
        "bundle": keys.KeyBundle(aes, permutation, labels),
    }


def save_keys(made: dict[str, keys.Key]) -> None:
    expected = {}
    for name, key in made.items():
        keys.save(key, HERE / "keys" / f"{name}.safetensors")
        subkeys = {purpose: key.subkey(purpose).hex() for purpose in ("id", "order", "noise", "manifest")}
        expected[name] = {"fingerprint": key.fingerprint, "subkeys": subkeys}
    keys.save(made["aes-128"], HERE / "keys" / "wrapped.safetensors", PASSPHRASE)
    (HERE / "keys" / "expected.json").write_text(json.dumps(expected, indent=2, sort_keys=True) + "\n")


def pixels(*shape: int) -> torch.Tensor:
    """Bytes of a hash: half of the images noise, half flat, so that both rounding and clipping are met."""
    count = int(torch.tensor(shape).prod())
    stream = b"".join(hashlib.sha256(b"torchprotect %d" % n).digest() for n in range(count // 32 + 1))
    image = torch.frombuffer(bytearray(stream[:count]), dtype=torch.uint8).reshape(shape).clone()
    image[1::2] = image[1::2] // 128 * 255
    return image


def save_vectors(made: dict[str, keys.Key]) -> None:
    image = pixels(4, 3, 8, 16)
    noise = (pixels(4, 3, 8, 16).flip(0).float() / 256 * 25).contiguous()
    chance = (pixels(4, 3, 8, 16)[:, 0].flip(0).float() / 256).contiguous()
    order = made["permutation"]

    def write(name: str, key: str, output: torch.Tensor, extra=None, **options: object) -> None:
        tensors = {"input": image, "output": output, **(extra or {})}
        header = {"key": key, "options": json.dumps(options, sort_keys=True)}
        safetensors.torch.save_file(tensors, HERE / f"{name}.safetensors", header)

    write("block_permute", "permutation", F.block_permute(image, order))
    for key in ("aes-128", "aes-192-channels", "aes-256"):
        write(f"aes_ecb-{key}", key, F.aes_ecb_disguise(image, made[key]))
    write("aes_ecb-permuted", "bundle", F.aes_ecb_disguise(image, made["aes-128"], order))
    for unit in (8, 4, 2):
        disguised = F.aes_ecb_disguise(image, made["aes-128"], order, unit)
        write(f"aes_ecb-unit-{unit}", "bundle", disguised, unit_pixels=unit)
    for key in ("rmt-orthogonal", "rmt-uniform-channels", "rmt-gaussian-left"):
        write(key, key, F.rmt_disguise(image, made[key]))
    write("rmt-noise", "rmt-orthogonal", F.rmt_disguise(image, made["rmt-orthogonal"], noise), {"delta": noise})
    disguised = F.rmt_disguise(image, made["rmt-orthogonal"], None, order)
    write("rmt-permuted", "rmt-orthogonal", disguised, {"order": order.order})
    salted = F.salt_and_pepper(image, chance, 0.25)
    write("salt_and_pepper", "", salted, {"uniforms": chance}, amount=0.25)


if __name__ == "__main__":
    (HERE / "keys").mkdir(exist_ok=True)
    made = make_keys()
    save_keys(made)
    save_vectors(made)
