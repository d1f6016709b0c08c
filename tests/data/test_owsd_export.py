"""Scrambled images as an export: read back, resumed, nothing of the key or the encoder in it."""

import functools
import json

import pytest
import torch
from nets import LinearEncoder
from support import write_folder

from torchprotect import data, keys, transforms
from torchprotect.errors import ExportError, NotInvertibleError

Encoder = functools.partial(LinearEncoder, pixels=3 * 16 * 16)


@pytest.fixture(scope="module")
def key():
    return keys.OWSDKey.generate(embedding_size=12, image_size=(8, 8), width=4)


@pytest.fixture
def source(tmp_path):
    return data.open_source(str(write_folder(tmp_path / "in", classes=2, each=6)))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_export_and_read_back(tmp_path, source, key):
    scramble = transforms.from_key(key, encoder=Encoder().eval())
    data.export(source, tmp_path / "out", transform=scramble, shard_size=5)
    assert data.verify(tmp_path / "out", key).proofs == ("hmac",)
    written = torch.stack([image for image, _ in data.read(tmp_path / "out")])
    plain = torch.stack([source[i].image for i in range(len(source))])
    expected = scramble(plain)
    distance = (written[:, None].int() - expected[None].int()).abs().flatten(2).amax(2)
    assert sorted(distance.argmin(1).tolist()) == list(range(12))  # each image once
    assert distance.amin(1).max() <= 1
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["transform"] == [{"name": "OWSDScramble", "key": key.fingerprint, "image_size": [8, 8]}]


def test_any_number_of_workers_gives_the_same_bytes(tmp_path, source, key):
    scramble = transforms.OWSDScramble(Encoder().eval(), key)
    for workers in (0, 2):
        data.export(source, tmp_path / str(workers), transform=scramble, shard_size=5, workers=workers)
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


def test_another_encoder_does_not_resume(tmp_path, source, key):
    out = tmp_path / "out"
    data.export(source, out, transform=transforms.OWSDScramble(Encoder().eval(), key), shard_size=5)
    before = contents(out)
    with pytest.raises(ExportError, match="do not give what"):
        data.export(source, out, transform=transforms.OWSDScramble(Encoder(1).eval(), key), shard_size=5)
    assert contents(out) == before


def test_there_is_no_inverse(key):
    with pytest.raises(NotInvertibleError):
        transforms.from_key(key, inverse=True, encoder=Encoder().eval())
