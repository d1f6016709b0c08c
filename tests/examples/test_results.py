"""Results in the repository are those of the scripts as they stand, and say where they come from."""

import functools
import importlib
import json
import shlex
import shutil

import pytest
from scripts import REPRODUCE, read_tables, run

RESULTS = sorted((REPRODUCE / "results").glob("*/*.jsonl"))
pytestmark = pytest.mark.skipif(not RESULTS, reason="there are no results in this checkout")


def name_of(path):
    return f"{path.parent.name}-{path.stem}"


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@functools.cache
def digests(scheme):
    """Digest of the code of every measuring function of a scheme, by name."""
    code = importlib.import_module("common.digest")
    modules = [*(REPRODUCE / scheme).glob("*measures.py")]
    names = {path: importlib.import_module(path.stem) for path in modules}
    return {name: code.code_digest(path) for path, module in names.items() for name in vars(module)}


@pytest.mark.parametrize("path", RESULTS, ids=name_of)
def test_no_result_is_older_than_the_code_that_measures_it(path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE))
    monkeypatch.syspath_prepend(str(path.parent.parent.parent / path.parent.name))
    known = digests(path.parent.name)
    stale = {line["kind"] for line in lines_of(path) if line["code"] != known.get(line["kind"])}
    assert not stale, f"measure these again and remove their old lines from {path}"


@pytest.mark.parametrize("path", RESULTS, ids=name_of)
def test_every_number_says_where_it_comes_from(path):
    for line in lines_of(path):
        for name in ("date", "machine", "versions", "command", "sizes", "settings", "code"):
            assert line[name], name
        assert line["seconds"] >= 0  # 0.0: made from files that another number had made
        script, _, arguments = line["command"].partition(" ")
        assert script.startswith("reproduce/")
        assert "/" not in arguments.replace("ROOT/", "")  # no folder's name


@pytest.mark.slow
@pytest.mark.parametrize("path", RESULTS, ids=name_of)
def test_tables_are_those_of_the_numbers(path, tmp_path):
    """The tables are made anew from the numbers alone, without any measurement."""
    scheme, scale = path.parent.name, path.stem
    (tmp_path / scheme).mkdir()
    shutil.copy(path, tmp_path / scheme)
    script, *given = shlex.split(lines_of(path)[-1]["command"])
    options = given[1:] if script == "reproduce/all.py" else given
    run("reproduce/all.py", scheme, *options, "--minutes", 0, "--out", tmp_path, cwd=tmp_path)
    made, kept = read_tables(tmp_path / scheme / scale), read_tables(path.parent / scale)
    assert made == kept


@pytest.mark.parametrize("path", [path for path in RESULTS if path.stem == "full"], ids=name_of)
def test_pages_show_the_results(path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE))
    made = importlib.import_module("page")
    page = (REPRODUCE.parent.parent / "docs" / "results" / f"reproductions-{path.parent.name}.md").read_text()
    assert made.written(page, made.rendered(path.parent / path.stem)) == page
