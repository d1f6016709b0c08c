import sys

import pytest

from torchprotect.demo import SAMPLE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the empty folder that a page runs in. Modules that it writes there are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "argv", ["page"])
    monkeypatch.setenv("SOURCE", SAMPLE)  # the shell variable of docs/reference/command-line.md
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
