"""The command line, called in an empty folder."""

import pytest
from typer.testing import CliRunner

from torchprotect.cli import app


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Return a function that runs a command in a temporary folder and checks its exit code."""
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_ACTIONS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")

    def call(line, code=0):
        result = CliRunner().invoke(app, line.split())
        assert result.exit_code == code, result.output
        return result

    return call
