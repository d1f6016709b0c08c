"""``torchprotect export --labels-from``, and the line that counts classes."""

import pytest
from support import write_folder
from test_cli import call

from torchprotect import data
from torchprotect.cli._classes import classes_line


@pytest.fixture
def key(tmp_path):
    size = ("--image-size", "16x16", "--block-size", "4x4")
    call("keygen", "block-permute", "-o", tmp_path / "key", *size, "--labels", 2)
    return tmp_path / "key"


@pytest.mark.slow
def test_labels_from_a_csv(tmp_path, key):
    root = write_folder(tmp_path / "in", classes=2)
    rows = [f"class{label}/{n}.png,{'día' if n else '夜'}\n" for label in range(2) for n in range(4)]
    (tmp_path / "l.csv").write_text("file_name,label\n" + "".join(rows), encoding="utf-8")
    done = call("export", root, tmp_path / "out", "--key", key, "--labels-from", tmp_path / "l.csv")
    assert "2 classes: día 6, 夜 2" in done.stderr.splitlines()
    assert sorted(label for _, label in data.read(tmp_path / "out")).count(0) in (2, 6)
    (tmp_path / "l.csv").write_text("file_name,label\n" + "".join(rows[:-2]), encoding="utf-8")
    failed = call("export", root, tmp_path / "new", "--key", key, "--labels-from", tmp_path / "l.csv", code=1)
    assert "2 of 8 images have no label, such as " in failed.stderr
    failed = call("export", root, tmp_path / "new", "--key", key, "--labels-from", "jason:x", code=1)
    assert "labels_from must be none, txt, json:FIELD, or the path of a .csv or .jsonl file" in failed.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("counts", "line"),
    [
        ({"bird": 100, "cat": 1200, "dog": 80}, "3 classes: bird 100, cat 1,200, dog 80"),
        ({"0": 5}, "1 class: 0 5"),
        (
            {str(n): 2 + n for n in range(1000)},
            "1,000 classes: "
            + ", ".join(f"{n} {2 + n}" for n in range(12))
            + ", and 988 more, 14 to 1,001 images each",
        ),
        (
            {str(n): 1 for n in range(13)},
            "13 classes: " + ", ".join(f"{n} 1" for n in range(12)) + ", and 1 more, 1 image each",
        ),
    ],
)
def test_the_line_that_counts_classes(counts, line):
    assert classes_line(counts) == line
