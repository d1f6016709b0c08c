import io
import json
import os
import struct
import tarfile
import zlib
from functools import partial

import numpy as np
import PIL.Image
import PIL.PngImagePlugin
import pytest
from support import SHARED_AES, content, make_image, png, run_export, write_folder, write_tar

from torchprotect import attacks, keys
from torchprotect.attacks import Level
from torchprotect.errors import SourceError

TOPICS = ["names", "folders", "order", "sizes", "times", "owners", "headers", "embedded", "labels", "balance"]
TOPICS += ["documents", "unexpected", "unread"]


def scan(folder):
    result = attacks.metadata_scan(folder)
    assert [finding.topic for finding in result.findings] == TOPICS
    assert all(finding.severity in ("none", "low", "medium", "high") for finding in result.findings)
    return result


def found(folder):
    """Return severity and count of each topic."""
    return {finding.topic: (finding.severity, finding.count) for finding in scan(folder).findings}


def names(count):
    return [f"{n * 7919 % 251:032x}" for n in range(count)]


def samples(count=40, label=lambda n: n * 13 % 4, name=None, body=None):
    """Return members of an archive as an export writes them: names and order tell nothing."""
    made = {}
    for n, stem in enumerate(names(count) if name is None else name(count)):
        made[f"{stem}.png"] = raw_png(n) if body is None else body(n)
        made[f"{stem}.cls"] = b"%d" % label(n)
    return made


def raw_png(n=0):
    buffer = io.BytesIO()
    PIL.Image.fromarray(make_image(8, 8, seed=n).numpy()).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def with_chunk(kind, body=b"who: me", place=-12):
    plain = raw_png()
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return plain[:place] + chunk + plain[place:]


def test_an_export_of_ours(tmp_path):
    run_export(tmp_path / "out")
    before = content(tmp_path)
    result = scan(tmp_path / "out")
    assert content(tmp_path) == before
    told = {finding.topic: finding.severity for finding in result.findings if finding.severity != "none"}
    assert told == {"labels": "low", "documents": "low"}
    assert result.level is Level.CIPHERTEXT_ONLY
    assert result.cost == {"files": 6, "members": 40}
    assert (result.samples, result.classes, result.worst) == (20, 10, "low")
    read = json.loads(result.to_json())
    assert read["level"] == "L0"
    assert read["worst"] == "low"
    assert [each["topic"] for each in read["findings"]] == TOPICS


def test_files_that_lie_elsewhere(tmp_path):
    run_export(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_bytes(b"torchprotect-key")
    write_tar(tmp_path / "out" / "more.tar.gz", samples(), "w:gz")
    files = {path.name: partial(path.open, "rb") for path in (tmp_path / "out").iterdir()}
    here, elsewhere = scan(tmp_path / "out"), scan(files)
    assert elsewhere.to_json() == here.to_json()
    assert elsewhere.worst == "high"


def test_files_elsewhere_that_cannot_be_opened(tmp_path):
    write_tar(tmp_path / "a.tar", samples())
    files = {"a.tar": partial((tmp_path / "a.tar").open, "rb"), "b.tar": partial((tmp_path / "b.tar").open, "rb")}
    assert found(files)["unread"] == ("low", 1)
    assert scan(files).cost == {"files": 2, "members": 80}
    assert scan({}).samples == 0


def test_a_plain_archive_that_tells_nothing(tmp_path):
    write_tar(tmp_path / "a.tar", samples())
    told = found(tmp_path)
    assert told.pop("labels") == ("low", 4)
    assert {severity for severity, _ in told.values()} == {"none"}


@pytest.mark.parametrize(
    ("topic", "expected", "change"),
    [
        ("names", ("medium", 40), {"name": lambda n: [f"cat{i}" for i in range(n)]}),
        ("order", ("medium", 3), {"label": lambda n: n // 10}),
        ("order", ("low", 40), {"name": lambda n: [f"{i:06d}" for i in range(n)]}),
        ("folders", ("high", 40), {"name": lambda n: [f"cats/{stem}" for stem in names(n)]}),
        ("sizes", ("medium", 40), {"body": lambda n: png(make_image(1, 8, 8)) + bytes(n)}),
        ("labels", ("low", 1), {"label": lambda n: 3}),
        ("balance", ("none", 0), {"label": lambda n: 3}),
        ("balance", ("medium", 2), {"label": lambda n: n % 10 == 0}),
        ("embedded", ("high", 40), {"body": lambda n: with_chunk(b"tEXt")}),
        ("unread", ("low", 40), {"body": lambda n: raw_png()[:-12]}),
    ],
)
def test_findings_of_samples(topic, expected, change, tmp_path):
    write_tar(tmp_path / "a.tar", samples(**change))
    assert found(tmp_path)[topic] == expected


@pytest.mark.parametrize(
    ("topic", "expected", "field", "value"),
    [
        ("times", ("low", 1), "mtime", lambda n: 5),
        ("times", ("medium", 80), "mtime", lambda n: n),
        ("owners", ("low", 80), "uid", lambda n: 1000),
        ("owners", ("low", 40), "gname", lambda n: "staff" if n % 2 else ""),
        ("headers", ("low", 40), "mode", lambda n: 0o600 if n % 2 else 0o644),
        ("headers", ("low", 80), "pax_headers", lambda n: {"comment": "hello"}),
    ],
)
def test_findings_of_headers(topic, expected, field, value, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        for n, (name, body) in enumerate(samples().items()):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            setattr(info, field, value(n))
            archive.addfile(info, io.BytesIO(body))
    assert found(tmp_path)[topic] == expected


def jpeg(**options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(make_image(8, 8).numpy()).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def camera():
    exif = PIL.Image.Exif()
    exif[272] = "a camera"
    return exif


def tiff(**options):
    buffer = io.BytesIO()
    PIL.Image.fromarray(make_image(8, 8).numpy()).save(buffer, "TIFF", **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("a.png", raw_png(), ("none", 0)),
        ("a.png", with_chunk(b"gAMA", bytes(4), 33), ("none", 0)),
        ("a.png", with_chunk(b"tEXt"), ("high", 1)),
        ("a.png", with_chunk(b"iTXt", place=33), ("high", 1)),
        ("a.png", with_chunk(b"eXIf"), ("high", 1)),
        ("a.png", with_chunk(b"tIME", bytes(7)), ("high", 1)),
        ("a.png", with_chunk(b"prVt"), ("high", 1)),
        ("a.png", raw_png() + b"more", ("high", 1)),
        ("a.jpg", jpeg(), ("none", 0)),
        ("a.jpg", jpeg(exif=camera()), ("high", 1)),
        ("a.JPEG", jpeg(comment=b"mine"), ("high", 1)),
        ("a.tif", tiff(), ("none", 0)),
        ("a.tif", tiff(exif=camera()), ("high", 1)),
        ("a.png", jpeg(exif=camera()), ("high", 1)),  # what it is counts, not what it is called
        ("a.npy", b"\x93NUMPY", ("none", 0)),
    ],
)
def test_data_embedded_in_image_files(name, body, expected, tmp_path):
    (tmp_path / name).write_bytes(body)
    assert found(tmp_path)["embedded"] == expected
    assert found(tmp_path)["unread"] == ("none", 0)


def test_a_folder_of_images(tmp_path):
    """Class folders name the classes; sizes, times and names are those of the files."""
    write_folder(tmp_path, classes=3, each=4)
    for n, path in enumerate(sorted(tmp_path.rglob("*.png"))):
        os.utime(path, (n, n))
    result = scan(tmp_path)
    told = found(tmp_path)
    assert (result.samples, result.classes, result.worst) == (12, 3, "high")
    assert told["folders"] == ("high", 12)
    assert told["labels"] == ("low", 3)
    assert told["times"] == ("medium", 12)
    assert told["names"] == ("medium", 12)
    assert told["owners"] == ("none", 0)


def test_names_are_never_told(tmp_path):
    body = {"ward7/smith-1971.png": with_chunk(b"tEXt", b"Author\0smith"), "ward7/smith-1971.cls": b"smith"}
    write_tar(tmp_path / "smith.tar", body)
    (tmp_path / "smith.txt").write_text("smith")
    (tmp_path / "manifest.json").write_text('{"smith": "smith"}')
    assert "smith" not in scan(tmp_path).to_json()


def test_documents(tmp_path):
    run_export(tmp_path / "out")
    path = tmp_path / "out" / "manifest.json"
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps({**manifest, "host": "a", "time": 7}))
    assert found(tmp_path / "out")["documents"] == ("medium", 2)
    for damaged in ("{", "[]", "[" * 100_000, '{"transform": 7}', "\xff", ""):
        path.write_text(damaged)
        assert found(tmp_path / "out")["documents"] == ("none", 0)


def test_files_beside_the_shards(tmp_path):
    run_export(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_text("hello")
    (tmp_path / "out" / "shard-000000.tar.tmp").write_bytes(b"")
    assert found(tmp_path / "out")["unexpected"] == ("medium", 2)
    keys.save(SHARED_AES, tmp_path / "out" / "mine")
    keys.save(SHARED_AES, tmp_path / "out" / "locked", passphrase="open")  # noqa: S106
    assert found(tmp_path / "out")["unexpected"] == ("high", 2)


def test_links_pipes_and_other_special_files_are_not_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(raw_png())
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "a.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    (folder / "more").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    os.mkfifo(folder / "b.png")
    result = scan(folder)
    assert result.samples == 0
    assert found(folder)["unexpected"] == ("medium", 4)


def test_links_and_devices_in_archives(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in {"../../a.png": tarfile.SYMTYPE, "b.png": tarfile.CHRTYPE, "c": tarfile.DIRTYPE}.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert found(tmp_path)["unexpected"] == ("medium", 3)
    assert scan(tmp_path).samples == 0


def header(name=b"a.png", size=b"00000000010\0", kind=b"0", magic=b"ustar\x0000"):
    fields = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + size + b"00000000000\0"
    after = kind + bytes(100) + magic + bytes(64) + b"0000000\0" * 2 + bytes(167)
    total = sum(fields) + sum(after) + 8 * ord(" ")
    return fields + b"%06o\0 " % total + after


def negative(size):
    return b"\xff" + (256**11 - size).to_bytes(11, "big")


HOSTILE = {
    "garbage": b"\1" * 5000,
    "no header": bytes(100),
    "empty file": b"",
    "cut in a member": header(size=b"00000010000\0") + b"x",
    "cut in a header": header() + bytes(512) + header()[:300],
    "more than 8 GiB": header(size=b"77777777777\0"),
    "a size below nothing": header(size=negative(1024)) + bytes(512),
    "a size back to the start": header() + bytes(512) + header(size=negative(1536)) + bytes(512),
    "a long pax header": header(size=b"77777777777\0", kind=b"x") + bytes(512),
    "a pax header of 2 MiB": header(size=b"%011o\0" % (2 << 20), kind=b"x") + b"9 a=aaaa\n" * (2 << 18),
    "a pax size below nothing": header(size=b"00000000014\0", kind=b"x")
    + b"12 size=-99\n".ljust(512, b"\0")
    + header(),
    "pax headers without end": (header(size=b"00000000013\0", kind=b"x") + b"11 a=aaaaa\n".ljust(512, b"\0")) * 3000,
    "a long GNU name": header(size=b"77777777777\0", kind=b"L") + bytes(512),
    "sparse": header(kind=b"S") + bytes(512),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives(name, tmp_path):
    (tmp_path / "a.tar").write_bytes(HOSTILE[name])
    (tmp_path / "b.png").write_bytes(raw_png())
    result = scan(tmp_path)
    assert result.samples >= 1  # it goes on
    if name not in ("no header", "empty file", "sparse", "cut in a header"):
        assert found(tmp_path)["unread"][1] >= 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x89PNG",
        raw_png()[:20],
        b"\x89PNG\r\n\x1a\n" + (b"\0\0\0\0IDAT\0\0\0\0") * 5000,
        b"\x89PNG\r\n\x1a\n" + b"\xff\xff\xff\xffIDAT",
        b"\xff\xd8\xff\xe1\xff\xffExif\0\0" + b"\xff" * 100,
        b"II*\0\xff\xff\xff\xff",
        b"GIF89a\xff\xff\xff\xff",
        b"#define",
    ],
)
def test_damaged_images(body, tmp_path):
    (tmp_path / "a.png").write_bytes(body)
    told = found(tmp_path)
    assert told["unread"][1] + told["embedded"][1] == 1


def test_large_pictures_are_not_decoded(tmp_path):
    """A header that claims 60,000 x 60,000 pixels takes no memory."""
    claim = struct.pack(">II", 60_000, 60_000) + b"\x08\0\0\0\0"
    body = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in ((b"IHDR", claim), (b"IDAT", b""), (b"IEND", b""))
    )
    (tmp_path / "a.png").write_bytes(body)
    bitmap = bytearray(bitmap_file())
    bitmap[18:26] = struct.pack("<ii", 60_000, 60_000)
    (tmp_path / "b.bmp").write_bytes(bitmap)
    assert found(tmp_path)["embedded"] == ("none", 0)


def bitmap_file():
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(buffer, "BMP")
    return buffer.getvalue()


def test_compressed_archives_are_said_not_to_be_read(tmp_path):
    write_tar(tmp_path / "a.tar.gz", samples(), "w:gz")
    assert found(tmp_path)["unread"] == ("low", 1)


def test_there_is_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("torchprotect.attacks.disguise._folder.ENTRIES", 10)
    write_tar(tmp_path / "a.tar", samples())
    write_tar(tmp_path / "b.tar", samples())
    result = scan(tmp_path)
    assert result.cost["members"] == 10
    assert found(tmp_path)["unread"] == ("low", 1)


def test_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(SourceError, match="not a folder"):
            attacks.metadata_scan(path)
    (tmp_path / "empty").mkdir()
    result = scan(tmp_path / "empty")
    assert (result.samples, result.worst) == (0, "none")
