"""``torchprotect export --engine``."""

import pytest
from support import make_bundle, write_folder
from typer.testing import CliRunner

from torchprotect import data, keys
from torchprotect.cli import app


@pytest.fixture
def arguments(tmp_path):
    write_folder(tmp_path / "in")
    keys.save(make_bundle(), tmp_path / "key")
    return ["export", str(tmp_path / "in"), str(tmp_path / "out"), "--key", str(tmp_path / "key")]


@pytest.mark.parametrize(("options", "gpus"), [([], 0), (["--gpus-per-task", "0.5"], 0.5)])
def test_ray(arguments, monkeypatch, options, gpus):
    made = []

    class Engine(data.engines.LocalEngine):
        def __init__(self, gpus_per_task):
            super().__init__()
            made.append(gpus_per_task)

    monkeypatch.setattr("torchprotect.data.engines.RayEngine", Engine)
    done = CliRunner().invoke(app, [*arguments, "--engine", "ray", *options])
    assert done.exit_code == 0, done.output
    assert made == [gpus]


def test_gpus_go_with_ray(arguments):
    done = CliRunner().invoke(app, [*arguments, "--gpus-per-task", "1"])
    assert done.exit_code == 1
    assert "--gpus-per-task applies to Ray only" in done.output


def test_an_unknown_engine(arguments):
    assert CliRunner().invoke(app, [*arguments, "--engine", "spark"]).exit_code == 2
