import json

import pytest
from support import content, run_export
from typer.testing import CliRunner

from torchprotect import data
from torchprotect.cli import app


def call(*arguments):
    return CliRunner().invoke(app, ["index", *map(str, arguments)])


@pytest.fixture
def out(tmp_path):
    run_export(tmp_path / "out")
    return tmp_path / "out"


def test_both_indexes(out, tmp_path):
    before = content(out)
    wids, croissant = tmp_path / "w.json", tmp_path / "c.json"
    result = call(out, "--wids", wids, "--croissant", croissant)
    assert (result.exit_code, result.stdout) == (0, f"{out}: described in {wids} and {croissant}\n")
    assert json.loads(wids.read_bytes()) == data.wids_index(out)
    assert json.loads(croissant.read_bytes()) == data.croissant_metadata(out)
    assert content(out) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out/w.json", "lies inside the export"),
        ("there.json", "never overwritten"),
        ("nowhere/w.json", "folder to write into does not exist"),
    ],
)
def test_refusals(out, tmp_path, name, message):
    (tmp_path / "there.json").write_text("mine")
    result = call(out, "--wids", tmp_path / name)
    assert result.exit_code == 1
    assert message in result.stderr
    assert (tmp_path / "there.json").read_text() == "mine"


def test_something_must_be_asked_for(out):
    result = call(out)
    assert result.exit_code == 2
    assert "--croissant" in result.stderr
