"""Measured numbers of the reproductions are kept one by one, and never used when what decided them has changed."""

import importlib
import json
import math
import subprocess
import sys

import pytest
from scripts import REPRODUCE


@pytest.fixture
def cells(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE))
    return importlib.import_module("common.cells")


@pytest.fixture
def digest(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE))
    return importlib.import_module("common.digest")


def square(bench, *, fold, side):
    bench.append((fold, side))
    return {"area": side * side, "fold": fold}


def opened(cells, folder, **sizes):
    return cells.Cells(folder / "full.jsonl", {"epochs": 1, **sizes}, folder, "table1 --scale full")


def test_cells_are_measured_once(cells, tmp_path):
    first, calls = opened(cells, tmp_path), []
    assert math.isnan(first.get(square, fold=0, side=3)["area"])
    assert first.plan(first.missing()) == (
        "0 of 1 cells are measured; 1 to do, about 0 min in one process, and 1 of unknown length"
    )
    first.measure(first.missing(), calls)
    assert first.get(square, fold=0, side=3) == {"area": 9, "fold": 0}
    again = opened(cells, tmp_path)
    assert again.get(square, fold=0, side=3)["area"] == 9
    again.get(square, fold=1, side=3)
    again.measure(again.missing(), calls)
    assert calls == [(0, 3), (1, 3)]
    line = json.loads((tmp_path / "full.jsonl").read_text().splitlines()[0])
    assert line["command"] == "table1 --scale full"
    assert line.keys() >= {"date", "machine", "versions", "seconds", "code", "sizes", "settings"}


def test_other_sizes_settings_and_code_are_other_cells(cells, tmp_path, monkeypatch):
    first = opened(cells, tmp_path)
    first.get(square, fold=0, side=3)
    first.measure(first.missing(), [])
    for other in (opened(cells, tmp_path, epochs=2), first):
        assert math.isnan(other.get(square, fold=0, side=4 if other is first else 3)["area"])
    monkeypatch.setattr(cells, "code_digest", lambda module: "another")
    assert math.isnan(opened(cells, tmp_path).get(square, fold=0, side=3)["area"])


def test_a_line_that_was_cut_off_is_measured_again(cells, tmp_path):
    first = opened(cells, tmp_path)
    for side in (1, 2):
        first.get(square, fold=0, side=side)
    first.measure(first.missing(), [])
    path = tmp_path / "full.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    again, calls = opened(cells, tmp_path), []
    for side in (1, 2):
        again.get(square, fold=0, side=side)
    again.measure(again.missing(), calls)
    assert calls == [(0, 2)]
    last = opened(cells, tmp_path)
    assert [last.get(square, fold=0, side=side)["area"] for side in (1, 2)] == [1, 4]


def test_processes_share_the_work(cells, tmp_path):
    """Each cell is measured by one of two processes; the one that comes second reads the other's numbers."""
    program = f"""
import sys, time
sys.path.insert(0, {str(REPRODUCE)!r})
from pathlib import Path
from common.cells import Cells
sys.path.insert(0, {str(tmp_path)!r})
from slow import slow
cells = Cells(Path({str(tmp_path / "full.jsonl")!r}), {{}}, Path({str(tmp_path)!r}), "")
for fold in range(6):
    cells.get(slow, fold=fold)
cells.measure(cells.missing(), None)
"""
    (tmp_path / "slow.py").write_text(
        "import time\n\ndef slow(bench, fold):\n    time.sleep(0.3)\n    return {'n': fold}\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [each.communicate() and each.returncode for each in both] == [0, 0]
    lines = [json.loads(line) for line in (tmp_path / "full.jsonl").read_text().splitlines()]
    assert sorted(line["numbers"]["n"] for line in lines) == list(range(6))


def test_one_repetition_alone(cells, tmp_path):
    first, calls = opened(cells, tmp_path), []
    for fold in range(3):
        first.get(square, fold=fold, side=1)
    first.measure(first.missing(fold=1), calls)
    assert calls == [(1, 1)]
    assert [cell.settings["fold"] for cell in first.missing()] == [0, 2]


def test_no_cell_is_begun_when_time_is_up(cells, tmp_path, capsys):
    first, calls = opened(cells, tmp_path), []
    first.get(square, fold=0, side=1)
    first.measure(first.missing(), calls, minutes=-1)
    assert calls == []
    assert "time is up; 0 of 1 cells are measured" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        (
            "'''Another.'''\nfrom part import LEFT\nimport math\n\ndef f():\n    return LEFT + 1  # a comment\n",
            False,
        ),
        ("'''Docstring.'''\nimport math\nfrom part import LEFT\n\ndef f():\n    return LEFT + 2\n", True),
        ("'''Docstring.'''\nimport math\nfrom part import RIGHT as LEFT\n\ndef f():\n    return LEFT + 1\n", True),
    ],
)
def test_the_digest_of_code_changes_with_what_it_does(digest, tmp_path, change, counts):
    (tmp_path / "part.py").write_text("LEFT = 1\n")
    module = tmp_path / "module.py"
    module.write_text("'''Docstring.'''\nimport math\nfrom part import LEFT\n\ndef f():\n    return LEFT + 1\n")
    before = digest.code_digest(module)
    digest.code_digest.cache_clear()
    module.write_text(change)
    assert (digest.code_digest(module) != before) is counts


def test_the_digest_follows_imports(digest, tmp_path):
    (tmp_path / "part.py").write_text("LEFT = 1\n")
    module = tmp_path / "module.py"
    module.write_text("from typing import TYPE_CHECKING\nfrom part import LEFT\nif TYPE_CHECKING:\n    import typed\n")
    (tmp_path / "typed.py").write_text("A = 1\n")
    before = digest.code_digest(module)
    for name, counts in (("typed", False), ("part", True)):
        digest.code_digest.cache_clear()
        (tmp_path / f"{name}.py").write_text("LEFT = 2\n")
        assert (digest.code_digest(module) != before) is counts
