"""What sealing and opening cost: beside the SHA-256 that an export computes anyway, and in whole exports and epochs.

Usage: python benchmarks/envelope.py SOURCE [--rounds N]; SOURCE as for `torchprotect export`. Processor time, one core.
"""

import argparse
import hashlib
import io
import os
import shutil
import tempfile
import tracemalloc
from pathlib import Path

from _common import interleave, report
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from storage import processor_clock

from torchprotect import data, envelope, keys, transforms
from torchprotect._files import HashedFile
from torchprotect.demo._blocks import choose_block
from torchprotect.envelope import streaming
from torchprotect.envelope.data_key import DataKey, Place

SHARD = 64 << 20
PLACE = Place("ab" * 32, "shard-000000.tar", 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    shard(arguments.rounds)
    memory()
    exports(arguments.source, max(5, arguments.rounds // 3))


class Sink:
    """Takes what is written to it, and keeps nothing."""

    def write(self, content: bytes) -> None:
        """Do nothing."""


def shard(rounds: int) -> None:
    """One shard in memory; sealing without the hashes of the open and the sealed file, which are cases of their own."""
    plain, key = os.urandom(SHARD), DataKey(os.urandom(32))
    written, sealed = HashedFile(io.BytesIO()), HashedFile(io.BytesIO())
    written.write(plain)
    key.seal(written, sealed, PLACE)
    content = sealed.reread().read()
    buffer, bare = bytearray(1 << 16), AESGCM(os.urandom(32))
    parts = [plain[i : i + streaming.SEGMENT] for i in range(0, SHARD, streaming.SEGMENT)]
    out = bytearray(streaming.SEGMENT + streaming.TAG)

    def open_all() -> None:
        with key.open(io.BytesIO(content), PLACE, "shard") as file:
            while file.readinto(buffer):  # type: ignore[attr-defined]
                pass

    cases = {
        "SHA-256": lambda: hashlib.sha256(plain).digest(),
        "AES-256-GCM alone, segment by segment": lambda: [
            bare.encrypt_into(bytes(12), part, None, out) for part in parts
        ],
        "sealing": lambda: key.seal(written, Sink(), PLACE),  # type: ignore[arg-type]
        "opening, 64 KiB at a time": open_all,
    }
    report(f"a shard of {SHARD >> 20} MiB", interleave(cases, rounds, 0.2, processor_clock), "SHA-256", None)


def memory() -> None:
    """Peak memory of sealing and opening a file on disk."""
    key, folder = DataKey(os.urandom(32)), Path(tempfile.mkdtemp())
    for size in (16 << 20, 256 << 20):
        with (folder / "plain").open("w+b") as plain, (folder / "sealed").open("wb") as sealed:
            written = HashedFile(plain)
            for _ in range(size >> 20):
                written.write(os.urandom(1 << 20))
            tracemalloc.start()
            key.seal(written, HashedFile(sealed), PLACE)
            sealing = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        tracemalloc.start()
        with key.open((folder / "sealed").open("rb"), PLACE, "shard") as file:
            while file.read(4096):
                pass
        opening = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{size >> 20} MiB: sealing takes {sealing / 2**20:.2f} MiB of memory, opening {opening / 2**20:.2f}")
    shutil.rmtree(folder)


def exports(location: str, rounds: int) -> None:
    """Whole exports, and epochs of reading them."""
    source = data.open_source(location)
    size = source[0].image.shape[-2:]
    key = keys.AESKey.generate(image_size=tuple(size), block_size=choose_block(tuple(size), 16))
    transform, folder = transforms.from_key(key), Path(tempfile.mkdtemp())
    recipient = envelope.generate_identity(folder / "identity")
    given: dict[str, list[str] | None] = {"open": None, "sealed": [recipient]}
    for name, to in given.items():
        data.export(source, folder / name, transform=transform, key=key, recipients=to)

    def export(to: list[str] | None) -> None:
        data.export(source, folder / "out", transform=transform, key=key, recipients=to)
        shutil.rmtree(folder / "out")

    def read(name: str) -> None:
        for _ in data.read(folder / name, identity=folder / "identity" if name == "sealed" else None):
            pass

    cases = {f"export, {name}": lambda to=to: export(to) for name, to in given.items()}
    report(f"{len(source):,} images", interleave(cases, rounds, clock=processor_clock), "export, open", None)
    cases = {f"read, {name}": lambda name=name: read(name) for name in given}
    report("the same", interleave(cases, rounds, clock=processor_clock), "read, open", None)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
