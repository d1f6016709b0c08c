"""The reproductions of "Adversarial Data Encryption" run as they stand."""

import importlib

import pytest
import torch
from scripts import REPRODUCE, numbers, reproduce, run

TABLES = {*(f"table{number}" for number in (1, 2, 3, 5, 7, 8, 9, 10, 12)), "countermeasures"}


@pytest.mark.slow
def test_every_table_is_written(tmp_path):
    tables = reproduce("adversarial", tmp_path / "out")
    assert tables.keys() == TABLES
    assert all(0 <= number <= 1000 for number in numbers(tables))
    assert tables["table8"]["rows"][-1][1] == 1000  # m^2 x m trials, as in the paper
    run("reproduce/adversarial/pictures.py", "--scale", "check", "--out", tmp_path / "out", cwd=tmp_path)
    assert (tmp_path / "out" / "adversarial" / "check" / "adversarial.png").stat().st_size > 10_000


@pytest.mark.slow
def test_networks(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE))
    networks = importlib.import_module("common.networks")
    for name in ["small-alexnet", *networks.NETWORKS]:
        if name.startswith(("preresnet", "densenet100")):
            pytest.importorskip("pytorchcv", reason="the extra `reproduce` is not installed")
        network = networks.make_network(name, 1, 5, (32, 32)).eval()
        assert network(torch.rand(2, 1, 32, 32)).shape == (2, 5)
