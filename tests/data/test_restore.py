"""From an export back to plain pictures."""

import subprocess
import sys
import time

import PIL.Image
import pytest
import torch
from support import SHARED_AES, content, make_bundle, make_image, png, run_export, write_folder, write_tar
from torchvision.transforms import v2
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect import data, keys, transforms
from torchprotect.errors import (
    ExportError,
    InputRangeError,
    KeyKindError,
    NotInvertibleError,
    VerificationError,
)

SIZE = {"image_size": (16, 16), "block_size": (4, 4)}


def read_folder(root):
    """Return the pictures below a folder as tensors, by path without extension."""
    files = [path for path in root.rglob("*.png") if path.is_file()]
    return {str(path.relative_to(root).with_suffix("")): pil_to_tensor(PIL.Image.open(path)) for path in files}


def assert_same_pictures(first, second):
    one, two = read_folder(first), read_folder(second)
    assert one.keys() == two.keys()
    for name, image in one.items():
        assert torch.equal(image, two[name]), name


@pytest.fixture
def photos(tmp_path):
    return write_folder(tmp_path / "photos", classes=3, each=5)


@pytest.fixture
def exported(tmp_path, photos):
    run_export(tmp_path / "out", dataset=data.open_source(photos))
    return tmp_path / "out"


KEYS = {
    "permutation": (keys.PermutationKey.generate(**SIZE), {}),
    "aes": (make_bundle("aes"), {}),
    "aes, channels": (make_bundle("aes", channels=3), {}),
    "rmt": (make_bundle("rmt"), {}),
    "rmt, noise": (make_bundle("rmt"), {"noise": 100.0}),
    "rmt, left, uniform": (keys.RMTKey.generate(**SIZE, matrix="uniform", side="left"), {"noise": 25.0}),
    "rmt, gaussian": (keys.RMTKey.generate(**SIZE, matrix="gaussian"), {"noise": 25.0}),
}


class TestPictures:
    @pytest.mark.parametrize("name", KEYS)
    def test_all_pixels_are_back(self, tmp_path, photos, name):
        key, options = KEYS[name]
        source = data.open_source(photos)
        run_export(tmp_path / "out", key, source, transforms.from_key(key, **options), split="train")
        result = data.restore(tmp_path / "out", tmp_path / "back", key=key)
        assert (result.images, result.made, result.exact, result.notes) == (15, 15, 15, ())
        assert_same_pictures(tmp_path / "back", photos)

    def test_the_key_holder_can_subtract_the_noise(self, tmp_path, photos):
        """Inverting the matrices alone leaves the noise in."""
        key, source = make_bundle("rmt"), data.open_source(photos)
        run_export(tmp_path / "out", key, source, transforms.from_key(key, noise=100.0))
        inverse = transforms.from_key(key, inverse=True)
        noisy = next(iter(data.read(tmp_path / "out")))[0]
        assert (inverse(noisy) - inverse(noisy).round()).abs().max() > 0.1
        assert inverse(noisy).max() > 300
        assert data.restore(tmp_path / "out", tmp_path / "back", key=key).exact == 15

    def test_prepared_pictures_are_what_is_restored(self, tmp_path):
        photos = write_folder(tmp_path / "photos", size=(20, 30))
        preparation = data.Preparation(mode="grey", resize=(16, 16))
        run_export(tmp_path / "out", dataset=data.open_source(photos), prepare=preparation)
        data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)
        back = read_folder(tmp_path / "back")
        assert len(back) == 12
        for path in photos.rglob("*.png"):
            image = back[str(path.relative_to(photos).with_suffix(""))]
            assert torch.equal(image, pil_to_tensor(preparation(PIL.Image.open(path))))

    def test_salt_and_pepper_stays(self, tmp_path, photos):
        key = KEYS["rmt"][0]
        transform = v2.Compose([transforms.SaltAndPepper(0.2), transforms.from_key(key, noise=30)])
        run_export(tmp_path / "out", key, data.open_source(photos), transform)
        result = data.restore(tmp_path / "out", tmp_path / "back", key=key)
        assert (result.images, result.exact) == (15, 0)
        plain, back = read_folder(photos), read_folder(tmp_path / "back")
        for name, image in plain.items():
            kept = (back[name] == image).all(0)
            assert set(back[name][:, ~kept].flatten().tolist()) <= {0, 255}
            assert 0.6 < kept.float().mean() < 0.95

    def test_floating_point_becomes_npy(self, tmp_path):
        key = KEYS["permutation"][0]
        dataset = [(make_image(1, 16, 16, dtype=torch.float32, seed=n), 0) for n in range(3)]
        run_export(tmp_path / "out", key, dataset)
        assert data.restore(tmp_path / "out", tmp_path / "back", key=key).exact == 3
        import numpy as np

        found = sorted((tmp_path / "back").rglob("*.npy"), key=lambda path: path.name)
        assert [path.name for path in found] == ["0.npy", "1.npy", "2.npy"]
        for path, (image, _) in zip(found, dataset, strict=True):
            assert torch.equal(torch.from_numpy(np.load(path)), image)

    def test_an_export_of_version_1(self, tmp_path):
        from pathlib import Path

        vectors = Path(__file__).parents[1] / "vectors" / "exports"
        result = data.restore(vectors / "v1-aes", tmp_path / "back", key=keys.load(vectors / "v1-aes.safetensors"))
        assert result.exact is None
        assert result.images == data.verify(vectors / "v1-aes").images == len(list((tmp_path / "back").rglob("*.png")))
        assert "no owner's file" in result.notes[0]


class TestNames:
    def test_without_an_owners_file(self, tmp_path, photos):
        run_export(tmp_path / "out", dataset=data.open_source(photos), owner_file=False)
        result = data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)
        assert result.exact is None
        folders = {path.name: len(list(path.iterdir())) for path in (tmp_path / "back").iterdir()}
        assert folders == {"0": 5, "1": 5, "2": 5}  # plain class numbers, though the key renames them
        by_pixels = {image.numpy().tobytes() for image in read_folder(tmp_path / "back").values()}
        assert by_pixels == {image.numpy().tobytes() for image in read_folder(photos).values()}

    def test_tars(self, tmp_path):
        members = {}
        for number in range(4):
            members |= {f"part/{number}.png": png(make_image(3, 16, 16, seed=number)), f"part/{number}.cls": b"7"}
        source = data.open_source(str(write_tar(tmp_path / "x.tar", members)))
        run_export(tmp_path / "out", dataset=source)
        data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)
        assert sorted(content(tmp_path / "back")) == [f"7/part/{number}.png" for number in range(4)]

    def test_names_that_would_be_equal(self, tmp_path):
        root = tmp_path / "photos" / "cat"
        root.mkdir(parents=True)
        for number, name in enumerate(["a.jpg", "a.png", "A.bmp", "b.png", "c.png.png"]):
            PIL.Image.new("RGB", (16, 16), (number, 0, 0)).save(root / name)
        run_export(tmp_path / "out", dataset=data.open_source(root.parent))
        result = data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)
        assert result.images == 5
        assert sorted(content(tmp_path / "back")) == [
            "cat/A.bmp.png",
            "cat/a.jpg.png",
            "cat/a.png.png",
            "cat/b.png",
            "cat/c.png.png",
        ]

    @pytest.mark.parametrize(
        "files",
        [
            ["cat/a.jpg", "cat/a.png", "cat/a.jpg.png", "dog/x.png"],  # with its extension, the first is the third
            ["dog/b.jpg", "dog/b.png/c.jpg"],  # a folder stands where a file would
            ["dog/b.jpg", "dog/B.PNG/c.jpg"],
        ],
    )
    def test_every_picture_has_a_file_of_its_own(self, tmp_path, files):
        for number, name in enumerate(files):
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(path)
        source = data.open_source(tmp_path / "photos")
        run_export(tmp_path / "out", dataset=source)
        data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)
        found = {image.numpy().tobytes() for image in read_folder(tmp_path / "back").values()}
        assert found == {source[n].image.numpy().tobytes() for n in range(len(files))}
        assert len(content(tmp_path / "back")) == len(files)

    def test_folders_of_other_classes(self, tmp_path):
        """Labels come from a table, and folders are called as classes."""
        for number, name in enumerate(["dog/cat/x.png", "cat/x.png"]):
            (tmp_path / "photos" / name).parent.mkdir(parents=True)
            PIL.Image.new("RGB", (16, 16), (40 * number, 0, 0)).save(tmp_path / "photos" / name)
        (tmp_path / "l.csv").write_text("file_name,label\ndog/cat/x.png,dog\ncat/x.png,dog\n")
        run_export(tmp_path / "out", dataset=data.open_source(tmp_path / "photos", labels_from=tmp_path / "l.csv"))
        assert data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES).exact == 2
        assert sorted(content(tmp_path / "back")) == ["dog/cat/x.png", "dog/dog/cat/x.png"]

    def test_classes_whose_names_are_no_folders(self, tmp_path, photos):
        names = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
        classes = ["..", "a/b", "class-0", "a/c", "class-1"]
        rows = [f"{name},{classes[n % 5]}" for n, name in enumerate(names)]
        (tmp_path / "l.csv").write_text("file_name,label\n" + "\n".join(rows))
        run_export(tmp_path / "out", dataset=data.open_source(photos, labels_from=tmp_path / "l.csv"))
        assert data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES).exact == 15
        assert len({name.split("/")[0] for name in content(tmp_path / "back")}) == 5

    def test_keys_that_occur_twice_get_their_ids(self, tmp_path):
        for shard in range(2):
            members = {"0.png": png(make_image(3, 16, 16, seed=shard)), "0.cls": b"1"}
            write_tar(tmp_path / f"x-{shard}.tar", members)
        run_export(tmp_path / "out", dataset=data.open_source(str(tmp_path / "x-{0..1}.tar")))
        assert data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES).exact == 2
        names = sorted(content(tmp_path / "back"))
        assert len(names) == 2
        assert all(name.startswith("1/0-") and len(name) == len("1/0-.png") + 32 for name in names)

    @pytest.mark.parametrize("name", ["../../escaped", "/escaped", "a/../../b", "x" * 300, "a//b", "."])
    def test_hostile_names_stay_inside(self, tmp_path, name):
        from torchprotect.data._restored_names import RestoredNames
        from torchprotect.data.owner import Original, Owner

        names = RestoredNames(Owner("", ("..", "a/b", "ok"), {"f" * 32: Original(0, f"{name}.png")}))
        for label, folder in ((0, "class-0"), (1, "class-1"), (2, "ok"), (5, "5")):
            path = names.path("f" * 32, label)
            assert str(path) == f"{folder}/{'f' * 32}"

    def test_unicode(self, tmp_path):
        root = write_folder(tmp_path / "photos", classes=2, each=2)
        (root / "class0").rename(root / "Vögel 鳥 \u202e")
        run_export(tmp_path / "out", dataset=data.open_source(root))
        data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)
        assert_same_pictures(tmp_path / "back", root)


class TestLabels:
    @pytest.fixture
    def several(self, tmp_path, photos):
        """An export whose pictures have several labels, of which the key renames the classes."""
        names = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
        labels = ["|".join(each for number, each in enumerate("abc") if n >> number & 1) for n in range(len(names))]
        rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
        (tmp_path / "l.csv").write_text("file_name,labels\n" + "\n".join(rows))
        return data.open_source(photos, labels_from=tmp_path / "l.csv")

    def test_pictures_with_several_labels(self, tmp_path, photos, several):
        run_export(tmp_path / "out", dataset=several)
        assert data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES).exact == 15
        assert_same_pictures(tmp_path / "back", photos)
        again = data.open_source(tmp_path / "back", labels_from=tmp_path / "back" / "labels.jsonl")
        assert again.known_labels() == several.known_labels()
        assert again.class_names == several.class_names
        result = data.restore(tmp_path / "out", tmp_path / "c", key=SHARED_AES, only="c")
        assert result.images == sum(n >> 2 & 1 for n in range(15))

    def test_they_are_exported_again_under_a_new_key(self, tmp_path, several):
        new = make_bundle()
        run_export(tmp_path / "old", dataset=several)
        run_export(tmp_path / "wanted", new, several)
        data.rekey(tmp_path / "old", tmp_path / "new", key=SHARED_AES, new_key=new)
        assert content(tmp_path / "new") == content(tmp_path / "wanted")

    def test_pictures_without_labels(self, tmp_path, photos):
        key = keys.KeyBundle(SHARED_AES.transform, SHARED_AES.permutation)
        run_export(tmp_path / "out", key, data.open_source(photos, labels_from="none"))
        data.restore(tmp_path / "out", tmp_path / "back", key=key)
        assert_same_pictures(tmp_path / "back", photos)


class TestSelection:
    @pytest.mark.parametrize(
        ("only", "expected"),
        [
            ("class1/3.png", ["class1/3.png"]),
            ("3.png", [f"class{n}/3.png" for n in range(3)]),
            ("class2", [f"class2/{n}.png" for n in range(5)]),
            ("0", [f"class0/{n}.png" for n in range(5)]),
            (["class1/3.png", "class0/2.png"], ["class0/2.png", "class1/3.png"]),
            (("class2", "4.png"), ["class0/4.png", "class1/4.png", *(f"class2/{n}.png" for n in range(5))]),
        ],
    )
    def test_name_or_class(self, tmp_path, exported, only, expected):
        result = data.restore(exported, tmp_path / "back", key=SHARED_AES, only=only)
        assert sorted(content(tmp_path / "back")) == expected
        assert result.images == result.exact == len(expected)

    def test_a_class_whose_name_is_a_number(self, tmp_path):
        root = write_folder(tmp_path / "photos", classes=4, each=1)
        for number, name in enumerate(["0", "1", "10", "2"]):
            (root / f"class{number}").rename(root / name)
        run_export(tmp_path / "out", dataset=data.open_source(root))
        result = data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES, only="2")
        assert list(content(tmp_path / "back")) == ["2/0.png"]
        assert result.notes == ()

    def test_id(self, tmp_path, exported):
        from torchprotect.data.finished import open_finished, owner_of

        identity, original = next(iter(owner_of(open_finished(exported), SHARED_AES).originals.items()))
        data.restore(exported, tmp_path / "back", key=SHARED_AES, only=identity)
        assert list(content(tmp_path / "back")) == [original.name]

    def test_nothing_of_that_name(self, tmp_path, exported):
        with pytest.raises(
            InputRangeError,
            match="name 'class9', and no class is called so; the classes are class0, ",
        ):
            data.restore(exported, tmp_path / "back", key=SHARED_AES, only="class9")
        assert not (tmp_path / "back").exists()
        data.restore(exported, tmp_path / "back", key=SHARED_AES, only="class1")

    def test_nothing_of_that_name_where_names_are_not_known(self, tmp_path, photos):
        run_export(tmp_path / "out", dataset=data.open_source(photos), owner_file=False)
        with pytest.raises(InputRangeError, match="without an owner's file, names are not known"):
            data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES, only="class1")
        assert content(tmp_path / "back") == {}
        assert data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES, only="1").images == 5

    def test_nothing_is_selected_or_only_a_part(self, tmp_path, photos, exported):
        with pytest.raises(InputRangeError, match="only names nothing to restore"):
            data.restore(exported, tmp_path / "back", key=SHARED_AES, only=[])
        with pytest.raises(InputRangeError, match="name 'class9'"):
            data.restore(exported, tmp_path / "back", key=SHARED_AES, only=["class0", "class9"])
        run_export(tmp_path / "nameless", dataset=data.open_source(photos), owner_file=False)
        with pytest.raises(InputRangeError, match=r"the id or plain class number 'class1', '7'; without"):
            data.restore(tmp_path / "nameless", tmp_path / "some", key=SHARED_AES, only=["0", "class1", "7"])

    def test_a_number_says_which_class_it_is(self, tmp_path, exported):
        result = data.restore(exported, tmp_path / "back", key=SHARED_AES, only="2")
        assert result.notes == ("2 is the plain number of class class2",)


def test_numbers_of_a_data_set_in_python_are_its_names(tmp_path):
    """A picture's own name comes before the number of a class."""
    dataset = [(make_image(1, 16, 16, seed=n), n % 2) for n in range(6)]
    key = KEYS["permutation"][0]
    run_export(tmp_path / "out", key, dataset)
    assert data.restore(tmp_path / "out", tmp_path / "back", key=key, only="1").images == 1
    assert list(content(tmp_path / "back")) == ["1/1.png"]


def test_pictures_that_a_table_calls_otherwise_than_their_folders(tmp_path):
    root = write_folder(tmp_path / "photos", classes=2, each=2)
    rows = ["class0/0.png,class1", "class0/1.png,class0", "class1/0.png,class1", "class1/1.png,class1"]
    (tmp_path / "l.csv").write_text("file_name,label\n" + "\n".join(rows))
    run_export(tmp_path / "out", dataset=data.open_source(root, labels_from=tmp_path / "l.csv"))
    data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)
    assert sorted(content(tmp_path / "back")) == [
        "class0/class0/1.png",
        "class1/class0/0.png",
        "class1/class1/0.png",
        "class1/class1/1.png",
    ]


@pytest.mark.parametrize("labels", [["a|b", "c"], ["10", "2"], [" a", "a"]])
def test_tables_of_labels_are_read_back_as_they_were(tmp_path, labels):
    import json

    root = write_folder(tmp_path / "photos", classes=1, each=4)
    rows = [{"file_name": f"class0/{n}.png", "labels": labels[: n % 3]} for n in range(4)]
    (tmp_path / "l.jsonl").write_text("\n".join(map(json.dumps, rows)))
    key, source = KEYS["permutation"][0], data.open_source(root, labels_from=tmp_path / "l.jsonl")
    run_export(tmp_path / "out", key, source)
    data.restore(tmp_path / "out", tmp_path / "back", key=key)
    again = data.open_source(tmp_path / "back", labels_from=tmp_path / "back" / "labels.jsonl")
    assert (again.known_labels(), again.class_names) == (source.known_labels(), source.class_names)


class TestRuns:
    def test_workers(self, tmp_path, exported):
        data.restore(exported, tmp_path / "one", key=SHARED_AES)
        calls = []
        data.restore(exported, tmp_path / "two", key=SHARED_AES, workers=2, progress=lambda *done: calls.append(done))
        assert content(tmp_path / "one") == content(tmp_path / "two")
        assert calls[0] == (0, 15)
        assert calls[-1] == (15, 15)

    def test_a_torn_picture_is_written_again(self, tmp_path, exported):
        with pytest.raises(KeyboardInterrupt):
            data.restore(exported, tmp_path / "back", key=SHARED_AES, progress=stop_at(7))
        assert any(name.startswith(".torchprotect-restore") for name in content(tmp_path / "back"))
        first = sorted((tmp_path / "back").rglob("*.png"))[0]
        whole = first.read_bytes()
        first.write_bytes(whole[:-9])
        (first.parent / ".torchprotect-0123456789abcdef.tmp").write_bytes(b"left over")
        result = data.restore(exported, tmp_path / "back", key=SHARED_AES)
        assert first.read_bytes() == whole
        assert result.images == 15
        assert 0 < result.made < 15
        assert all(name.endswith(".png") for name in content(tmp_path / "back"))

    def test_killed_and_resumed(self, tmp_path, exported):
        keys.save(SHARED_AES, tmp_path / "my.key")
        data.restore(exported, tmp_path / "whole", key=SHARED_AES)
        command = [
            sys.executable,
            "-c",
            "import sys, time\nfrom torchprotect import data, keys\nimport importlib\n"
            "module = importlib.import_module('torchprotect.data.restore')\nwrite = module._write\n"
            "def slow(*args):\n    time.sleep(0.05)\n    return write(*args)\nmodule._write = slow\n"
            "data.restore(sys.argv[1], sys.argv[2], key=keys.load(sys.argv[3]))",
            str(exported),
            str(tmp_path / "back"),
            str(tmp_path / "my.key"),
        ]
        child = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while len(list((tmp_path / "back").rglob("*.png"))) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        child.kill()
        child.wait()
        assert 4 <= len(list((tmp_path / "back").rglob("*.png"))) < 15
        data.restore(exported, tmp_path / "back", key=SHARED_AES)
        assert content(tmp_path / "back") == content(tmp_path / "whole")


def stop_at(images):
    def progress(done, total):
        if done >= images:
            raise KeyboardInterrupt

    return progress


class TestRefusals:
    def test_a_link_that_leads_out(self, tmp_path, exported):
        with pytest.raises(KeyboardInterrupt):
            data.restore(exported, tmp_path / "back", key=SHARED_AES, only="class0", progress=stop_at(1))
        import shutil

        shutil.rmtree(tmp_path / "back" / "class0", ignore_errors=True)
        (tmp_path / "victim").mkdir()
        (tmp_path / "back" / "class0").symlink_to(tmp_path / "victim")
        with pytest.raises(ExportError, match=r"class0 leads out of .*back, by a link"):
            data.restore(exported, tmp_path / "back", key=SHARED_AES, only="class0")
        assert content(tmp_path / "victim") == {}

    def test_nothing_is_made_where_nothing_can_be_restored(self, tmp_path, photos):
        transform = transforms.from_key(SHARED_AES, unit_pixels=4)
        run_export(tmp_path / "out", dataset=data.open_source(photos), transform=transform)
        with pytest.raises(NotInvertibleError):
            data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)
        assert not (tmp_path / "back").exists()

    def test_a_folder_that_holds_things(self, tmp_path, exported):
        (tmp_path / "back").mkdir()
        (tmp_path / "back" / "mine.txt").write_text("keep")
        with pytest.raises(ExportError, match="back is not empty; choose a new folder"):
            data.restore(exported, tmp_path / "back", key=SHARED_AES)
        assert content(tmp_path / "back") == {"mine.txt": b"keep"}

    def test_an_unfinished_restore_of_something_else(self, tmp_path, exported):
        with pytest.raises(KeyboardInterrupt):
            data.restore(exported, tmp_path / "back", key=SHARED_AES, progress=stop_at(7))
        with pytest.raises(ExportError, match="unfinished restore of something else"):
            data.restore(exported, tmp_path / "back", key=SHARED_AES, only="class1")

    def test_inside_the_export(self, tmp_path, exported):
        with pytest.raises(ExportError, match="overlap"):
            data.restore(exported, exported / "back", key=SHARED_AES)

    def test_the_wrong_key(self, tmp_path, exported):
        with pytest.raises(KeyKindError, match=r"out was made with key [0-9a-f]{12}, the key given is"):
            data.restore(exported, tmp_path / "back", key=make_bundle())
        with pytest.raises(KeyKindError, match="which is in the bundle|the key given is"):
            data.restore(exported, tmp_path / "back", key=SHARED_AES.transform)
        assert not (tmp_path / "back").exists()

    def test_a_changed_manifest(self, tmp_path, exported):
        path = exported / "manifest.json"
        path.write_text(path.read_text().replace('"images": 15', '"images": 16'))
        with pytest.raises(VerificationError, match="the HMACs of .*out are wrong"):
            data.restore(exported, tmp_path / "back", key=SHARED_AES)

    def test_a_damaged_shard(self, tmp_path, exported):
        path = exported / "shard-000001.tar"
        body = bytearray(path.read_bytes())
        body[1000] ^= 1
        path.write_bytes(bytes(body))
        with pytest.raises(VerificationError, match="is damaged"):
            data.restore(exported, tmp_path / "back", key=SHARED_AES)

    def test_units_of_less_than_16_pixels(self, tmp_path, photos):
        transform = transforms.from_key(SHARED_AES, unit_pixels=4)
        run_export(tmp_path / "out", dataset=data.open_source(photos), transform=transform)
        with pytest.raises(NotInvertibleError, match="units of 4 pixels have no inverse"):
            data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)

    def test_a_step_that_nobody_knows(self, tmp_path, photos):
        transform = v2.Compose([v2.Resize((16, 16)), transforms.from_key(SHARED_AES)])
        run_export(tmp_path / "out", dataset=data.open_source(photos), transform=transform)
        with pytest.raises(ExportError, match=r"does not describe well enough to repeat it: Resize.*prepare="):
            data.restore(tmp_path / "out", tmp_path / "back", key=SHARED_AES)

    def test_perturbations(self, tmp_path):
        from torch import nn

        model = nn.Sequential(nn.Flatten(), nn.Linear(256, 10)).eval()
        key = keys.CorrespondenceKey.generate(classes=10)
        transform = transforms.AdversarialEncrypt(model, key, eps=0.5, step_size=0.1, steps=2)
        run_export(tmp_path / "out", key, transform=transform)
        with pytest.raises(NotInvertibleError, match="AdversarialEncrypt depends on a network and cannot be undone"):
            data.restore(tmp_path / "out", tmp_path / "back", key=key)
