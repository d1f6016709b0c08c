"""Exports of format version 1 are audited and restored; one of them is checked in, as version 1 wrote it."""

import json
from pathlib import Path

import PIL.Image
import pytest
import torch
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect import audit, data, keys
from torchprotect.attacks import ATTACKS

FOLDER = Path(__file__).parents[1] / "vectors" / "exports" / "v1-audited"


@pytest.fixture(scope="module")
def plain():
    """The 24 pictures that were exported."""
    generator = torch.Generator().manual_seed(16)
    draw = (torch.randint(0, 256, (1, 8, 8), generator=generator, dtype=torch.uint8) for _ in range(24))
    return [(image // (1 + n % 4), n % 3) for n, image in enumerate(draw)]


@pytest.fixture(scope="module")
def key():
    return keys.load(FOLDER.with_suffix(".safetensors"))


def test_its_format():
    for name in ("plan.json", "manifest.json"):
        assert json.loads((FOLDER / name).read_text())["version"] == 1


def test_it_is_verified_and_read(plain, key):
    assert data.verify(FOLDER, key).proofs == ("hmac",)
    assert sorted(key.labels.unmap(label) for _, label in data.read(FOLDER)) == sorted(label for _, label in plain)


def test_it_is_audited(plain, key):
    evidence = audit.open_evidence(FOLDER, plain, key)
    assert torch.equal(
        evidence.plain[evidence.pairing].sort(0).values, torch.stack([image for image, _ in plain]).sort(0).values
    )
    report = audit.run(evidence, attacks=[each for each in ATTACKS if each.name == "linkage_attack"], fast=True)
    assert len(report.findings) == 1
    assert report.facts["data"]["comparable"]


def test_it_is_restored_to_the_pixel(tmp_path, plain, key):
    assert data.restore(FOLDER, tmp_path / "back", key=key).images == 24
    found = {pil_to_tensor(PIL.Image.open(path)).numpy().tobytes() for path in (tmp_path / "back").rglob("*.png")}
    assert found == {image.numpy().tobytes() for image, _ in plain}
