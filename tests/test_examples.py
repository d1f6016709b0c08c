"""The examples run as they stand."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import make_image, png, write_tar

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, *arguments, cwd):
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd).stdout


def test_train_on_disguised(tmp_path):
    printed = run("train_on_disguised.py", cwd=tmp_path)
    (accuracy,) = re.findall(r"right answers: ([\d.]+)%", printed)
    assert float(accuracy) > 25  # chance is 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_export_cifar10(tmp_path, workers):
    members = {
        f"{n:03d}.{kind}": png(make_image(3, 32, 32, seed=n)) if kind == "png" else b"%d" % (n % 10)
        for n in range(30)
        for kind in ("cls", "png")
    }
    write_tar(tmp_path / "train-0.tar", members)
    printed = run("export_cifar10.py", tmp_path / "train-0.tar", tmp_path / "out", "--workers", workers, cwd=tmp_path)
    assert "30 images" in printed
    assert "verified" in printed
    assert (tmp_path / "out" / "manifest.json").exists()
