"""The reproductions of "Image Disguising" run as they stand."""

import importlib

import pytest
import torch
from Crypto.Cipher import AES
from scripts import REPRODUCE, numbers, reproduce

TABLES = {"figure6", "figure7_left", "figure7_right", "figure8", "figure8_fallbacks", "figure9", "figure10_left"}
TABLES |= {"figure10_right", "figure10_noise", "table2", "cbc", "adaptive", "inversion"}


@pytest.mark.slow
def test_every_table_is_written(tmp_path):
    tables = reproduce("disguise", tmp_path / "out")
    assert tables.keys() == TABLES
    assert all(-100 <= number <= 1000 for number in numbers(tables))


@pytest.fixture
def world(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE / "disguise"))
    return importlib.import_module("disguise_world")


@pytest.fixture
def owner(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE / "disguise"))
    return importlib.import_module("owner")


@pytest.mark.parametrize("blocks", [1, 4, 64])
def test_cbc_chains_the_units_of_a_block(owner, blocks):
    side = int(32 / blocks**0.5)
    holder = owner.Owner(owner.Disguise("cbc", side))
    images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    settings = holder._apply.keywords
    place = 0 if holder.order is None else int((holder.order == blocks - 1).nonzero())  # where the last block lies
    row, column = (side * part for part in divmod(place, 32 // side))
    disguised = holder(images)[1, 0, row : row + side, column : column + side]
    cipher = AES.new(bytes(settings["table"].keys[-1, 0].tolist()), AES.MODE_CBC, settings["vectors"][-1])
    padded = torch.nn.functional.pad(images[1, 0], (2,) * 4)
    expected = cipher.encrypt(bytes(padded[32 - side :, 32 - side :].flatten().tolist()))
    assert bytes(disguised.flatten().tolist()) == expected


@pytest.mark.parametrize("kind", ["rmt", "aes", "cbc", "permute", "none"])
def test_each_owner_draws_and_keeps_own_keys(owner, kind):
    images = torch.randint(1, 256, (3, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    side = 4 if kind in ("aes", "cbc") else 7
    first, other = (owner.Owner(owner.Disguise(kind, side)) for _ in range(2))
    assert torch.equal(first(images), first(images))
    assert torch.equal(first(images), other(images)) is (kind == "none")
    assert first(images).shape[-1] == (32 if side == 4 else 28)


def test_folds_differ_and_known_pairs_are_training_images(world, owner, tmp_path):
    made = world.World(world.Given("check", (), tmp_path, "cpu")).bench
    first, other = made.train("mnist", 0).images, made.train("mnist", 1).images
    assert not torch.equal(first, other)
    assert torch.equal(made.pairs("mnist", 0, 20), first[:20])
    assert made.owner("mnist", 0, owner.PLAIN) is made.owner("mnist", 0, owner.PLAIN)
    assert torch.equal(owner.crop(owner.pad(first, 32)), first)
