"""A fuzzer: mutated files of every kind meet errors of this package only, each within seconds and one gigabyte.

    python tests/fuzz.py --mutations 10000 --seed 1

Each case is drawn from its own seed, which is printed where it fails, and the file that failed is kept in --keep.
"""

import argparse
import collections
import contextlib
import hashlib
import io
import json
import random
import resource
import signal
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import PIL.Image
import safetensors.torch
import torch
from support import Pictures, make_bundle, make_image, png, run_export

from torchprotect import attacks, data, keys
from torchprotect._json import canonical
from torchprotect.attacks import Scheme
from torchprotect.data import manifest as documents
from torchprotect.data.images import read_images
from torchprotect.data.store import open_store
from torchprotect.errors import ProtectError
from torchprotect.keys._base import fingerprint
from torchprotect.owsd import Inference, InferenceSettings, Observations, _inference_file

SECONDS, BYTES = 10, 1 << 30
BUNDLE = make_bundle("aes")
NUMBERS = [0, 1, -1, 2, 7, 255, 2**31, 2**32, 2**62, 2**64, 2**80, -(2**63), 10**30]
ODD = [None, True, "", "x", "\x1b[31m", "\u2028", 1.5, -0.0, 1e308, [], {}, [[]], {"a": {}}, *NUMBERS]


class Slow(BaseException):
    """A case took too long; no BaseException that code under test could mistake for its own."""


class Kind(NamedTuple):
    """One kind of file: how it is mutated, and what reads it."""

    mutate: Callable[[random.Random], bytes]
    read: Callable[[Path], object]


def mutate_bytes(body: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert or overwrite a few places."""
    body = bytearray(body)
    for _ in range(rng.choice((1, 1, 2, 5))):
        place, length = rng.randrange(len(body) + 1), rng.choice((1, 2, 8, 100, 512, 1024))
        match rng.randrange(7):
            case 0 if place < len(body):
                body[place] ^= 1 << rng.randrange(8)
            case 1:
                del body[place : place + length]
            case 2:
                body[place:place] = body[place : place + length]
            case 3:
                body[place:place] = rng.randbytes(length)
            case 4:
                body[place : place + length] = bytes(min(length, len(body) - place))
            case 5:
                del body[place:]
            case _:
                body[place : place + 4] = struct.pack(rng.choice("<>") + "I", rng.randrange(2**32))
    return bytes(body)


def mutate_tar(body: bytes, rng: random.Random) -> bytes:
    """Change a field of one header and make its checksum right again, or else any bytes."""
    places = [n for n in range(0, len(body) - 511, 512) if body[n + 257 : n + 262] == b"ustar"]
    if not places or rng.random() < 0.3:
        return mutate_bytes(body, rng)
    header_at = rng.choice(places)
    header = bytearray(body[header_at : header_at + 512])
    match rng.randrange(5):
        case 0:
            header[156] = rng.choice(b"0123456789SLKxgVXDMN\0ZA")
        case 1:
            size = rng.choice(NUMBERS)
            small = 0 <= size < 8**11
            header[124:136] = b"%011o\0" % size if small else b"\x80" + (size % 2**88).to_bytes(11, "big")
        case 2:
            header[0:100] = rng.choice((b"a/../../x.png", b"\xff.cls", b".png", b"a", bytes(100))).ljust(100, b"\0")
        case 3:
            header[157:257] = rng.choice((b"a.png", b"/dev/zero", b"../x")).ljust(100, b"\0")
        case _:
            place = rng.randrange(512)
            header[place] = rng.randrange(256)
    if rng.random() < 0.9:
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header)
    changed = body[:header_at] + bytes(header) + body[header_at + 512 :]
    return mutate_bytes(changed, rng) if rng.random() < 0.2 else changed


def mutate_value(value: object, rng: random.Random) -> object:
    """Change, drop or add one place somewhere in a JSON value."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {key: item for key, item in value.items() if key != name}
        return {**value, name: mutate_value(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value[:place] + value[place + 1 :] + rng.choice(([], [value[place]] * 2))
        return [*value[:place], mutate_value(value[place], rng), *value[place + 1 :]]
    return rng.choice(ODD)


def mutate_json(body: bytes, rng: random.Random) -> bytes:
    if rng.random() < 0.3:
        return mutate_bytes(body, rng)
    return json.dumps(mutate_value(json.loads(body), rng)).encode()


def pictures_of(rng: random.Random) -> bytes:
    kind = rng.choice(("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP"))
    buffer = io.BytesIO()
    PIL.Image.fromarray(make_image(16, 16, 3, seed=1).numpy()).save(buffer, kind)
    return mutate_bytes(buffer.getvalue(), rng)


def make_tar(form: int) -> bytes:
    """Return an archive with a name that needs an extended header, where the format has them."""
    members = {"d/README.md": b"x", "é" * (9 if form == tarfile.USTAR_FORMAT else 80) + ".json": b"{}"}
    for n in range(4):
        members |= {f"d/{n}.png": png(make_image(1, 16, 16, seed=n)), f"d/{n}.cls": b"%d" % n}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


class World:
    """Whole files of each kind in a folder, and what reads their mutations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.export = folder / "out"
        run_export(self.export, BUNDLE, Pictures(9), shard_size=5)
        self.tars = [make_tar(form) for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
        self.keys = self.write_keys()
        self.inference = self.write_inference()
        self.shard, self.manifest, self.plan = (
            (self.export / name).read_bytes() for name in ("shard-000000.tar", "manifest.json", "plan.json")
        )
        self.kinds = {
            "source": Kind(lambda rng: mutate_tar(rng.choice(self.tars), rng), self.read_source),
            "picture": Kind(pictures_of, self.read_picture),
            "shard": Kind(lambda rng: mutate_tar(self.shard, rng), self.read_shard),
            "manifest": Kind(lambda rng: mutate_json(self.manifest, rng), self.read_manifest),
            "plan": Kind(lambda rng: mutate_json(self.plan, rng), self.read_plan),
            "report": Kind(lambda rng: mutate_json(b'{"index":0,"hmac":"0"}', rng), self.read_report),
            "key": Kind(self.mutate_key, self.read_key),
            "inference": Kind(self.mutate_inference, self.read_inference),
        }

    def write_keys(self) -> list[keys.Key]:
        embeddings = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
        return [
            make_bundle("aes"),
            make_bundle("rmt").transform,
            make_bundle("permutation"),
            keys.CorrespondenceKey.generate(classes=4, targets=2),
            keys.OWSDKey.generate(embedding_size=4, image_size=(8, 8), embeddings=embeddings),
        ]

    def write_inference(self) -> tuple[dict[str, object], dict[str, torch.Tensor]]:
        generator = torch.Generator().manual_seed(0)
        seen = Observations(
            torch.randn(40, 6, generator=generator), torch.randn(40, 5, generator=generator), ("a" * 64,)
        )
        labels = torch.randint(0, 4, (40,), generator=generator)
        made = Inference.fit(
            seen, labels, classes=4, settings=InferenceSettings(hidden=8, epochs=1), generator=generator
        )
        made.save(self.folder / "inference")
        return _inference_file.read(self.folder / "inference")

    def mutate_key(self, rng: random.Random) -> bytes:
        """Any bytes, or other parameters and tensors under a fingerprint that is right."""
        key = rng.choice(self.keys)
        params, tensors = dict(key.params), {name: each.contiguous() for name, each in key.tensors().items()}
        if mutated := rng.random() < 0.7:
            if rng.random() < 0.7:
                params = mutate_value(params, rng)
            name = rng.choice(sorted(tensors))
            if rng.random() < 0.5:
                tensors[name] = mutate_tensor(tensors[name], rng)
        try:
            said = canonical(params).decode()
            named = fingerprint(key.kind, params, tensors)
        except (ValueError, KeyError):
            said, named = json.dumps(params), "0" * 64
        kind = rng.choice((key.kind, "aes-ecb", "wrapped", "x")) if rng.random() < 0.1 else key.kind
        header = {"format": "torchprotect-key", "version": "1", "kind": kind, "params": said, "fingerprint": named}
        body = safetensors.torch.save(tensors, header)
        return body if mutated else mutate_bytes(body, rng)

    def mutate_inference(self, rng: random.Random) -> bytes:
        params, tensors = self.inference
        if mutated := rng.random() < 0.7:
            params = mutate_value(params, rng)
            name = rng.choice(sorted(tensors))
            tensors = {**tensors, name: mutate_tensor(tensors[name], rng)} if rng.random() < 0.5 else tensors
        said = json.dumps(params)
        digest = _inference_file._digest(said, tensors)
        header = {
            "format": _inference_file.FORMAT,
            "version": _inference_file.VERSION,
            "params": said,
            "digest": digest,
        }
        body = safetensors.torch.save(tensors, header)
        return body if mutated else mutate_bytes(body, rng)

    def read_source(self, path: Path) -> None:
        tar = path.with_suffix(".tar")
        path.rename(tar)
        try:
            attacks.metadata_scan(tar.parent)
            read_all(data.open_source(str(tar)))
        finally:
            tar.unlink()

    def read_picture(self, path: Path) -> None:
        place = self.folder / "pictures" / "class" / "x.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
        read_all(data.open_source(str(place.parent.parent)))

    def read_shard(self, path: Path) -> None:
        body = path.read_bytes()
        manifest = json.loads(self.manifest)
        manifest["shards"][0] |= {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        self.with_files({"shard-000000.tar": body, "manifest.json": json.dumps(manifest).encode()})

    def read_manifest(self, path: Path) -> None:
        self.with_files({"manifest.json": path.read_bytes()})

    def read_plan(self, path: Path) -> None:
        body = path.read_bytes()
        self.with_files({"plan.json": body})
        self.with_files({"plan.json": body, "manifest.json": None}, resume=True)

    def read_report(self, path: Path) -> None:
        self.with_files({"report-000000.json": path.read_bytes(), "manifest.json": None}, resume=True)

    def with_files(self, files: dict[str, bytes | None], resume: bool = False) -> None:
        """Put files into the place of the export's own, read the export in every way, and put its own back."""
        whole = {path.name: path.read_bytes() for path in self.export.iterdir()}
        try:
            for name, body in files.items():
                (self.export / name).unlink(missing_ok=True)
                if body is not None:
                    (self.export / name).write_bytes(body)
            uses = [lambda: run_export(self.export, BUNDLE, Pictures(9), shard_size=5)] if resume else self.uses()
            for use in uses:
                tolerate(use)
        finally:
            for path in self.export.iterdir():
                path.unlink()
            for name, body in whole.items():
                (self.export / name).write_bytes(body)

    def uses(self) -> list[Callable[[], object]]:
        return [
            lambda: list(data.read(self.export)),
            lambda: list(data.read(self.export, verify=False)),
            lambda: data.verify(self.export),
            lambda: data.verify(self.export, BUNDLE),
            lambda: Scheme.of(documents.read_manifest(open_store(self.export))["transform"]),
            lambda: read_images(open_store(self.export), documents.read_manifest(open_store(self.export)), 9),
        ]

    def read_key(self, path: Path) -> None:
        tolerate(lambda: keys.peek(path))
        keys.load(path)

    def read_inference(self, path: Path) -> None:
        Inference.load(path, ("a" * 64,))


def mutate_tensor(tensor: torch.Tensor, rng: random.Random) -> torch.Tensor:
    tensor = tensor.contiguous()
    match rng.randrange(5):
        case 0:
            return tensor.reshape(-1)[: rng.randrange(tensor.numel() + 1)].contiguous()
        case 1:
            return tensor.to(rng.choice((torch.float64, torch.int32, torch.bool))).contiguous()
        case 2:
            return tensor[None].contiguous()
        case 3:
            return torch.full_like(tensor, rng.choice((0, 1, 255, 77)))
        case _:
            return torch.zeros(rng.choice(((), (0,), (0, 2**40), (1, 0, 3))), dtype=tensor.dtype)


def read_all(source: data.Source) -> None:
    for index in range(min(len(source), 100)):
        tolerate(lambda index=index: source[index])
        tolerate(lambda index=index: source.header(index))
    list(source.listing())
    list(source.content(list(range(len(source)))))


def tolerate(use: Callable[[], object]) -> None:
    with contextlib.suppress(ProtectError):
        use()


def limit_memory() -> None:
    """Allow one gigabyte more than the libraries have mapped already."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES,) * 2)


def run(mutations: int, seed: int, keep: Path, only: str | None = None) -> tuple[dict[str, int], list[str]]:
    """Return how many cases of each kind ended without and with an error, and what failed."""

    def ring(*_: object) -> None:
        raise Slow

    signal.signal(signal.SIGALRM, ring)
    warnings.simplefilter("ignore")  # Pillow warns of damaged files
    counts: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        limit_memory()
        for turn in range(mutations):
            rng = random.Random(f"{seed} {turn}")
            name = only or list(world.kinds)[turn % len(world.kinds)]
            kind = world.kinds[name]
            body = kind.mutate(rng)
            path = world.folder / "case" / "case"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(body)
            signal.alarm(SECONDS)
            try:
                kind.read(path)
                counts[f"{name} read"] += 1
            except ProtectError:
                counts[f"{name} refused"] += 1
            except (Exception, Slow):
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{name}-{seed}-{turn}").write_bytes(body)
                failures.append(f"{name}, seed {seed}, turn {turn}:\n{traceback.format_exc(limit=-4)}")
            finally:
                signal.alarm(0)
    return dict(sorted(counts.items())), failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one kind of file")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where files that failed are kept")
    given = parser.parse_args()
    torch.set_num_threads(1)
    start = time.monotonic()
    counts, failures = run(given.mutations, given.seed, given.keep, given.only)
    for failure in failures:
        print(failure)
    print(counts)
    print(f"{given.mutations:,} mutations, {len(failures)} failures, {time.monotonic() - start:.0f} s")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
