"""A few hundred cases of the fuzzer, in a process of its own for its limits; `python tests/fuzz.py` runs more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_mutated_files_raise_protect_errors_only(tmp_path):
    fuzz = Path(__file__).with_name("fuzz.py")
    command = [sys.executable, str(fuzz), "--mutations", "400", "--seed", "7", "--keep", str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "400 mutations, 0 failures" in done.stdout
