"""Preparation, splits, restoring, further pictures and new keys on the command line."""

import json
import re

import numpy as np
import PIL.Image
import pytest
from support import content, write_folder
from typer.testing import CliRunner

from torchprotect import data, keys
from torchprotect.cli import app

KEYGEN = "keygen rmt -o {} --image-size 16x16 --block-size 4x4 --permute --labels 3"
PREPARED = "--mode rgb --resize 16x16"


@pytest.fixture
def photos(call, tmp_path):
    call(KEYGEN.format("my.key"))
    root = write_folder(tmp_path / "photos", classes=3, each=8, size=(20, 24))
    PIL.Image.new("L", (30, 20), 90).save(root / "class1" / "grey.png")
    return root


@pytest.fixture
def exported(call, photos):
    return call(f"export photos out --key my.key {PREPARED} --noise 10 --split train")


def test_a_folder_of_mixed_pictures(call, photos):
    told = call("export photos out --key my.key", 1).stderr
    assert "24 images are 3 x 20 x 24, 1 is 1 x 20 x 30: add --mode rgb --resize 16x16" in told
    done = call(f"export photos out --key my.key {PREPARED}")
    assert re.fullmatch(r"out: 25 images in 1 shard, .* 0 skipped, .* s; digest [0-9a-f]{64}\n", done.stdout)
    assert "3 classes: class0 8, class1 9, class2 8" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--resize 16by16", "is not a size; write height x width"),
        ("--resize 0", "resize must be an integer from 1"),
        ("--crop 16", "is not a size"),
        ("--crop 16x16 --pad 16x16", "crop and pad exclude each other"),
        ("--mode blue", "'blue' is not one of 'rgb', 'grey'"),
        ("--crop 99x99", "smaller than the crop, 99 x 99; resize it first"),
        ("--mode rgb --resize 32x32", "all 25 images are 3 x 32 x 32: add --resize 16x16"),
    ],
)
def test_wrong_preparations(call, photos, tmp_path, options, message):
    result = CliRunner().invoke(app, f"export photos out --key my.key {options}".split())
    assert result.exit_code in (1, 2)
    assert message.lower() in " ".join(result.output.lower().replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_inspect_for_the_owner(call, exported):
    shown = call("inspect out").stdout
    assert "split:          train" in shown
    assert 'prepare:        {"mode": "rgb", "resize": [16, 16]}' in shown
    assert "class1" not in shown
    shown = call("inspect out --key my.key").stdout
    assert "source:         image folder photos" in shown
    assert re.search(r"class 1: +class1, written as [012]\n", shown)
    names = call("inspect out --key my.key --names").stdout.splitlines()
    assert len(names) == 25
    assert all(re.fullmatch(r"[0-9a-f]{32}  class[012]/\w+\.png", line) for line in names)
    assert "--names apply to exports" in call("inspect my.key --key my.key", 2).output
    call(KEYGEN.format("other.key"))
    assert "was made with key" in call("inspect out --key other.key", 1).stderr


def test_inspect_without_an_owners_file(call, photos):
    call(f"export photos out --key my.key {PREPARED} --no-owner-file")
    assert "neither names nor classes were kept (--no-owner-file)" in call("inspect out --key my.key").stdout
    assert "original names are not known" in call("inspect out --key my.key --names", 1).stderr


def test_restore(call, exported, photos, tmp_path):
    assert re.fullmatch(r"back: 25 pictures, all exact, .* s\n", call("restore out back --key my.key").stdout)
    assert len(content(tmp_path / "back")) == 25
    assert "back is not empty; choose a new folder" in call("restore out back --key my.key", 1).stderr
    assert "1 picture, all exact" in call("restore out one --key my.key --only class1/grey.png").stdout
    assert (
        "no class is called so; the classes are class0, class1, class2"
        in call("restore out two --key my.key --only cat", 1).stderr
    )
    call(KEYGEN.format("other.key"))
    assert "was made with key" in call("restore out three --key other.key", 1).stderr


def test_disguise(call, exported, photos, tmp_path):
    done = call("disguise photos/class0/1.png photos/class1/1.png --like out --key my.key --out fed")
    assert done.stdout == "fed: 2 pictures disguised as in out\n"
    assert sorted(content(tmp_path / "fed")) == ["class0/1.npy", "class1/1.npy"]
    assert np.load(tmp_path / "fed" / "class0" / "1.npy").shape == (3, 16, 16)
    call("disguise photos/class1/grey.png --like out --key my.key --out fed")
    assert "never overwritten" in call("disguise photos/class1/grey.png --like out --key my.key --out fed", 1).stderr


def test_rekey(call, exported, photos, tmp_path):
    call(KEYGEN.format("new.key"))
    done = call("rekey out new --key my.key --new-key new.key --workers 2")
    fingerprint = keys.load(tmp_path / "new.key").fingerprint
    assert re.fullmatch(rf"new: 25 images in 1 shard, .*, under key {fingerprint[:12]}, .*; digest .*\n", done.stdout)
    call(f"export photos wanted --key new.key {PREPARED} --noise 10 --split train")
    assert content(tmp_path / "new") == content(tmp_path / "wanted")


class TestSplits:
    @pytest.fixture
    def later(self, tmp_path):
        """Pictures that come later: of one class of the three, and of another size."""
        root = write_folder(tmp_path / "later", classes=3, each=4, size=(18, 18), seed=7000)
        for name in ("class0", "class1"):
            for path in (root / name).iterdir():
                path.unlink()
            (root / name).rmdir()
        return root

    def test_together(self, call, photos, later, tmp_path):
        done = call(f"export --splits train=photos test=later both --key my.key {PREPARED}")
        assert re.fullmatch(r"both: 29 images in 2 splits \(train 25, test 4\), .* s\n", done.stdout)
        assert "train: 3 classes: class0 8, class1 9, class2 8" in done.stderr
        assert "test: 3 classes: class0 0, class1 0, class2 4" in done.stderr
        assert "29 images in 2 shards" in call("verify both/train both/test --key my.key").stdout
        label = keys.load(tmp_path / "my.key").labels.map(2)
        assert {written for _, written in data.read(tmp_path / "both" / "test")} == {label}

    def test_later(self, call, photos, later, tmp_path):
        call(f"export photos out --key my.key {PREPARED} --split train")
        done = call(f"export later more --key my.key {PREPARED} --split later --classes-of out")
        assert "class2 4" in done.stderr
        label = keys.load(tmp_path / "my.key").labels.map(2)
        assert {written for _, written in data.read(tmp_path / "more")} == {label}
        call("verify out more --key my.key")

    def test_classes_of_an_export_that_has_none(self, call, photos, later):
        call(f"export photos out --key my.key {PREPARED} --no-owner-file")
        told = call(f"export later more --key my.key {PREPARED} --classes-of out", 1).stderr
        assert "out has no class names in an owner's file" in told

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("train=photos train=later both", "split 'train' is given twice; every split needs its own name"),
            ("photos both", "with --splits, give every SOURCE as NAME=SOURCE, not 'photos'"),
            ("train=photos both --split x", "--splits cannot be combined with --split"),
            ("train=photos both --part 0/2", "--splits cannot be combined with --part"),
        ],
    )
    def test_usage(self, call, photos, later, words, message):
        told = call(f"export --splits {words} --key my.key {PREPARED}", 2).output
        assert message in " ".join(told.replace("│", " ").split())

    def test_several_sources_without_splits(self, call, photos, later):
        told = call(f"export photos later both --key my.key {PREPARED}", 2).output
        assert "to export several splits, give --splits and NAME=SOURCE for each" in " ".join(
            told.replace("│", " ").split()
        )


class TestAudits:
    def test_a_prepared_export(self, call, exported, tmp_path):
        pytest.importorskip("matplotlib")
        done = call("audit out --plain photos --key my.key --report r.html --fast --attack linkage --attack metadata")
        assert "1 attack and 1 scan ran" in done.stdout
        facts = json.loads((tmp_path / "r.json").read_text())
        assert facts["data"]["comparable"] is True
        assert facts["data"]["plain_size"] == [3, 16, 16]

    def test_several_exports(self, call, exported, photos, tmp_path):
        pytest.importorskip("matplotlib")
        write_folder(tmp_path / "later", classes=3, each=7, size=(18, 18), seed=7000)
        call(f"export later more --key my.key {PREPARED} --noise 10 --split later")
        line = "audit out more --plain photos --plain later --key my.key --report r.html --fast --attack linkage"
        call(line)
        assert json.loads((tmp_path / "r.json").read_text())["data"]["images"] == 46
        told = call("audit out more --plain photos --key my.key --report s.html --fast", 1).stderr
        assert "2 exports need 2 plain sources, in the same order" in told

    def test_pictures_that_cannot_be_compared(self, call, photos, tmp_path):
        """A step of one's own resized them, which no audit can repeat."""
        pytest.importorskip("matplotlib")
        from torchvision.transforms import v2

        from torchprotect import transforms

        (photos / "class1" / "grey.png").unlink()
        key = keys.load(tmp_path / "my.key")
        transform = v2.Compose([v2.Resize((16, 16)), transforms.from_key(key)])
        data.export(data.open_source(photos), tmp_path / "out", transform=transform, key=key)
        done = call("audit out --plain photos --key my.key --report r.html --fast", 1)
        assert "the plain images have another shape than the protected ones" in done.stderr
        first = done.stdout.splitlines()[0]
        assert first.startswith("The plain images could not be compared with the protected ones: they are 3 x 20 x 24")
        assert first in (tmp_path / "r.html").read_text()

    def test_labels_from_a_table(self, call, photos, tmp_path):
        pytest.importorskip("matplotlib")
        rows = [f"{path.relative_to(photos)},{'ab'[n % 2]}" for n, path in enumerate(sorted(photos.rglob("*.png")))]
        (tmp_path / "l.csv").write_text("file_name,label\n" + "\n".join(rows))
        call(f"export photos out --key my.key {PREPARED} --labels-from l.csv")
        options = "--key my.key --report r.html --fast --attack row_energy_attack"
        call(f"audit out --plain photos --labels-from l.csv {options}")
        assert json.loads((tmp_path / "r.json").read_text())["data"]["classes"] == 2
