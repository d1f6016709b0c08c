"""Reading yields the whole export or raises an error of this package: no foreign exception, no decompression bomb."""

import io
import json
import lzma
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from support import SHARED_AES, Pictures, content, make_bundle, make_image, run_export, tar_members

from torchprotect import audit, data, keys, transforms
from torchprotect.data import manifest as documents
from torchprotect.data._decode import decode
from torchprotect.data._encode import encode
from torchprotect.data._tar import TarStream, member_header, parse_header
from torchprotect.data.images import read_images
from torchprotect.data.pairing import find_plain_images
from torchprotect.data.sources import as_source
from torchprotect.data.store import open_store
from torchprotect.errors import ExportError, ProtectError, SourceError, VerificationError

VECTORS = Path(__file__).parent.parent / "vectors"
RMT = make_bundle("rmt")
SHARD = "shard-000001.tar"


@pytest.fixture(params=["png", "npy"])
def out(request, tmp_path):
    run_export(tmp_path / "out", *((RMT,) if request.param == "npy" else ()))
    return tmp_path / "out"


def edit(out, change):
    """Change the manifest, as somebody without the key can."""
    document = json.loads((out / "manifest.json").read_text())
    change(document)
    (out / "manifest.json").write_text(json.dumps(document))


def replace_shard(out, body, honest=True):
    """Put other bytes in place of a shard, with a manifest that fits them or without."""
    (out / SHARD).write_bytes(body)
    if honest:
        digest = documents.sha256_of(open_store(out), SHARD)
        edit(out, lambda document: document["shards"][1].update(size=len(body), sha256=digest))


def write_members(*members):
    buffer = io.BytesIO()
    stream = TarStream(buffer)
    stream.write(list(members))
    stream.finish()
    return buffer.getvalue()


ID = "0123456789abcdef" * 2


class TestShards:
    def test_a_flipped_byte_in_a_header_is_not_the_end_of_the_archive(self, out):
        """tarfile, and so webdataset, takes a bad header for the end of the archive."""
        body = bytearray((out / SHARD).read_bytes())
        offset = next(n for n in range(2048, len(body), 512) if body[n + 257 : n + 262] == b"ustar")
        body[offset + 150] ^= 1
        replace_shard(out, bytes(body), honest=False)
        with pytest.raises(VerificationError, match=f"{SHARD} is damaged.*no header of a member at byte {offset:,}"):
            list(data.read(out))

    @pytest.mark.slow
    def test_every_flipped_byte_is_noticed(self, out):
        body = (out / SHARD).read_bytes()
        for offset in range(0, len(body), 97):
            replace_shard(out, body[:offset] + bytes([body[offset] ^ 4]) + body[offset + 1 :], honest=False)
            with pytest.raises(VerificationError):
                list(data.read(out))

    def test_only_the_hash_check_may_be_left_out(self, tmp_path):
        """A pixel of an npy file is the one thing that nothing but the hash covers."""
        out = tmp_path / "out"
        run_export(out, RMT)
        body = bytearray((out / SHARD).read_bytes())
        body[body.index(b"NUMPY") + 300] ^= 1
        replace_shard(out, bytes(body), honest=False)
        with pytest.raises(VerificationError, match="SHA-256 is not the manifest's"):
            list(data.read(out))
        assert len(list(data.read(out, verify=False))) == 20
        body[-1] ^= 1
        replace_shard(out, bytes(body), honest=False)
        with pytest.raises(VerificationError, match="something stands behind the end of the archive"):
            list(data.read(out, verify=False))
        for cut in (len(body) - 512, 512):
            replace_shard(out, bytes(body[:cut]), honest=False)
            with pytest.raises(VerificationError, match="bytes, the manifest says"):
                list(data.read(out, verify=False))

    def test_images_of_many_channels_come_back(self, tmp_path):
        """Whatever an export writes is read."""
        bundle = make_bundle("rmt")
        run_export(tmp_path / "out", bundle, Pictures(3, 300))
        assert [tuple(image.shape) for image, _ in data.read(tmp_path / "out")] == [(300, 16, 16)] * 3

    def test_samples_that_are_missing(self, out):
        members = list(tar_members(out / SHARD).items())
        replace_shard(out, write_members(*members[:-2]))
        with pytest.raises(VerificationError, match="holds 6 samples, the manifest says 7"):
            list(data.read(out))

    @pytest.mark.parametrize("kind", [b"S", b"1", b"2", b"3", b"5", b"6", b"7", b"L", b"x", b"g"])
    def test_members_that_are_not_regular_files(self, out, kind):
        header = bytearray(member_header(f"{ID}.png".encode(), 0))
        header[156:157] = kind
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header)
        replace_shard(out, bytes(header) + bytes(10240 - 512))
        with pytest.raises(VerificationError, match="no header of a member at byte 0"):
            list(data.read(out))

    def test_a_member_of_an_absurd_size(self, out):
        header = bytearray(member_header(f"{ID}.png".encode(), 8**11 - 1))
        replace_shard(out, bytes(header) + bytes(2048 - 512))
        with pytest.raises(VerificationError, match="more than such a member can have"):
            list(data.read(out))

    def test_a_compressed_stream_is_not_unpacked(self, out):
        replace_shard(out, lzma.compress(bytes(1 << 22)))
        with pytest.raises(VerificationError, match="no header"):
            list(data.read(out))

    def test_a_small_file_cannot_claim_a_large_picture(self, tmp_path):
        run_export(tmp_path / "out")
        body = next(encode(torch.zeros(1, 1, 16, 16, dtype=torch.uint8)))
        header = struct.pack(">II", 12_000, 12_000) + body[24:29]
        large = body[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + body[33:]
        replace_shard(tmp_path / "out", write_members((f"{ID}.png", large)))
        with pytest.raises(VerificationError, match="another size than its header says"):
            list(data.read(tmp_path / "out"))

    def test_compressed_pixels_are_not_unpacked_beyond_their_size(self, tmp_path):
        run_export(tmp_path / "out")
        body = next(encode(torch.zeros(1, 1, 16, 16, dtype=torch.uint8)))
        length = len(body) - 33 - 12 - 12  # of what stands in IDAT
        bomb = zlib.compress(bytes(length * 900), 9)[:length].ljust(length, b"\0")
        chunk = struct.pack(">I", length) + b"IDAT" + bomb + struct.pack(">I", zlib.crc32(b"IDAT" + bomb))
        replace_shard(tmp_path / "out", write_members((f"{ID}.png", body[:33] + chunk + body[-12:])))
        with pytest.raises(VerificationError, match="pixels are damaged"):
            list(data.read(tmp_path / "out"))

    def test_pictures_of_another_size_than_the_manifest_says(self, out):
        other = next(encode(torch.zeros(1, 1, 16, 17, dtype=torch.uint8)))
        replace_shard(out, write_members((f"{ID}.png", other)))
        with pytest.raises(VerificationError, match=r"16 x 17 pixels, the manifest says \(16, 16\)"):
            list(data.read(out))

    @pytest.mark.parametrize(
        "members",
        [
            [(f"{ID}.cls", b"1")],
            [(f"{ID}.txt", b"1")],
            [("a.png", b"1")],
            [(f"{ID}.png", b"PNG"), (f"{'0' * 32}.cls", b"1")],
            [(f"{ID}.png", b"PNG"), (f"{ID}.cls", b"x")],
            [(f"{ID}.png", b"PNG"), (f"{ID}.cls", b"1" * 19)],
            [(f"{ID}.npy", b"\x93NUMPY\2\0")],
            [(f"{ID}.npy", b"\x93NUMPY\1\0\x20\0" + b"[" * 32)],
        ],
    )
    def test_members_that_no_export_writes(self, out, members):
        image = next(encode(torch.zeros(1, 1, 16, 16, dtype=torch.uint8)))
        replace_shard(out, write_members(*((name, image if body == b"PNG" else body) for name, body in members)))
        with pytest.raises(VerificationError, match=f"{SHARD} is damaged"):
            list(data.read(out))

    def test_shards_that_are_not_regular_files(self, out):
        (out / SHARD).unlink()
        os.mkfifo(out / SHARD)
        with pytest.raises(VerificationError, match="not a regular file"):
            list(data.read(out))
        with pytest.raises(VerificationError, match=f"{SHARD} cannot be read .*not a regular file"):
            data.verify(out)


@pytest.mark.parametrize("case", sorted((VECTORS / "hostile-tars").glob("*.tar")), ids=lambda path: path.stem)
class TestHostileTars:
    """Files that a fuzzer found; each once hung, or raised an exception of another package."""

    def test_as_a_source(self, case):
        try:
            source = data.open_source(str(case))
        except SourceError:
            return
        for index in range(len(source)):
            try:
                source[index]
            except SourceError:
                continue

    @pytest.mark.parametrize("honest", [True, False])
    def test_as_a_shard(self, tmp_path, case, honest):
        run_export(tmp_path / "out")
        replace_shard(tmp_path / "out", case.read_bytes(), honest)
        with pytest.raises(VerificationError):
            list(data.read(tmp_path / "out"))
        with pytest.raises(ProtectError):
            audit.run(tmp_path / "out", fast=True)

    def test_in_a_folder_that_is_searched_for_metadata(self, tmp_path, case):
        from torchprotect import attacks

        shutil.copy(case, tmp_path / "a.tar")
        attacks.metadata_scan(tmp_path)


class TestDocuments:
    @pytest.mark.parametrize(
        "change",
        [
            lambda d: d.pop("plan"),
            lambda d: d.update(images=-1),
            lambda d: d.update(images=True),
            lambda d: d.update(labels="10"),
            lambda d: d.update(shards={}),
            lambda d: d.update(transform=[1]),
            lambda d: d.update(transform="AES"),
            lambda d: d.update(plain={}),
            lambda d: d.update(key=None),
            lambda d: d["shards"][0].update(count=1.5),
            lambda d: d["shards"][0].update(size=-1),
            lambda d: d["shards"][0].update(sha256="x"),
            lambda d: d["shards"][0].update(name="shard-000001.tar"),
            lambda d: d["shards"].reverse(),
            lambda d: d["shards"].append(d["shards"][0]),
        ],
    )
    def test_malformed_manifests(self, out, change):
        edit(out, change)
        for use in (data.read, data.verify, lambda out: audit.run(out, fast=True)):
            with pytest.raises(ProtectError, match="malformed"):
                use(out)

    @pytest.mark.parametrize("name", ["manifest.json", "plan.json"])
    def test_a_member_twice(self, out, name):
        text = (out / name).read_text()
        (out / name).write_text(text.replace("{", '{"version": 2,', 1))
        with pytest.raises(ExportError, match=f"{name} is damaged: .*member twice"):
            data.verify(out)

    @pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a": NaN}', b'"\\ud800"', b"\xff", b""])
    def test_documents_that_are_not_json(self, out, body):
        (out / "manifest.json").write_bytes(body)
        for use in (data.read, data.verify):
            with pytest.raises(ExportError, match="damaged"):
                use(out)

    def test_a_manifest_may_grow_with_its_shards(self, tmp_path, monkeypatch):
        monkeypatch.setattr(documents, "_LARGEST", 2_000)
        run_export(tmp_path / "out", dataset=Pictures(60), shard_size=1)
        assert (tmp_path / "out" / "manifest.json").stat().st_size > 10_000
        assert data.verify(tmp_path / "out", SHARED_AES).images == len(list(data.read(tmp_path / "out"))) == 60
        with (tmp_path / "out" / "manifest.json").open("ab") as file:
            file.write(b" " * 100_000)
        with pytest.raises(ExportError, match="files of this kind have at most"):
            data.verify(tmp_path / "out")

    def test_a_manifest_that_is_not_a_regular_file(self, out):
        (out / "manifest.json").unlink()
        os.mkfifo(out / "manifest.json")
        with pytest.raises(ExportError, match="not a regular file"):
            data.read(out)

    def test_plan_and_manifest_that_do_not_belong_together_need_no_key(self, out, tmp_path):
        run_export(tmp_path / "other", make_bundle("aes"))
        shutil.copy(tmp_path / "other" / "plan.json", out / "plan.json")
        with pytest.raises(VerificationError, match="plan and manifest do not belong together"):
            data.verify(out)


@pytest.mark.parametrize("kind", ["aes", "rmt"])
def test_exports_of_format_1_stay_readable(kind, tmp_path):
    folder, key = VECTORS / "exports" / f"v1-{kind}", keys.load(VECTORS / "exports" / f"v1-{kind}.safetensors")
    assert json.loads((folder / "manifest.json").read_text())["version"] == 1
    assert data.verify(folder, key).images == len(list(data.read(folder))) == 9
    undo = transforms.from_key(key, inverse=True)
    plain = {bytes(Pictures(9)[n][0].flatten().tolist()): n % 10 for n in range(9)}
    for image, label in data.read(folder):
        if kind == "aes":
            assert plain[bytes(undo(image).flatten().tolist())] == key.labels.unmap(label)
    written = read_images(open_store(folder), documents.read_manifest(open_store(folder)), 9)
    assert find_plain_images(open_store(folder), as_source(Pictures(9)), key, written).images.shape == (9, 1, 16, 16)


class TestFormats:
    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float16, torch.float32, torch.bool])
    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_decoding_inverts_encoding(self, dtype, channels):
        images = make_image(3, channels, 5, 300).to(dtype)
        kind = "png" if dtype == torch.uint8 and channels in (1, 3) else "npy"
        for image, body in zip(images, encode(images), strict=True):
            assert torch.equal(decode(kind, body), image)
            with pytest.raises(ValueError, match="."):
                decode(kind, body[:-1])

    @pytest.mark.parametrize("descr", ["|O", "<U4", ">f4", "<f4,<f4", "|V4", "<m8"])
    def test_arrays_of_anything_else_are_refused(self, descr):
        buffer = io.BytesIO()
        fields = {"descr": descr, "fortran_order": False, "shape": (1, 1, 1)}
        np.lib.format.write_array_header_1_0(buffer, fields)
        with pytest.raises(ValueError, match="npy"):
            decode("npy", buffer.getvalue() + bytes(8))

    def test_headers(self):
        assert parse_header(member_header(b"a.png", 77)) == ("a.png", 77)
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("a.png"))
        with pytest.raises(ValueError, match="not a header"):
            parse_header(buffer.getvalue()[:512])


class TestPaths:
    @pytest.mark.parametrize("name", ["what?", "a b", "{0..3}", "100%", "::", "é"])
    def test_folders_of_any_name(self, tmp_path, monkeypatch, name):
        run_export(tmp_path / name)
        assert len(list(data.read(tmp_path / name))) == 20
        monkeypatch.chdir(tmp_path)
        assert len(list(data.read(name))) == 20


RANK = """
import os, sys
import torch
from torch.utils.data import DataLoader
from torchprotect import data

torch.distributed.init_process_group("gloo")
loader = DataLoader(data.read(sys.argv[1]), batch_size=None, num_workers=int(sys.argv[2]))
labels = [label for _, label in loader]
told = [None] * torch.distributed.get_world_size()
torch.distributed.all_gather_object(told, labels)
if torch.distributed.get_rank() == 0:
    print(sorted(label for each in told for label in each), [len(each) for each in told])
torch.distributed.destroy_process_group()
"""


class TestRanks:
    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [0, 2])
    def test_torchrun_divides_the_shards(self, tmp_path, workers):
        run_export(tmp_path / "out", make_bundle("permutation").transform, Pictures(20), transform=None, shard_size=5)
        (tmp_path / "rank.py").write_text(RANK)
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "rank.py"]
        done = subprocess.run(
            [*command, "out", str(workers)], cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.strip() == f"{sorted([n % 10 for n in range(20)])} [10, 10]"

    def test_fewer_shards_than_ranks(self, tmp_path, monkeypatch):
        run_export(tmp_path / "out", shard_size=20)
        for name, value in {"RANK": "1", "WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ExportError, match=r"fewer shards than there are ranks.*resampled=True"):
            list(data.read(tmp_path / "out"))

    def test_shards_may_be_shuffled_and_resampled(self, out):
        whole = [label for _, label in data.read(out)]
        assert sorted(label for _, label in data.read(out, shardshuffle=10, seed=3)) == sorted(whole)
        drawn = list(data.read(out, resampled=True).with_epoch(50))
        assert len(drawn) == 50


def test_reading_changes_nothing(out):
    before = content(out)
    list(data.read(out))
    assert content(out) == before
