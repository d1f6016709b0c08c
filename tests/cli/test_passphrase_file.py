"""The passphrase is the first line of its file, byte for byte."""

import os
import threading
from pathlib import Path

import pytest

from torchprotect.cli._common import read_passphrase
from torchprotect.errors import PassphraseError


def reading(folder, content: bytes) -> str:
    (folder / "pass").write_bytes(content)
    return read_passphrase(folder / "pass")


@pytest.mark.parametrize(
    "passphrase", ["open sesame", " two  blanks ", "größer", "a\u2028b", "a\x0cb", "a\rb", "a\x85b", "\r a", "a\x00b"]
)
def test_only_a_line_feed_ends_the_passphrase(tmp_path, passphrase):
    for rest in ("", "\n", "\nsecond line\n"):
        assert reading(tmp_path, (passphrase + rest).encode()) == passphrase


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty or blank"),
        (b"\nsecond", "empty or blank"),
        (b" \t \n", "empty or blank"),
        ("\u00a0\u2028\n".encode(), "empty or blank"),
        (b"sesame\r\n", "Windows line endings"),
        (b"sesame\r", "Windows line endings"),
        (b"\xef\xbb\xbfsesame\n", "byte order mark"),
        ("sesame\n".encode("utf-16"), "not UTF-8 text"),
        (b"sesame \xff\n", "not UTF-8 text"),
        (b"a" * 65_537, "longer than 65,536 bytes"),
    ],
)
def test_refusals(tmp_path, content, message):
    with pytest.raises(PassphraseError, match=message) as caught:
        reading(tmp_path, content)
    assert "sesame" not in str(caught.value).replace(str(tmp_path), "")


def test_a_long_one(tmp_path):
    assert reading(tmp_path, b"a" * 65_536 + b"\n") == "a" * 65_536


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither")
def test_pipes_and_endless_devices(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(b"sesame\n"), daemon=True).start()
    assert read_passphrase(tmp_path / "pipe") == "sesame"
    with pytest.raises(PassphraseError, match="longer"):
        read_passphrase(Path("/dev/zero"))
