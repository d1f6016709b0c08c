"""The reproductions of "Image Disguising" run as they stand."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from Crypto.Cipher import AES

SCRIPTS = Path(__file__).parent.parent / "examples" / "reproduce"
TABLES = ["figure6", "figure7_left", "figure7_right", "figure8", "figure8_fallbacks", "figure9", "figure10_left"]
TABLES += ["figure10_right", "figure10_noise", "table2", "cbc", "adaptive", "inversion"]


def test_every_table_is_written(tmp_path):
    """At the scale that only shows that everything runs, on drawn images."""
    command = [sys.executable, str(SCRIPTS / "disguise_all.py"), "--scale", "check", "--out", "out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # tiny images: threads only wait
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
    for name in TABLES:
        table = json.loads((tmp_path / "out" / f"disguise_{name}.json").read_text())
        assert table["directions"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
        assert all(-100 <= cell <= 1000 for row in table["rows"] for cell in row if isinstance(cell, float))
        assert table["about"]["source"] == "drawn, drawn"
        assert f"**{table['title']}**" in (tmp_path / "out" / f"disguise_{name}.md").read_text()


@pytest.fixture
def shared(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("_disguise")


def test_results_kept_in_the_repository_have_the_shape_of_the_tables():
    for name in TABLES:
        table = json.loads((SCRIPTS / "results" / f"disguise_{name}.json").read_text())
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
        assert table["about"]["source"] == "mnist:ROOT, fashion-mnist:ROOT"


@pytest.mark.parametrize("blocks", [1, 4, 64])
def test_cbc_chains_the_units_of_a_block(shared, blocks):
    side = int(32 / blocks**0.5)
    owner = shared.Owner(shared.Disguise("cbc", side))
    images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    settings = owner._apply.keywords
    place = 0 if owner.order is None else int((owner.order == blocks - 1).nonzero())  # where the last block lies
    row, column = (side * part for part in divmod(place, 32 // side))
    disguised = owner(images)[1, 0, row : row + side, column : column + side]
    cipher = AES.new(bytes(settings["table"].keys[-1, 0].tolist()), AES.MODE_CBC, settings["vectors"][-1])
    padded = torch.nn.functional.pad(images[1, 0], (2,) * 4)
    expected = cipher.encrypt(bytes(padded[32 - side :, 32 - side :].flatten().tolist()))
    assert bytes(disguised.flatten().tolist()) == expected


@pytest.mark.parametrize("kind", ["rmt", "aes", "cbc", "permute", "none"])
def test_owners_have_keys_of_their_own_and_keep_them(shared, kind):
    images = torch.randint(1, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    side = 4 if kind in ("aes", "cbc") else 7
    first, other = (shared.Owner(shared.Disguise(kind, side)) for _ in range(2))
    assert torch.equal(first(images), first(images))
    assert torch.equal(first(images), other(images)) is (kind == "none")
    assert first(images).shape[-1] == (32 if side == 4 else 28)


def test_folds_are_different_samples_and_known_pairs_are_training_images(shared, tmp_path):
    world = shared.World(shared.SCALES["check"], {"mnist": None}, tmp_path, "cpu")
    first, other = world.train("mnist", 0).images, world.train("mnist", 1).images
    assert not torch.equal(first, other)
    assert torch.equal(world.pairs("mnist", 0, 20), first[:20])
    assert world.owner("mnist", 0, shared.PLAIN) is world.owner("mnist", 0, shared.PLAIN)
    assert torch.equal(shared.crop(shared.pad(first, 32)), first)
