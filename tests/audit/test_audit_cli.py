import json
import os
import pty
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save_file, save_model
from support import content, start_interruptible
from typer.testing import CliRunner

from torchprotect import data, keys, transforms
from torchprotect.cli import app
from torchprotect.demo import SAMPLE

pytestmark = pytest.mark.slow

FEW = ("--fast", "--limit", 40)
TWO = ("--attack", "linkage_attack", "--attack", "regression_attack")
"""One of L1 and one of L2."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The bundled sample under RMT, and its key behind a passphrase."""
    folder = tmp_path_factory.mktemp("audit")
    size = {"image_size": (28, 28), "block_size": (14, 14)}
    key = keys.KeyBundle(keys.RMTKey.generate(**size), None, keys.LabelKey.generate(classes=10))
    keys.save(key, folder / "key", "sesame")
    keys.save(key, folder / "bare")
    (folder / "pass").write_text("sesame\n")
    options = ["--key", folder / "bare"]
    assert call("export", SAMPLE, folder / "out", *options).exit_code == 0
    return folder


def call(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments])


def audit(folder, report, *arguments):
    with_key = ["--plain", SAMPLE, "--key", folder / "key", "--passphrase-file", folder / "pass"]
    return call("audit", folder / "out", *with_key, "--report", report, *FEW, *arguments)


def test_a_report_and_a_short_table(exported, tmp_path):
    done = audit(exported, tmp_path / "report.html")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line[:2] for line in lines[:5]] == ["L0", "L1", "L2", "L3", "L4"]
    assert re.fullmatch(r"L2  severe +\w.* \d+ of (\d+|them) .*\(by chance: .*", lines[2])
    assert lines[3] == "L3  not measured      no attack of this level was measured"
    counts = r"\(\d+ not applicable, \d+ not part of the audit\)"
    assert re.fullmatch(rf".*report\.html: \d+ attacks and 2 scans ran, \d+ did not {counts}, [\d.]+ s", lines[5])
    assert len(lines) == 6
    document = json.loads((tmp_path / "report.json").read_text())
    assert document["data"]["images"] == 40
    assert lines[2].endswith(document["verdict"]["levels"]["L2"]["brief"])
    assert sorted(content(tmp_path)) == ["report.html", "report.json"]


def test_attacks_are_chosen_by_name_or_title(exported, tmp_path):
    chosen = ["--attack", "linkage_attack", "--attack", "duplicates", "--attack", "Linkage"]
    done = audit(exported, tmp_path / "report.html", *chosen)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "report.json").read_text())
    assert [each["attack"] for each in found["findings"]] == ["linkage_attack", "duplicate_statistics"]
    assert done.stdout.startswith("Only the requested attacks ran (1 attack and 1 scan): it is unknown what ")
    assert found["verdict"]["warning"] == done.stdout.splitlines()[0]
    refused = audit(exported, tmp_path / "other.html", "--attack", "brute_force")
    assert refused.exit_code == 1
    assert (
        "--attack takes the name or title of an attack, got 'brute_force'; there are: duplicate_statistics,"
        in refused.stderr
    )


def test_exit_codes_of_max_leakage(exported, tmp_path):
    allowed = audit(exported, tmp_path / "a.html", *TWO, "--max-leakage", "L2=1", "--max-leakage", "L1=1")
    assert allowed.exit_code == 0
    exceeded = audit(exported, tmp_path / "b.html", *TWO, "--max-leakage", "L2=0.01", "--max-leakage", "L1=1")
    assert exceeded.exit_code == 3
    assert re.fullmatch(r"leakage at L2 is [\d.]+%, at most 1\.0% is allowed\n", exceeded.stderr)
    unknown = audit(exported, tmp_path / "c.html", *TWO, "--max-leakage", "L3=1")
    assert unknown.exit_code == 1
    assert "no attack was measured at L3" in unknown.stderr
    for path in "abc":
        assert (tmp_path / f"{path}.html").exists()


def test_an_audit_that_measured_nothing_is_an_error(exported, tmp_path):
    done = call("audit", exported / "out", "--report", tmp_path / "report.html", *FEW)
    assert done.exit_code == 1
    assert done.stderr == (
        "error: no attack on the images was measured at any level: give the plain images (--plain); the report says "
        "why\n"
    )
    assert re.match(r"L0  key partly read .*: rows of the matrices, \d+ of 56 ", done.stdout)
    assert len(re.findall(r"^L\d  not measured", done.stdout, re.MULTILINE)) == 4
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("bound", ["L2", "L2=", "L2=x", "L2=1.5", "L9=0.5", "=1", "L2=nan"])
def test_bounds_that_cannot_be(exported, tmp_path, bound):
    done = audit(exported, tmp_path / "report.html", "--max-leakage", bound)
    assert done.exit_code == 1
    assert done.stderr.startswith("error: ")
    assert list(tmp_path.iterdir()) == []


def test_errors_are_one_line_and_code_1(exported, tmp_path):
    for arguments, message in (
        (["--plain", tmp_path / "no"], "neither an image folder"),
        (["--key", exported / "pass"], "not a torchprotect key file"),
        (["--plain", SAMPLE, "--key", exported / "key"], "passphrase"),
        (["--device", "nowhere"], "nowhere"),
    ):
        done = call("audit", exported / "out", "--report", tmp_path / "report.html", *FEW, *arguments)
        assert done.exit_code == 1, (arguments, done.output)
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert "not a finished export" in call("audit", tmp_path / "no", "--report", tmp_path / "x.html").stderr
    assert "not a finished export" in call("audit", tmp_path, "--report", tmp_path / "x.html").stderr


@pytest.mark.parametrize("name", ["manifest.html", "report.html"])
def test_a_report_inside_the_export(exported, name):
    before = content(exported / "out")
    done = audit(exported, exported / "out" / name)
    assert done.exit_code == 1
    assert "lies inside the export" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert content(exported / "out") == before
    assert call("verify", exported / "out").exit_code == 0


def test_a_missing_folder_is_reported_before_anything_is_read(tmp_path):
    done = call("audit", tmp_path / "no", "--report", tmp_path / "none" / "x.html", "--key", tmp_path / "no.key")
    assert done.exit_code == 1
    assert done.stderr.endswith("none/x.html into does not exist\n")


def test_help_and_no_pictures(exported, tmp_path):
    assert "--max-leakage" in call("audit", "--help").output
    assert audit(exported, tmp_path / "report.html", *TWO, "--no-pictures").exit_code == 0
    assert "image/png" not in (tmp_path / "report.html").read_text()


def command(folder, report, *options):
    names = ["--plain", SAMPLE, "--key", folder / "bare", "--report", report, *FEW, *options]
    return [sys.executable, "-m", "torchprotect", "audit", *map(str, [folder / "out", *names])]


ENCODER = """
from torch import nn

def make():
    layers = nn.Sequential(nn.Conv2d(1, 4, 7, stride=7), nn.ReLU(), nn.Dropout(0.9), nn.Flatten())
    return layers.requires_grad_(False)

def known():
    found = make()
    for weight in found.parameters():
        weight.copy_(weight.sign())
    return found

def nothing(): return 3
def broken(): raise KeyError("width")
"""


@pytest.fixture(scope="module")
def scrambled(tmp_path_factory):
    """The bundled sample, scrambled; its key; a package with the encoder's factory, and its weights."""
    folder = tmp_path_factory.mktemp("scrambled")
    (folder / "audited_nets.py").write_text(ENCODER)
    sys.path.insert(0, str(folder))
    import audited_nets

    torch.manual_seed(0)
    encoder, key = audited_nets.make().eval(), keys.OWSDKey.generate(embedding_size=64, image_size=(16, 16), width=8)
    save_model(encoder, str(folder / "weights"))
    save_file({"0.bias": torch.zeros(4)}, folder / "few")
    keys.save(key, folder / "key")
    transform = transforms.OWSDScramble(encoder, key)
    data.export(data.open_source(str(SAMPLE)), folder / "out", transform=transform, key=key)
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("audited_nets")


def audit_scrambled(folder, report, *arguments):
    return call(
        "audit", folder / "out", "--plain", SAMPLE, "--key", folder / "key", "--report", report, *FEW, *arguments
    )


def test_with_the_encoder(scrambled, tmp_path):
    named = ["--model", "audited_nets:make", "--weights", scrambled / "weights"]
    done = audit_scrambled(scrambled, tmp_path / "report.html", *named)
    assert done.exit_code == 0, done.output
    assert "Ridge re-identification, with the encoder" in (tmp_path / "report.html").read_text()
    found = {each["attack"]: each for each in json.loads((tmp_path / "report.json").read_text())["findings"]}
    rows = [found[f"{name} (embeddings)"] for name in ("ridge_reidentification", "distance_correlation")]
    assert [row["level"] for row in rows] == ["L2", "L0"]
    assert rows[0]["value"] != found["ridge_reidentification"]["value"]
    own = audit_scrambled(scrambled, tmp_path / "own.html", "--model", "audited_nets:known")
    assert own.exit_code == 0, own.output
    others = {each["attack"]: each for each in json.loads((tmp_path / "own.json").read_text())["findings"]}
    assert others["distance_correlation"]["value"] == found["distance_correlation"]["value"]
    assert others["distance_correlation (embeddings)"]["value"] != rows[1]["value"]


def test_without_the_encoder(scrambled, tmp_path):
    assert audit_scrambled(scrambled, tmp_path / "report.html").exit_code == 0
    told = {each["attack"]: each for each in json.loads((tmp_path / "report.json").read_text())["not_run"]}
    assert "--model package.module:factory" in told["ridge_reidentification (embeddings)"]["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "weights"], "--weights belong to a network: name it with --model"),
        (["--model", "audited_nets", "--weights", "weights"], "package.module:factory, got 'audited_nets'"),
        (["--model", "audited_nets:none"], "has no function none"),
        (["--model", "audited_nets:nothing"], "must return a torch.nn.Module, got int"),
        (["--model", "audited_nets:broken"], "audited_nets:broken failed: KeyError: 'width'"),
        (["--model", "audited_nets:make", "--weights", "few"], "do not match the model: missing 0.weight"),
        (["--model", "audited_nets:make", "--weights", "audited_nets.py"], "is not a safetensors file"),
        (["--model", "audited_nets:make", "--weights", "nowhere"], "there are no weights at"),
        (["--model", "audited_nets:make", "--device", "warp"], "cannot use device 'warp'"),
    ],
)
def test_encoders_that_cannot_be_loaded(scrambled, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(scrambled)
    done = audit_scrambled(scrambled, tmp_path / "report.html", *arguments)
    assert done.exit_code == 1
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_for_another_disguise(exported, scrambled, tmp_path):
    done = audit(exported, tmp_path / "report.html", "--model", "audited_nets:make")
    assert done.exit_code == 1
    assert "belongs to OWSDScramble, but these images went through RMTDisguise" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_with_130_and_the_audit_goes_on(exported, tmp_path):
    report, parts = tmp_path / "report.html", tmp_path / "report.html.parts"
    process = start_interruptible(command(exported, report), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(parts.glob("*.json")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted; run the same command again to continue"
    assert "Traceback" not in stderr
    assert not report.exists()
    assert list(parts.glob("*.json"))
    subprocess.run(command(exported, report), check=True, capture_output=True)
    assert sorted(content(tmp_path)) == ["report.html", "report.json"]


def test_a_terminal_sees_a_bar_and_a_pipe_does_not(exported, tmp_path):
    quiet = subprocess.run(command(exported, tmp_path / "a.html", *TWO), capture_output=True, text=True, check=True)
    assert quiet.stderr == ""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    loud = command(exported, tmp_path / "b.html", *TWO)
    process = subprocess.Popen(loud, stderr=follower, stdout=subprocess.PIPE, env=environment)
    os.close(follower)
    drawn = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
    os.close(leader)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert b"Regression" in drawn
    assert re.search(rb"\d+/\d+", drawn)
