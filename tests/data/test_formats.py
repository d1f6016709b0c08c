"""The bytes we write ourselves: PNG, npy, tar, noise, order."""

import io
import struct
import subprocess
import tarfile

import numpy as np
import PIL.Image
import pytest
import torch
from Crypto.Cipher import AES
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make_image, tar_members

from torchprotect.data._encode import encode, extension
from torchprotect.data._tar import TarStream, member_header
from torchprotect.data.keyed import KeystreamNoise, keyed_order
from torchprotect.errors import ExportError, InputTypeError


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.sampled_from([1, 3]), st.integers(1, 40), st.integers(1, 40))
def test_png_is_read_by_pillow_and_torchvision(count, channels, height, width):
    images = make_image(count, channels, height, width)
    for image, content in zip(images, encode(images), strict=True):
        picture = PIL.Image.open(io.BytesIO(content))
        assert picture.mode == ("L" if channels == 1 else "RGB")
        read = torch.from_numpy(np.array(picture)).reshape(height, width, channels).movedim(-1, 0)
        assert torch.equal(read, image)


def test_png_larger_than_one_stored_block():
    image = make_image(1, 3, 300, 251)
    (content,) = encode(image)
    assert torch.equal(torch.from_numpy(np.array(PIL.Image.open(io.BytesIO(content)))).movedim(-1, 0), image[0])


def test_file_sizes_reveal_nothing_about_the_content():
    flat, noise = torch.zeros(1, 3, 64, 64, dtype=torch.uint8), make_image(1, 3, 64, 64)
    assert {len(content) for images in (flat, noise) for content in encode(images)} == {12420}


def test_png_bytes_are_pinned():
    (content,) = encode(torch.tensor([[[[1, 2]]]], dtype=torch.uint8))
    parts = (
        "89504e470d0a1a0a",  # signature
        "0000000d49484452 00000002 00000001 08 00 00 00 00 d1492056",  # 2 x 1, 8 bits, grey
        "0000000e49444154 7801 01 0300 fcff 00 01 02 00070004 6cf83968",  # one stored block: filter type, two pixels
        "0000000049454e44 ae426082",
    )
    assert content == bytes.fromhex("".join(parts))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.uint8, torch.int16])
def test_npy_is_read_by_numpy(dtype):
    images = (make_image(3, 2, 5, 7).float() - 100).to(dtype)
    assert extension(images) == "npy"
    for image, content in zip(images, encode(images), strict=True):
        array = np.load(io.BytesIO(content), allow_pickle=False)
        assert np.array_equal(array, image.numpy())
        buffer = io.BytesIO()
        np.save(buffer, image.numpy())
        assert content == buffer.getvalue()


def test_npy_refuses_bfloat16():
    with pytest.raises(InputTypeError, match="bfloat16"):
        list(encode(torch.zeros(1, 1, 2, 2, dtype=torch.bfloat16)))


@settings(max_examples=50, deadline=None)
@given(st.text("abc0123.", min_size=1, max_size=99), st.integers(0, 8**11 - 1))
def test_tar_header_is_understood_by_tarfile(name, size):
    header = member_header(name.encode(), size)
    info = tarfile.TarInfo.frombuf(header, "ascii", "strict")  # checks the checksum
    assert len(header) == 512
    assert (info.name, info.size) == (name.rstrip("/"), size)
    assert (info.mode, info.uid, info.gid, info.mtime, info.type) == (0o644, 0, 0, 0, tarfile.REGTYPE)
    assert (info.uname, info.gname, info.linkname) == ("", "", "")


def test_tar_header_refuses_what_ustar_cannot_hold():
    for name, size in ((b"x" * 101, 1), (b"x", 8**11)):
        with pytest.raises(ValueError, match="at most 100 bytes"):
            member_header(name, size)


def test_tar_is_read_by_tarfile_and_gnu_tar(tmp_path):
    members = [(f"{n}.bin", b"x" * n) for n in (0, 1, 511, 512, 513, 5000)]
    path = tmp_path / "x.tar"
    with path.open("wb") as file:
        stream = TarStream(file)
        stream.write(members[:2])
        stream.write(members[2:])
        stream.finish()
    assert tar_members(path) == dict(members)
    assert path.stat().st_size % 10240 == 0
    listed = subprocess.run(["tar", "-tvf", str(path)], capture_output=True, text=True, check=True)
    assert listed.stderr == ""
    assert len(listed.stdout.splitlines()) == 6


class TestNoise:
    IDS = [bytes(range(16)), bytes(range(1, 17))]

    def test_specification(self):
        drawn = KeystreamNoise(b"k" * 32, self.IDS)((2, 3))
        for row, identity in zip(drawn, self.IDS, strict=True):
            blocks = b"".join(identity[:12] + struct.pack(">I", n) for n in range(1))
            stream = AES.new(b"k" * 32, AES.MODE_ECB).encrypt(blocks)
            words = struct.unpack("<4I", stream)
            assert row.tolist() == [(word >> 8) / 2**24 for word in words[:3]]

    def test_draws_follow_each_other(self):
        noise = KeystreamNoise(b"k" * 32, self.IDS)
        parts = torch.cat([noise((2, 5)), noise((2, 7))], 1)
        assert torch.equal(parts, KeystreamNoise(b"k" * 32, self.IDS)((2, 12)))

    def test_uniform(self):
        drawn = KeystreamNoise(b"k" * 32, self.IDS)((2, 50_000))
        assert drawn.dtype == torch.float32
        assert drawn.min() >= 0
        assert drawn.max() < 1
        assert abs(float(drawn.mean()) - 0.5) < 0.01
        assert abs(float(torch.corrcoef(drawn)[0, 1])) < 0.03

    def test_other_batch(self):
        with pytest.raises(ExportError, match="drew noise for 3 images, but the batch holds 2"):
            KeystreamNoise(b"k" * 32, self.IDS)((3, 5))


def test_keyed_order_specification():
    order = keyed_order(b"o" * 32, 100)
    blocks = b"".join(struct.pack(">QQ", 0, n) for n in range(50))
    words = struct.unpack("<100Q", AES.new(b"o" * 32, AES.MODE_ECB).encrypt(blocks))
    assert order.tolist() == sorted(range(100), key=lambda i: words[i])
    assert keyed_order(b"p" * 32, 100).tolist() != order.tolist()
