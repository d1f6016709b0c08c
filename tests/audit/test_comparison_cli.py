"""``torchprotect compare``: killed and continued, refusals, and the list that a user edits."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support import write_folder
from typer.testing import CliRunner

from torchprotect import audit
from torchprotect.attacks import STANDARD_ATTACKS
from torchprotect.cli import app
from torchprotect.demo import SAMPLE


def call(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


@pytest.mark.slow
def test_a_killed_comparison_goes_on(tmp_path):
    """The command is killed after its first setting; run again, it takes that one from the parts."""
    settings = [{"scheme": each, "block_size": [14, 14]} for each in ("block-permute", "rmt")]
    (tmp_path / "mine.json").write_text(json.dumps({"settings": settings}))
    page, parts = tmp_path / "page.html", tmp_path / "page.html.parts"
    options = ["--settings", tmp_path / "mine.json", "--report", page, "--fast", "--limit", "100", "--no-probe"]
    command = [sys.executable, "-m", "torchprotect", "compare", SAMPLE, *map(str, options)]
    process = subprocess.Popen(command, start_new_session=True)
    end = time.monotonic() + 300
    while not list(parts.glob("setting-*.json")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (kept,) = parts.glob("setting-*.json")
    part = json.loads(kept.read_bytes())["part"]
    assert not page.exists()
    done = call(SAMPLE, *options)
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "page.json").read_text())
    assert document["settings"][0] == part
    assert not parts.exists()
    lines = done.stdout.splitlines()
    assert lines[:-1] == [f"{each['question']}: {each['sentence']}" for each in document["advice"]]
    assert lines[-1] == f"{page}: 2 settings, {document['seconds']} s"
    known = {each["attack"] for one in document["settings"] for each in (*one["findings"], *one["not_run"])}
    assert {attack.name for attack in STANDARD_ATTACKS} <= known


def test_the_default_settings_are_printed_as_a_file(tmp_path):
    printed = call(SAMPLE, "--print-settings", "--fast")
    assert printed.exit_code == 0, printed.output
    (tmp_path / "mine.json").write_text(printed.stdout)
    assert audit.read_settings(tmp_path / "mine.json") == audit.default_settings((28, 28), fast=True).settings
    assert all(len(line) < 200 for line in printed.stdout.splitlines())


def test_a_folder_that_is_not_there_is_refused_before_torch_is_imported(tmp_path):
    arguments = ["compare", SAMPLE, "--report", str(tmp_path / "none" / "page.html")]
    program = (
        f"import sys\nfrom torchprotect.cli import app\ntry: app({arguments})\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "False\n"), done.stderr
    assert "page.html into does not exist" in done.stderr


def test_refusals_have_exit_codes(tmp_path):
    assert call(SAMPLE).exit_code == 2
    folder = write_folder(tmp_path / "few")
    page = tmp_path / "page.html"
    for arguments, told in (
        ((folder, "--report", page), "at least 100 images are needed"),
        ((tmp_path / "none", "--report", page), "is neither an image folder"),
        ((SAMPLE, "--report", tmp_path / "page.txt"), "ends in .html"),
        ((SAMPLE, "--report", page, "--labels-from", "none"), "have no labels"),
        ((SAMPLE, "--report", page, "--settings", tmp_path / "none.json"), "No such file"),
        ((SAMPLE, "--report", page, "--resize", "29x31"), "cannot be cut into blocks"),
        ((SAMPLE, "--report", page, "--device", "nowhere"), "cannot be used here"),
    ):
        done = call(*arguments)
        assert (done.exit_code, told in done.output) == (1, True), (arguments, done.output)
    assert not page.exists()
    assert not list(tmp_path.glob("*.parts"))
