"""The example runs as it stands."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "audit_with_your_own_attack.py"


def test_audit_with_your_own_attack(tmp_path):
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "out"), "--images", "120"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Brightness" in done.stdout
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Brightness" in page
    assert "<code>attacks." in page
    assert "attacks.brightness" not in page  # it has no function in the package
