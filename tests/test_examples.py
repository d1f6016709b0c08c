"""The examples run as they stand."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support import make_image, png, write_tar

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name, *arguments, cwd, **variables):
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd, env=environment).stdout


def test_train_on_disguised(tmp_path):
    printed = run("train_on_disguised.py", cwd=tmp_path)
    (accuracy,) = re.findall(r"right answers: ([\d.]+)%", printed)
    assert float(accuracy) > 25  # chance is 10
    assert list(tmp_path.iterdir()) == []


def test_encrypt_against_training(tmp_path):
    printed = run("encrypt_against_training.py", cwd=tmp_path, OMP_NUM_THREADS="1")
    plain, perturbed, jpeg = (float(number) for number in re.findall(r"([\d.]+) ?%", printed)[:3])
    assert plain > perturbed + 10
    assert jpeg > perturbed


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


def test_reproductions_of_adversarial_data_encryption(tmp_path):
    """At the scale that only shows that everything runs: every table is written, with ours beside the paper's."""
    arguments = ["--scale", "check", "--out", tmp_path / "out"]
    run("reproduce/adversarial_all.py", *arguments, cwd=tmp_path, OMP_NUM_THREADS="1")  # tiny images: threads only wait
    names = [*(f"table{n}" for n in (1, 2, 3, 5, 7, 8, 9, 10, 12)), "countermeasures"]
    for name in names:
        table = json.loads((tmp_path / "out" / f"{name}.json").read_text())
        assert table["directions"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
        assert all(0 <= cell <= 1000 for row in table["rows"] for cell in row if isinstance(cell, float))
        assert f"**{table['title']}**" in (tmp_path / "out" / f"{name}.md").read_text()
    trials = json.loads((tmp_path / "out" / "table8.json").read_text())["rows"][-1]
    assert trials[1] == 1000  # m^2 x m, as in the paper
    assert (tmp_path / "out" / "adversarial.png").stat().st_size > 10_000


def test_networks_of_the_reproductions(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES / "reproduce"))
    networks = importlib.import_module("_networks")
    for name in ["small-alexnet", *networks.NETWORKS]:
        if name.startswith(("preresnet", "densenet")):
            pytest.importorskip("pytorchcv", reason="the extra `reproduce` is not installed")
        made = networks.make_network(name, 1, 5, (32, 32)).eval()
        assert made(torch.rand(2, 1, 32, 32)).shape == (2, 5)


def test_use_a_cloud_without_showing_images(tmp_path):
    printed = run("use_a_cloud_without_showing_images.py", cwd=tmp_path, OMP_NUM_THREADS="1")
    both, embedding, cloud = (
        float(re.search(rf"{name} +([\d.]+)%", printed).group(1))
        for name in ("embedding and cloud", "embedding only", "cloud only")
    )
    assert both > cloud + 10
    assert embedding > 50
    few, _, many = (float(share) for share in re.findall(r"pairs: ([\d.]+)%", printed))
    assert many >= few > 5
    assert list(tmp_path.iterdir()) == []


def test_reproductions_of_scrambling_run(tmp_path):
    run("reproduce/owsd_all.py", "--scale", "check", "--out", tmp_path / "out", cwd=tmp_path, OMP_NUM_THREADS="1")
    written = {path.stem for path in (tmp_path / "out").glob("owsd_*.json")}
    assert {f"owsd_usecase{number}" for number in range(1, 6)} <= written
    assert {"owsd_table5", "owsd_table6", "owsd_attacks_linking"} <= written
