"""Sealed and signed exports on the command line."""

import re

import pytest
from support import content, make_bundle, write_folder

pytest.importorskip("pyrage")

from torchprotect import keys


@pytest.fixture
def recipients(call, tmp_path):
    write_folder(tmp_path / "photos")
    keys.save(make_bundle(), tmp_path / "my.key")
    (tmp_path / "passphrase").write_text("correct horse battery staple\n")
    made = {}
    for name in ("alice", "bob"):
        made[name] = call(f"keygen identity -o {name}").stdout.strip()
    return made


@pytest.fixture
def sealed(call, recipients):
    return call(f"export photos sealed --key my.key --shard-size 5 --recipient {recipients['alice']}")


def test_keygen(call, tmp_path):
    done = call("keygen identity -o alice")
    assert re.fullmatch(r"age1[0-9a-z]{58}\n", done.stdout)
    assert "wrote alice: an identity" in done.stderr
    assert "AGE-SECRET" not in done.output
    done = call("keygen signing -o release")
    assert done.stdout == "wrote release: a signing key, and release.pub: its public key, for --signer\n"
    for kind in ("identity", "signing"):
        assert "takes no --block-size, --labels" in call(f"keygen {kind} -o x --labels 3 --block-size 4x4", 2).output
        assert "takes no --passphrase" in call(f"keygen {kind} -o x --passphrase", 2).output
        assert "never overwritten" in call(f"keygen {kind} -o alice", 1).output


def test_from_owner_to_recipient(call, sealed, tmp_path):
    digest = re.search(r"0 skipped, sealed, [0-9.]+ s; digest ([0-9a-f]{64})\n", sealed.stdout)[1]
    call("export photos open --key my.key --shard-size 5")
    done = call(f"open sealed opened --identity alice --expect {digest}")
    assert re.fullmatch(r"opened: 12 images in 3 shards, 0\.1 MB, [0-9.]+ s; digest [0-9a-f]{64}\n", done.stdout)
    assert "the copy is not encrypted" in done.stderr
    assert content(tmp_path / "opened") == content(tmp_path / "open")
    call("open sealed by-owner --key my.key")
    assert content(tmp_path / "by-owner") == content(tmp_path / "open")
    assert "bob cannot open the export" in call("open sealed by-bob --identity bob", 1).stderr
    assert not (tmp_path / "by-bob").exists()
    assert "give --identity FILE" in call("open sealed x", 2).output
    assert "is not an empty folder" in call("open sealed opened --identity alice", 1).stderr


def test_passphrases(call, recipients):
    call("export photos sealed --key my.key --seal-passphrase-file passphrase")
    call("open sealed opened --open-passphrase-file passphrase")
    assert "data key" in call("verify sealed --open-passphrase-file passphrase").stdout
    assert "was sealed with a passphrase alone" in call("verify sealed --identity alice", 1).stderr
    call("keygen identity -o wrong")
    assert "open-passphrase-file" in call("verify sealed --passphrase-file passphrase", 2).output
    assert "the passphrase is wrong" in call("verify sealed --open-passphrase-file wrong", 1).stderr


@pytest.mark.parametrize(
    ("options", "checked"),
    [
        ("", "the manifest itself was not checked (give --key, --identity, --signer or --expect)"),
        (
            "--identity alice",
            "the manifest was checked by its MAC under the data key, which does not tell who made it (--signer, "
            "--expect)",
        ),
        (
            "--key my.key",
            "the manifest was checked by its MAC under the data key and its HMAC under the key that made it",
        ),
        ("--signer release.pub", "the manifest was checked by the signature"),
    ],
)
def test_verify(call, recipients, options, checked):
    call("keygen signing -o release")
    call(f"export photos sealed --key my.key --recipient {recipients['alice']} --sign release")
    assert call(f"verify sealed {options}").stdout.endswith(f"all match the manifest; {checked}\n")


def test_verify_stops(call, sealed):
    call("keygen signing -o release")
    assert "is not signed" in call("verify sealed --signer release.pub", 1).stderr
    assert "this is another export, or another state of it" in call(f"verify sealed --expect {'0' * 64}", 1).stderr
    assert "is not the public key" in call("verify sealed --signer release", 1).stderr


def test_seal_again(call, sealed, recipients, tmp_path):
    done = call(f"seal sealed second --key my.key --recipient {recipients['bob']}")
    assert re.match(r"second: 12 images in 3 shards, 0\.1 MB, sealed, [0-9.]+ s; digest [0-9a-f]{64}\n", done.stdout)
    call("open second opened --identity bob")
    assert "alice cannot open" in call("open second x --identity alice", 1).stderr
    assert "give --recipient KEY" in call("seal sealed third --key my.key", 2).output
    refused = call(f"seal second third --key my.key --recipient {recipients['bob']} --generation 2", 1).stderr
    assert "is of generation 2: the new export needs a higher one" in refused
    call(f"seal second third --key my.key --recipient {recipients['bob']} --generation 9")
    assert '"generation": 9' in (tmp_path / "third" / "plan.json").read_text()


def test_recipients(call, sealed, recipients):
    assert call("recipients sealed").stdout.startswith("sealed: 1 recipient (1 by X25519); ")
    bob = recipients["bob"]
    assert call(f"recipients sealed --add {bob} --identity alice").stdout.startswith(
        "sealed: 2 recipients (2 by X25519); "
    )
    done = call(f"recipients sealed --set {bob} --seal-passphrase-file passphrase --key my.key")
    assert done.stdout.startswith("sealed: 2 recipients (1 by X25519, 1 by scrypt); ")
    assert "whoever could open the export before keeps the data key" in done.stderr
    assert "alice cannot open" in call("verify sealed --identity alice", 1).stderr
    for line in (f"--add --set {bob} --key my.key", "--add --key my.key", f"{bob} --key my.key", f"--add {bob}"):
        call(f"recipients sealed {line}", 2)
    assert "has no envelope" in call("recipients photos", 1).stderr


def test_other_commands(call, sealed):
    shown = call("inspect sealed").stdout
    assert "finished, sealed" in shown
    assert "finished, sealed; opened" in call("inspect sealed --identity alice").stdout
    assert call("status sealed").stdout == "sealed: finished, 12 images in 3 shards\n"
    assert "make an open copy with `torchprotect open`" in call("index sealed --wids w.json", 1).stderr
    assert "is sealed: give identity" in call("audit sealed --report r.html", 1).stderr
    assert (
        "another plan: it is sealed, but no recipients were given"
        in call("export photos sealed --key my.key --shard-size 5", 1).stderr
    )


def test_options_that_do_not_fit(call, recipients, tmp_path):
    assert "--generation applies to sealed exports" in call("export photos x --key my.key --generation 2", 1).stderr
    assert "is not a public key" in call("export photos x --key my.key --recipient age1abc", 1).stderr
    assert "a secret one was given" in call("export photos x --key my.key --recipients-file alice", 1).stderr
    call("export photos x --key my.key --recipients-file nowhere", 1)
    call("export photos x --key my.key --sign my.key", 1)
    assert not (tmp_path / "x").exists()
