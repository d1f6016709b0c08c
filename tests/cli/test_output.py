"""Nothing that a stranger has named reaches a terminal as a command for it."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from support import SHARED_AES, make_bundle, make_image, png, run_export, write_folder, write_tar
from typer.testing import CliRunner

from torchprotect import keys
from torchprotect._json import canonical
from torchprotect.cli import app

FORGED = "x\x1b[2K\rsignatures right\n\u202e"


def call(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    for stream in (result.stdout, result.stderr):
        assert all(character.isprintable() for line in stream.split("\n") for character in line), repr(stream)
        assert not any(line.startswith("signatures right") for line in stream.split("\n"))
    return result


@pytest.fixture
def key(tmp_path):
    keys.save(make_bundle("aes"), tmp_path / "key")
    return tmp_path / "key"


def test_parameters_of_a_key(tmp_path):
    """Names and values: those of a wrapped key are whatever its header says."""
    params = canonical({FORGED: FORGED, "kind": "aes-ecb", "hint": "all is well"}).decode()
    header = {"format": "torchprotect-key", "version": "1", "kind": "wrapped", "params": params}
    save_file({"ciphertext": torch.zeros(1, dtype=torch.uint8)}, tmp_path / "key", header)
    result = call("inspect", tmp_path / "key")
    assert "?[2K?signatures right" in result.stdout
    assert "kind:           key file protected by a passphrase" in result.stdout
    assert "all is well" not in result.stdout


def test_members_of_a_manifest(tmp_path):
    run_export(tmp_path / "out")
    text = (tmp_path / "out" / "manifest.json").read_text()
    (tmp_path / "out" / "manifest.json").write_text(text.replace("obfuscation", "\\u001b[2K\\rsignatures right"))
    assert "?[2K?signatures right" in call("inspect", tmp_path / "out").stdout


def test_foreign_files_in_an_export(tmp_path):
    run_export(tmp_path / "out", SHARED_AES)
    (tmp_path / "out" / FORGED).write_bytes(b"")
    result = call("verify", tmp_path / "out")
    assert result.exit_code == 1
    assert "x?[2K?signatures right?? does not belong here" in result.stderr


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_names_of_unreadable_images(tmp_path, key, on_error):
    root = write_folder(tmp_path / "in", classes=1, each=5)
    (root / "class0" / f"{FORGED}.png").write_bytes(b"broken")
    result = call("export", root, tmp_path / "out", "--key", key, "--on-error", on_error)
    assert "x?[2K?signatures right??.png" in result.stderr
    assert result.exit_code == (on_error == "stop")


def test_names_in_a_tar(tmp_path, key):
    path = write_tar(tmp_path / "x.tar", {f"{FORGED}.cls": b"1", "a.png": png(make_image(1, 16, 16))})
    result = call("export", path, tmp_path / "out", "--key", key)
    assert result.exit_code == 1
    assert "x?[2K?signatures right??" in result.stderr


def test_notes_stand_before_the_summary(tmp_path, key):
    members = {
        f"{n}.{kind}": body for n in range(3) for kind, body in (("png", png(make_image(3, 16, 16))), ("cls", b"1"))
    }
    path = write_tar(tmp_path / "x.tar", {f"0.{FORGED}": b"x", **members})
    result = call("export", path, tmp_path / "out", "--key", key)
    assert result.exit_code == 0, result.output
    assert "note: left out of the source: 1 x .x?[2k?signatures right?? member beside an image" in result.stderr
    assert "note: the key renames 10 classes, the source has 1" in result.stderr


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("verb", ["inspect", "export", "verify"])
def test_endless_files_are_refused_at_once(tmp_path, make, verb):
    make(tmp_path / "endless")
    root = write_folder(tmp_path / "in", classes=1, each=2)
    run_export(tmp_path / "done")
    arguments = {
        "inspect": (tmp_path / "endless",),
        "export": (root, tmp_path / "out", "--key", tmp_path / "endless"),
        "verify": (tmp_path / "done", "--key", tmp_path / "endless"),
    }[verb]
    result = call(verb, *arguments)
    assert result.exit_code == 1
    assert "not a regular file" in result.stderr


def test_an_audit_that_measured_nothing_fails(tmp_path, monkeypatch):
    from torchprotect import audit

    run_export(tmp_path / "out", make_bundle("permutation"))
    monkeypatch.setattr(audit.Report, "measured", lambda self, level: False)
    monkeypatch.setattr(audit, "run", lambda *args, **options: audit.Report((), (), None, {"seconds": 0.0}))
    result = call("audit", tmp_path / "out", "--report", tmp_path / "report.html")
    assert result.exit_code == 1
    assert "no attack on the images was measured at any level" in result.stderr


def test_an_audit_is_given_the_pretrained_network(tmp_path, monkeypatch):
    from torchprotect import audit

    given = {}

    def run(*arguments, **options):
        given.update(options)
        return audit.Report((), (), None, {"seconds": 0.0})

    run_export(tmp_path / "out", make_bundle("permutation"))
    monkeypatch.setattr(audit, "run", run)
    call("audit", tmp_path / "out", "--report", tmp_path / "report.html", "--pretrained", "torch.nn:Identity")
    assert type(given["pretrained"]).__name__ == "Identity"
    assert not given["pretrained"].training
    call("audit", tmp_path / "out", "--report", tmp_path / "report.html")
    assert given["pretrained"] is None


@pytest.mark.slow
def test_closed_output_pipes_exit_quietly(tmp_path):
    run_export(tmp_path / "out")
    command = [sys.executable, "-m", "torchprotect", "inspect", str(tmp_path / "out")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(60)
