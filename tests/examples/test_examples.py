"""The examples run as they stand."""

import re

import pytest
from scripts import run
from support import make_image, png, write_tar


@pytest.mark.slow
def test_encrypt_against_training(tmp_path):
    printed = run("encrypt_against_training.py", cwd=tmp_path)
    plain, perturbed, jpeg = (float(number) for number in re.findall(r"([\d.]+) ?%", printed)[:3])
    assert plain > perturbed + 10
    assert jpeg > perturbed


@pytest.mark.slow
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


@pytest.mark.slow
def test_export_on_a_cluster(tmp_path):
    pytest.importorskip("cloudpickle")
    printed = run("export_on_a_cluster.py", tmp_path / "out", cwd=tmp_path)
    assert "the same bytes in both: True" in printed


@pytest.mark.slow
def test_seal_an_export(tmp_path):
    printed = run("seal_an_export.py", tmp_path / "out", cwd=tmp_path)
    (accuracy,) = re.findall(r"(\d+)% right", printed)
    assert float(accuracy) > 40  # chance is 10
    assert "but not with the signer" in printed


@pytest.mark.slow
def test_export_the_owner_program(tmp_path):
    printed = run("export_the_owner_program.py", tmp_path / "out", cwd=tmp_path)
    (accuracy,) = re.findall(r"([\d.]+)% right answers", printed)
    assert float(accuracy) > 40  # chance is 10
    assert len(re.findall(r"the same scores.*: True", printed)) == 2
    assert "both files contain the key, readable: True" in printed
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (tmp_path / "out").iterdir())
