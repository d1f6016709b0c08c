"""The example runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import content

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "tutorials" / "4_leaks.py"


def test_audit_an_export(tmp_path):
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "out"), "--images", "160"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    shares = [float(each) for each in re.findall(r"^L\d +([\d.]+)%  \w+: ", printed, re.MULTILINE)]
    assert len(shares) >= 5
    assert max(shares) > 90  # a known pair or a public image is enough
    assert re.search(r"^L1  severe +\w.* \d+ of \d+ .*\(by chance: \d+", printed, re.MULTILINE)
    assert "a bound of 20 % does not hold: leakage at L2 is" in printed
    assert {"report.html", "report.json", "rmt.key"} <= set(content(tmp_path / "out"))


def test_audit_with_your_own_attack(tmp_path):
    example = EXAMPLE.with_name("audit_with_your_own_attack.py")
    command = [sys.executable, str(example), str(tmp_path / "out"), "--images", "120"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Brightness" in done.stdout
    assert "Brightness" in (tmp_path / "out" / "report.html").read_text()
