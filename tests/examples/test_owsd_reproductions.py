"""The reproductions of "One Way Scrambling by Deconvolution" run as they stand."""

import pytest
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
