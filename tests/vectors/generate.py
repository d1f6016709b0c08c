"""Make the key files and golden vectors in this folder; the files are the specification, not this script.

A key whose file is there already is read from it, and a vector that is there already must come out the same; so a run
adds what is new and leaves the rest as it was.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch

from torchprotect import functional as F
from torchprotect import keys

HERE = Path(__file__).parent
SIZE, BLOCK = {"image_size": (8, 16)}, {"block_size": (4, 8)}
PASSPHRASE = "correct horse battery staple"


def kept(name: str, make: Callable[[], keys.Key], passphrase: str | None = None) -> keys.Key:
    path = HERE / "keys" / f"{name}.safetensors"
    if not path.exists():
        keys.save(make(), path, passphrase)
    return keys.load(path, passphrase)


def make_keys() -> dict[str, keys.Key]:
    makers = {
        "permutation": lambda: keys.PermutationKey.generate(**SIZE, **BLOCK),
        "labels": lambda: keys.LabelKey.generate(classes=10),
        "aes-128": lambda: keys.AESKey.generate(**SIZE, **BLOCK),
        "aes-192-channels": lambda: keys.AESKey.generate(**SIZE, **BLOCK, channels=3, bits=192),
        "aes-256": lambda: keys.AESKey.generate(**SIZE, **BLOCK, bits=256),
        "rmt-orthogonal": lambda: keys.RMTKey.generate(**SIZE, **BLOCK),
        "rmt-uniform-channels": lambda: keys.RMTKey.generate(**SIZE, **BLOCK, channels=3, matrix="uniform"),
        "rmt-gaussian-left": lambda: keys.RMTKey.generate(**SIZE, **BLOCK, matrix="gaussian", side="left"),
        "aes-shared": lambda: keys.AESKey.generate(**SIZE, **BLOCK, channels=3, shared=True),
        "rmt-shared": lambda: keys.RMTKey.generate(**SIZE, **BLOCK, shared=True),
        "correspondence": lambda: keys.CorrespondenceKey.generate(classes=10),
        "correspondence-uneven": lambda: keys.CorrespondenceKey.generate(
            classes=5,
            targets=[1, 2, 3, 2, 1],
            weights=[[1], [0.3, 0.7], [0.2, 0.3, 0.5], [0.8, 0.2], [1]],
            mix_mode="mixup",
        ),
        "owsd": lambda: keys.OWSDKey.generate(embedding_size=8, image_size=(16, 24), width=4),
    }
    made = {name: kept(name, make) for name, make in makers.items()}
    labels, correspondence = made["labels"], made["correspondence"]
    made["bundle"] = kept("bundle", lambda: keys.KeyBundle(made["aes-128"], made["permutation"], labels))
    made["correspondence-bundle"] = kept("correspondence-bundle", lambda: keys.KeyBundle(correspondence, None, labels))
    kept("wrapped", lambda: made["aes-128"], PASSPHRASE)
    return made


def save_expected(made: dict[str, keys.Key]) -> None:
    expected = {}
    for name, key in made.items():
        subkeys = {purpose: key.subkey(purpose).hex() for purpose in ("id", "order", "noise", "manifest")}
        expected[name] = {"fingerprint": key.fingerprint, "subkeys": subkeys}
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
        path = HERE / f"{name}.safetensors"
        if not path.exists():
            safetensors.torch.save_file(tensors, path, header)
        there = safetensors.torch.load_file(path)
        if there.keys() != tensors.keys() or not all(torch.equal(there[k], tensors[k]) for k in tensors):
            raise ValueError(f"{path.name} has other values")

    write("block_permute", "permutation", F.block_permute(image, order))
    for key in ("aes-128", "aes-192-channels", "aes-256"):
        write(f"aes_ecb-{key}", key, F.aes_ecb_disguise(image, made[key]))
    write("aes_ecb-permuted", "bundle", F.aes_ecb_disguise(image, made["aes-128"], order))
    for unit in (8, 4, 2):
        disguised = F.aes_ecb_disguise(image, made["aes-128"], order, unit)
        write(f"aes_ecb-unit-{unit}", "bundle", disguised, unit_pixels=unit)
    for key in ("rmt-orthogonal", "rmt-uniform-channels", "rmt-gaussian-left", "rmt-shared"):
        write(key, key, F.rmt_disguise(image, made[key]))
    write("aes_ecb-shared", "aes-shared", F.aes_ecb_disguise(image, made["aes-shared"]))
    write("rmt-noise", "rmt-orthogonal", F.rmt_disguise(image, made["rmt-orthogonal"], noise), {"delta": noise})
    disguised = F.rmt_disguise(image, made["rmt-orthogonal"], None, order)
    write("rmt-permuted", "rmt-orthogonal", disguised, {"order": order.order})
    salted = F.salt_and_pepper(image, chance, 0.25)
    write("salt_and_pepper", "", salted, {"uniforms": chance}, amount=0.25)


def save_scrambled(key: keys.Key) -> None:
    """Scrambled images, which may differ by one grey level between machines."""
    path = HERE / "owsd" / "scrambled.safetensors"
    embeddings = pixels(4, 1, 1, 8).flatten(1).float() / 64
    if not path.exists():
        safetensors.torch.save_file({"input": embeddings, "output": F.owsd_scramble(embeddings, key)}, path)


if __name__ == "__main__":
    for folder in ("keys", "owsd"):
        (HERE / folder).mkdir(exist_ok=True)
    made = make_keys()
    save_expected(made)
    save_vectors(made)
    save_scrambled(made["owsd"])
