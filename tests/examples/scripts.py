"""Runs example scripts as they stand, and checks the tables that reproductions write."""

import json
import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
REPRODUCE = EXAMPLES / "reproduce"


def run(name, *arguments, cwd):
    """Run an example in a process of its own; return what it prints."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # images are tiny: threads would only wait
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd, env=environment).stdout


def reproduce(scheme, out):
    """Run all scripts of a paper at the scale that only shows that everything runs; return the tables by name."""
    run("reproduce/all.py", scheme, "--scale", "check", "--out", out, cwd=out.parent)
    folder = out / scheme / "check"
    tables = read_tables(folder)
    for name, table in tables.items():
        assert table["claims"], name
        assert "not measured" not in {claim["verdict"] for claim in table["claims"]}, name
        assert table["about"]["source"] == "drawn"
        assert f"**{table['title']}**" in (folder / f"{name}.md").read_text()
    return tables


def read_tables(folder):
    """Return the tables in a folder by name; each has as many cells in every row as columns."""
    tables = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    for name, table in tables.items():
        assert all(len(row) == len(table["columns"]) for row in table["rows"]), name
    return tables


def numbers(tables):
    """Return all numbers in the cells of some tables."""
    return [cell for table in tables.values() for row in table["rows"] for cell in row if isinstance(cell, float)]
