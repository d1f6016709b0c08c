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
from safetensors.torch import save_file
from support import content, start_interruptible, write_folder
from typer.testing import CliRunner

from torchprotect import data, keys
from torchprotect.cli import app

VERBS = ["keygen", "inspect", "export", "verify", "index", "audit", "demo"]


def call(*arguments, code=0, stdin=None):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def source(tmp_path):
    return write_folder(tmp_path / "in", classes=2, each=5)


@pytest.fixture
def key(tmp_path):
    call(
        "keygen",
        "aes-ecb",
        "-o",
        tmp_path / "key",
        "--image-size",
        "16x16",
        "--block-size",
        "4x4",
        "--permute",
        "--labels",
        2,
    )
    return tmp_path / "key"


def test_from_images_to_verified_shards(tmp_path, source, key):
    done = call("export", source, tmp_path / "out", "--key", key, "--shard-size", 4, "--workers", 2)
    assert re.fullmatch(
        r".*out: 10 images in 3 shards, 0\.1 MB, 0 skipped, [\d.]+ s; digest [0-9a-f]{64}\n", done.stdout
    )
    assert "manifest was checked by its HMAC" in call("verify", tmp_path / "out", "--key", key).stdout
    assert "not checked" in call("verify", tmp_path / "out").stdout
    assert len(list(data.read(tmp_path / "out"))) == 10
    again = call("export", source, tmp_path / "out", "--key", key, "--shard-size", 4)
    assert "10 images in 3 shards" in again.stdout


@pytest.mark.parametrize(
    ("scheme", "options", "kind"),
    [
        ("block-permute", [], keys.PermutationKey),
        ("aes-ecb", ["--bits", 256, "--channels", 3], keys.AESKey),
        ("rmt", ["--matrix", "uniform", "--channels", 3, "--side", "left"], keys.RMTKey),
        ("rmt", ["--permute"], keys.KeyBundle),
        ("aes-ecb", ["--shared"], keys.AESKey),
        ("rmt", ["--shared", "--matrix", "gaussian"], keys.RMTKey),
        ("block-permute", ["--labels", 5], keys.KeyBundle),
    ],
)
def test_keygen(tmp_path, scheme, options, kind):
    done = call("keygen", scheme, "-o", tmp_path / "key", "--image-size", "16x16", "--block-size", "4x4", *options)
    key = keys.load(tmp_path / "key")
    assert type(key) is kind
    assert repr(key) in done.stdout
    for name, value in (("bits", 256), ("matrix", "uniform"), ("side", "left")):
        if value in options:
            assert getattr(key, name) == value
    assert getattr(key, "shared", False) == ("--shared" in options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["aes-ecb", "--matrix", "uniform"], "takes no --matrix"),
        (["rmt", "--bits", "128"], "takes no --bits"),
        (["block-permute", "--channels", "3"], "takes no --channels"),
        (["owsd"], "owsd"),
        (["block-permute", "--shared"], "block-permute takes no --shared"),
        (["owsd", "--shared"], "takes no --block-size, --shared"),
    ],
)
def test_keygen_usage_errors(tmp_path, arguments, message):
    done = call("keygen", *arguments, "-o", tmp_path / "key", "--image-size", "16x16", "--block-size", "4x4", code=2)
    assert message in done.output
    assert not (tmp_path / "key").exists()


def test_sizes(tmp_path):
    assert (
        "16by16"
        in call("keygen", "rmt", "-o", tmp_path / "k", "--image-size", "16by16", "--block-size", "4x4", code=2).output
    )
    failed = call("keygen", "rmt", "-o", tmp_path / "k", "--image-size", "28x28", "--block-size", "5x4", code=1)
    assert "heights that do: [1, 2, 4, 7, 14, 28]" in failed.stderr


def test_a_key_is_never_overwritten(key):
    before = key.read_bytes()
    failed = call("keygen", "rmt", "-o", key, "--image-size", "16x16", "--block-size", "4x4", code=1)
    assert "never overwritten" in failed.stderr
    assert key.read_bytes() == before


@pytest.mark.slow
def test_passphrases(tmp_path, source):
    (tmp_path / "pass").write_text("sesame\nsecond line\n")
    sizes = ["--image-size", "16x16", "--block-size", "4x4"]
    call("keygen", "rmt", "-o", tmp_path / "key", *sizes, "--passphrase-file", tmp_path / "pass")
    assert keys.load(tmp_path / "key", "sesame").kind == "rmt"
    done = call("export", source, tmp_path / "out", "--key", tmp_path / "key", "--passphrase-file", tmp_path / "pass")
    assert "10 images" in done.stdout
    assert (
        "protected by a passphrase"
        in call("export", source, tmp_path / "out2", "--key", tmp_path / "key", code=1).stderr
    )
    (tmp_path / "wrong").write_text("open")
    for verb in (["verify", tmp_path / "out", "--key"], ["inspect"]):
        failed = call(*verb, tmp_path / "key", "--passphrase-file", tmp_path / "wrong", code=1)
        assert "does not open this key file" in failed.stderr
        assert "open\n" not in failed.stderr
    assert "protected by a passphrase" in call("inspect", tmp_path / "key").stdout
    assert "orthogonal" in call("inspect", tmp_path / "key", "--passphrase-file", tmp_path / "pass").stdout
    call("keygen", "rmt", "-o", tmp_path / "asked", *sizes, "--passphrase", stdin="sesame\nsesame\n")
    assert keys.load(tmp_path / "asked", "sesame").kind == "rmt"
    call("keygen", "rmt", "-o", tmp_path / "x", *sizes, "--passphrase", "--passphrase-file", tmp_path / "pass", code=2)


def test_inspect(tmp_path, source, key):
    shown = call("inspect", key).stdout
    assert keys.load(key).fingerprint in shown
    secret = bytes(keys.load(key).root.tolist()).hex()
    assert secret not in shown
    call("export", source, tmp_path / "out", "--key", key)
    shown = call("inspect", tmp_path / "out").stdout
    assert "AESECBDisguise" in shown
    assert re.search(r"images: +10\n", shown)
    (tmp_path / "out" / "manifest.json").unlink()
    assert "unfinished: 1 shards of 1000 images so far, 10 images in all" in call("inspect", tmp_path / "out").stdout
    assert "not a torchprotect key file" in call("inspect", source / "class0" / "0.png", code=1).stderr


@pytest.mark.parametrize("options", [[], ["--permute"]])
def test_inspect_tells_of_a_shared_secret(tmp_path, source, key, options):
    sizes = ("--image-size", "16x16", "--block-size", "4x4")
    call("keygen", "aes-ecb", "-o", tmp_path / "one", *sizes, "--shared", *options)
    assert re.search(r"shared: +one secret for all positions\n", call("inspect", tmp_path / "one").stdout)
    assert "shared" not in call("inspect", key).stdout
    for name, each in (("one", tmp_path / "one"), ("own", key)):
        call("export", source, tmp_path / f"{name}-out", "--key", each)
        assert ('"shared": true' in call("inspect", tmp_path / f"{name}-out").stdout) == (name == "one")


def test_export_options_reach_the_plan(tmp_path, source):
    sizes = ["--image-size", "16x16", "--block-size", "4x4"]
    call("keygen", "rmt", "-o", tmp_path / "key", *sizes)
    call("export", source, tmp_path / "out", "--key", tmp_path / "key", "--noise", 12, "--salt-pepper", 0.02)
    steps = json.loads((tmp_path / "out/plan.json").read_text())["transform"]
    assert [(steps[0]["amount"]), steps[1]["noise"]] == [0.02, 12.0]
    failed = call("export", source, tmp_path / "out3", "--key", tmp_path / "key", "--unit-pixels", 2, code=1)
    assert "RMTDisguise does not take these options: unit_pixels" in failed.stderr


def test_skipped_images_are_listed(tmp_path, source, key):
    (source / "class1" / "2.png").write_bytes(b"")
    failed = call("export", source, tmp_path / "out", "--key", key, code=1)
    assert "class1/2.png" in failed.stderr
    done = call("export", source, tmp_path / "out", "--key", key, "--on-error", "skip")
    assert "skipped: class1/2.png" in done.stderr
    assert "9 images in 1 shard," in done.stdout
    assert "1 skipped" in done.stdout


def test_verify_fails_with_code_1(tmp_path, source, key):
    call("export", source, tmp_path / "out", "--key", key)
    (tmp_path / "out" / "shard-000000.tar").write_bytes(b"")
    assert "shard-000000.tar was changed" in call("verify", tmp_path / "out", code=1).stderr
    assert "nowhere is not a finished export" in call("verify", tmp_path / "nowhere", code=1).stderr


def test_version():
    from torchprotect._version import __version__

    assert call("--version").stdout.strip() == __version__


@pytest.mark.parametrize("verb", VERBS)
def test_help(verb):
    shown = call(verb, "--help").output
    assert "Usage" in shown
    assert len(shown.splitlines()) > 8


@pytest.mark.slow
def test_errors_show_no_traceback_and_no_secret(tmp_path, key):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "torchprotect",
            "export",
            str(tmp_path / "nothing"),
            str(tmp_path / "out"),
            "--key",
            str(key),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_progress_bar_only_on_terminals(tmp_path, source, key):
    command = [sys.executable, "-m", "torchprotect", "export", str(source), str(tmp_path / "a"), "--key", str(key)]
    piped = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert all(line.startswith(("note: ", "2 classes: ")) for line in piped.splitlines())
    command[5] = str(tmp_path / "b")
    leader, follower = pty.openpty()
    process = subprocess.Popen(command, stderr=follower, stdout=subprocess.PIPE, env={**os.environ, "TERM": "xterm"})
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
    summary = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert b"exporting" in drawn
    assert b"10/10" in drawn
    assert summary.count(b"\n") == 1
    assert content(tmp_path / "a") == content(tmp_path / "b")


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_the_export_resumes(tmp_path):
    """Ctrl-C reaches the whole process group, as a terminal sends it."""
    key = keys.PermutationKey.generate(image_size=(28, 28), block_size=(4, 4))
    keys.save(key, tmp_path / "key")
    from torchprotect.demo import SAMPLE

    command = [
        sys.executable,
        "-m",
        "torchprotect",
        "export",
        SAMPLE,
        str(tmp_path / "out"),
        "--key",
        str(tmp_path / "key"),
    ]
    command += ["--shard-size", "4", "--workers", "2"]
    process = start_interruptible(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "shard-000003.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted; run the same command again to continue"
    assert "Traceback" not in stderr
    assert 0 < len(list((tmp_path / "out").glob("*.tar"))) < 500
    call(*command[3:])
    assert data.verify(tmp_path / "out", key).images == 2000


def test_keygen_owsd(tmp_path):
    out, public = tmp_path / "my.key", tmp_path / "public.safetensors"
    save_file({"embeddings": torch.rand(8, 20, generator=torch.Generator().manual_seed(0))}, public)
    call("keygen", "owsd", "-o", out, "--image-size", "16x16", "--embeddings", public)
    key = keys.load(out)
    assert (type(key), key.embedding_size, key.image_size) == (keys.OWSDKey, 20, (16, 16))
    assert "owsd" in call("inspect", out).stdout
    small = ("--image-size", "16x16")
    for options in (["--block-size", "4x4"], ["--labels", "10"], ["--embeddings", tmp_path / "none"]):
        call("keygen", "owsd", "-o", tmp_path / "other", *small, *options, code=2)
    call("keygen", "owsd", "-o", tmp_path / "other", *small, "--embeddings", public, "--embedding-size", 21, code=1)
    save_file({"a": torch.zeros(3), "b": torch.zeros(3)}, public)
    call("keygen", "owsd", "-o", tmp_path / "other", *small, "--embeddings", public, code=2)
    assert not (tmp_path / "other").exists()
