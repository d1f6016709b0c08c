"""Tables of the reproductions: what is shown, and when a claim holds."""

import importlib

import pytest
from scripts import REPRODUCE

NAN = float("nan")


@pytest.fixture
def made(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE))
    table = importlib.import_module("common.table").Table("Title", ["set", "ours", "paper"])
    table.row("mnist", 1.234, None)
    table.row("fashion-mnist", NAN, "about 2")
    return table


def test_rows(made):
    lines = made.markdown().splitlines()
    assert lines[4:6] == ["| mnist | 1.23 | - |", "| fashion-mnist | not run | about 2 |"]


@pytest.mark.parametrize(
    ("margins", "verdict", "by"),
    [
        ([1.0, 2.0, 3.0], "holds", "2.0 ± 1.0, 3 of 3"),
        ([-1.0, -2.0, -3.0], "does not hold", "-2.0 ± 1.0, 0 of 3"),
        ([1.0, -2.0, 3.0], "undecided", "0.7 ± 2.5, 2 of 3"),
        ([4.0], "holds", "4.0"),
        ([0.0], "does not hold", "0.0"),
        ([1.0, NAN, NAN], "incomplete", "1.0, 1 of 1; 3 are planned"),
        ([1.0, NAN, 3.0], "incomplete", "2.0 ± 1.4, 2 of 2; 3 are planned"),
        ([NAN, NAN], "not measured", ""),
        ([], "not measured", ""),
    ],
)
def test_a_claim_holds_if_every_repetition_agrees(made, margins, verdict, by):
    made.claim("A is above B", margins, ours=margins, paper="5", reason="Because.")
    claim = made.claims[0]
    assert (claim.verdict, claim.by) == (verdict, by)
    assert ("Because." in str(claim)) is (verdict in ("does not hold", "undecided"))
