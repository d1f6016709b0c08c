"""Labels from elsewhere than class folders: members of tars, files beside pictures, one file for all."""

import csv
import io
import json
import os
import pickle
import tarfile

import PIL.Image
import pytest
import torch
from support import SHARED_AES, content, make_bundle, make_image, png, run_export, write_folder, write_tar

from torchprotect import attacks, audit, data, keys, transforms
from torchprotect.data._encode import encode
from torchprotect.data.sources import class_names_of
from torchprotect.errors import (
    ExportError,
    InputRangeError,
    InputTypeError,
    LabelError,
    SourceError,
    VerificationError,
)

UNICODE = ["Ärzte", "猫", "cat", "🦜 parrot", "e\u0301clair", 'a "quoted", name']


def write_flat(root, count=12, size=(16, 16)):
    """Write pictures 00.png, 01.png, .. without class folders, every third one below a folder."""
    (root / "deep" / "er").mkdir(parents=True)
    for n in range(count):
        picture = PIL.Image.fromarray(make_image(*size, 3, seed=n).numpy())
        picture.save(root / ("deep/er" if n % 3 == 0 else ".") / f"{n:02}.png")
    return root


def names_of(source):
    return [source.name(index) for index in range(len(source))]


def labels_of(source):
    labels = [source[index].label for index in range(len(source))]
    assert labels == list(source.known_labels())
    assert [sample.label for sample in source.read(list(range(len(source))))] == labels
    return labels


def numbered_by_hand(found, class_names=None):
    """Return class numbers and names of labels, slowly: names in sorted order."""
    names = class_names or sorted({part for label in found for part in (label if isinstance(label, list) else [label])})
    return [
        tuple(sorted({names.index(part) for part in label})) if isinstance(label, list) else names.index(label)
        for label in found
    ], tuple(names)


def write_csv(path, rows, header=("file_name", "label"), encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_jsonl(path, rows, label="label"):
    path.write_text("".join(json.dumps({"file_name": name, label: value}) + "\n" for name, value in rows))
    return path


def tar_members(labels, extension, to_bytes):
    members = {}
    for n, label in enumerate(labels):
        members[f"d/{n:03}.png"] = png(make_image(3, 16, 16, seed=n))
        members[f"d/{n:03}.{extension}"] = to_bytes(label)
        members[f"d/{n:03}.cls"] = b"not a number: it is not looked at"
    return members


def to_txt(label):
    return "\n".join(label if isinstance(label, list) else [label]).encode() + b"\n"


def to_json(label):
    return json.dumps({"meta": {"label": label}, "similarity": float("nan")}).encode()


EXTENSIONS = pytest.mark.parametrize(
    ("extension", "to_bytes", "wanted"), [("txt", to_txt, "txt"), ("json", to_json, "json:meta.label")]
)
SINGLE = [UNICODE[n % 5] for n in range(12)]
SEVERAL = [[UNICODE[n % 5], UNICODE[5]][: 1 + n % 2] for n in range(12)]


class TestNone:
    def test_flat_folder(self, tmp_path):
        source = data.open_source(write_flat(tmp_path / "in"), labels_from="none")
        by_parts = sorted(tuple(name.split("/")) for name in names_of(source))
        assert [tuple(name.split("/")) for name in names_of(source)] == by_parts
        assert len(source) == 12
        assert labels_of(source) == [None] * 12
        assert class_names_of(source) is None

    def test_class_folders_mean_nothing(self, tmp_path):
        root = write_folder(tmp_path / "in")
        assert names_of(data.open_source(root, labels_from="none")) == names_of(data.open_source(root))

    def test_tars_and_sets(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", tar_members(SINGLE, "txt", to_txt))
        source = data.open_source(path, labels_from="none")
        assert labels_of(source) == [None] * 12
        assert source.left_out == {".cls member beside an image": 12, ".txt member beside an image": 12}

    def test_export(self, tmp_path):
        key = keys.AESKey.generate(image_size=(16, 16), block_size=(4, 4))
        source = data.open_source(write_folder(tmp_path / "in"), labels_from="none")
        result = data.export(source, tmp_path / "out", transform=transforms.from_key(key))
        assert result.class_counts == {}
        assert [label for _, label in data.read(tmp_path / "out")] == [None] * 12

    def test_folder_without_pictures(self, tmp_path):
        (tmp_path / "deep").mkdir()
        with pytest.raises(SourceError, match="holds no images .*at any depth"):
            data.open_source(tmp_path, labels_from="none")


class TestOneFileEach:
    @pytest.mark.parametrize("labels", [SINGLE, SEVERAL])
    @EXTENSIONS
    @pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
    def test_tars(self, tmp_path, labels, extension, to_bytes, wanted, suffix):
        members = tar_members(labels, extension, to_bytes)
        write_tar(tmp_path / f"x{suffix}", members, "w:gz" if suffix.endswith("gz") else "w")
        source = data.open_source(tmp_path / f"x{suffix}", labels_from=wanted)
        expected, names = numbered_by_hand([[x] if labels is SEVERAL and isinstance(x, str) else x for x in labels])
        assert labels_of(source) == expected
        assert source.class_names == names
        assert source.left_out == {".cls member beside an image": 12}

    @pytest.mark.parametrize("labels", [SINGLE, SEVERAL])
    @EXTENSIONS
    def test_files_beside_pictures(self, tmp_path, labels, extension, to_bytes, wanted):
        root = write_flat(tmp_path / "in")
        plain = data.open_source(root, labels_from="none")
        for index, label in enumerate(labels):
            (root / plain.name(index)).with_suffix(f".{extension}").write_bytes(to_bytes(label))
        (root / f"stray.{extension}").write_bytes(to_bytes("stray"))
        source = data.open_source(root, labels_from=wanted)
        expected, names = numbered_by_hand(labels)
        assert labels_of(source) == expected
        assert source.class_names == names
        assert source.left_out == {f".{extension} file": 1}
        assert torch.equal(source[3].image, plain[3].image)

    def test_numbers_are_taken_as_they_are(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", tar_members([7, 0, 7, 10**18 - 1], "json", to_json))
        source = data.open_source(path, labels_from="json:meta.label")
        assert labels_of(source) == [7, 0, 7, 10**18 - 1]
        assert source.class_names is None
        path = write_tar(tmp_path / "y.tar", tar_members(["7", "007", " 12 "], "txt", to_txt))
        assert labels_of(data.open_source(path, labels_from="txt")) == [7, 7, 12]

    def test_digits_in_json_text_are_names(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", tar_members(["10", "9"], "json", to_json))
        source = data.open_source(path, labels_from="json:meta.label")
        assert (labels_of(source), source.class_names) == ([0, 1], ("10", "9"))

    def test_text_with_other_line_ends_and_a_mark(self, tmp_path):
        members = tar_members(["a", "b"], "txt", lambda label: b"\xef\xbb\xbf" + label.encode() + b"\r\n\r\n")
        source = data.open_source(write_tar(tmp_path / "x.tar", members), labels_from="txt")
        assert (labels_of(source), source.class_names) == ([0, 1], ("a", "b"))

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"{", "Expecting property name"),
            (b"[1]", "it is JSON, but a list in place of an object"),
            (b'{"label": 1, "label": 2}', "has a member twice"),
            (b'{"label": 1.5}', "1.5 is neither a class number from 0 up"),
            (b'{"label": true}', "True is neither"),
            (b'{"label": -1}', "-1 is neither"),
            (b'{"label": 1000000000000000000}', "of at most 18 digits"),
            (b'{"label": " "}', "' ' is neither"),
            (b'{"label": {"a": 1}}', "is neither"),
            (b'{"label": [1, [2]]}', r"\[2\] is neither"),
            (b'{"label": "\\ud800"}', "surrogate"),
            (b'{"label": "a"\xff}', "it is not UTF-8"),
            (b"[" * 100_000, "nested too deeply"),
            (b'{"label": %s}' % (b"1" * 5000), "Exceeds the limit|neither"),
            (b'{"label": "a"}' + b" " * (1 << 20), "more than 1,048,576 bytes"),
        ],
    )
    @pytest.mark.parametrize("where", ["tar", "folder"])
    def test_json_that_is_no_label(self, tmp_path, body, message, where):
        image = png(make_image(3, 16, 16))
        if where == "tar":
            spec = write_tar(tmp_path / "x.tar", {"a.png": image, "a.json": body})
        else:
            (spec := tmp_path / "in").mkdir()
            (spec / "a.png").write_bytes(image)
            (spec / "a.json").write_bytes(body)
        with pytest.raises(SourceError, match=rf"a\.json.*({message})"):
            data.open_source(spec, labels_from="json:label")

    def test_field_within_something_else(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", {"a.png": png(make_image(3, 16, 16)), "a.json": b'{"meta": "cat"}'})
        with pytest.raises(
            SourceError, match=r"a\.json in .* holds no label: meta is text, not an object with 'label'"
        ):
            data.open_source(path, labels_from="json:meta.label")

    def test_text_that_is_not_utf8(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", {"a.png": png(make_image(3, 16, 16)), "a.txt": b"caf\xe9"})
        with pytest.raises(SourceError, match=r"a\.txt in .*: it is not UTF-8"):
            data.open_source(path, labels_from="txt")

    def test_numbers_and_names_do_not_mix(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", tar_members([3, "cat"], "json", to_json))
        with pytest.raises(LabelError, match="mix class numbers, such as 3, and names, such as 'cat'"):
            data.open_source(path, labels_from="json:meta.label")

    @pytest.mark.parametrize("wanted", ["json:lable", "txt"])
    def test_no_label_at_all(self, tmp_path, wanted):
        path = write_tar(tmp_path / "x.tar", tar_members(["a", "b"], "json", to_json))
        with pytest.raises(LabelError, match=r"no sample of tar archive x\.tar has a label in .*; take none"):
            data.open_source(path, labels_from=wanted)

    def test_two_labels_for_one_sample(self, tmp_path):
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            for name, body in (("a.png", png(make_image(3, 16, 16))), ("a.txt", b"x"), ("a.txt", b"y")):
                info = tarfile.TarInfo(name)
                info.size = len(body)
                archive.addfile(info, io.BytesIO(body))
        with pytest.raises(SourceError, match="holds two labels"):
            data.open_source(tmp_path / "x.tar", labels_from="txt")

    def test_other_members_that_end_alike_are_not_labels(self, tmp_path):
        members = {"a.png": png(make_image(3, 16, 16)), "a.boxes.json": b"no JSON", "a.json": b'{"label": 2}'}
        assert labels_of(data.open_source(write_tar(tmp_path / "x.tar", members), labels_from="json:label")) == [2]

    def test_a_fifo_beside_a_picture(self, tmp_path):
        root = write_flat(tmp_path / "in")
        os.mkfifo(root / "01.txt")
        with pytest.raises(SourceError, match=r"01\.txt"):
            data.open_source(root, labels_from="txt")

    def test_sources_that_have_no_such_files(self, tmp_path):
        root = write_flat(tmp_path / "in")
        url = f"memory://labels-{os.getpid()}"
        import fsspec

        fsspec.filesystem("memory").put(str(root), url.removeprefix("memory:/"), recursive=True)
        with pytest.raises(SourceError, match=r"for image folder .* write a \.csv or \.jsonl"):
            data.open_source(url, labels_from="txt")
        path = write_csv(
            tmp_path / "l.csv", [(name, name[-5]) for name in names_of(data.open_source(url, labels_from="none"))]
        )
        assert (
            data.open_source(url, labels_from=path).known_labels()
            == data.open_source(root, labels_from=path).known_labels()
        )

    def test_an_index_keeps_class_numbers_only(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", {"a.png": png(make_image(3, 16, 16)), "a.cls": b"3", "a.txt": b"x"})
        with pytest.raises(SourceError, match=r"an index keeps the labels of \.cls members only"):
            data.open_source(path, index=tmp_path / "index", labels_from="txt")
        for wanted, label in (("none", None), (None, 3), (write_csv(tmp_path / "l.csv", [("a", "5")]), 5)):
            assert labels_of(data.open_source(path, index=tmp_path / "index", labels_from=wanted)) == [label]


class TestOneFileForAll:
    @pytest.fixture
    def root(self, tmp_path):
        return write_flat(tmp_path / "in")

    @pytest.fixture
    def names(self, root):
        return names_of(data.open_source(root, labels_from="none"))

    @pytest.mark.parametrize("column", ["file_name", "file", "filename", "name", "path", "image", "key"])
    @pytest.mark.parametrize("label", ["label", "class", "Label"])
    def test_columns(self, root, names, tmp_path, column, label):
        rows = [(n, name, f" {SINGLE[n]} ") for n, name in reversed(list(enumerate(names)))]
        source = data.open_source(root, labels_from=write_csv(tmp_path / "l.csv", rows, ("more", column, label)))
        assert (labels_of(source), source.class_names) == numbered_by_hand(SINGLE)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
    def test_several_in_csv(self, root, names, tmp_path, encoding):
        rows = [(name, " | ".join(label)) for name, label in zip(names, SEVERAL)]
        path = write_csv(tmp_path / "L.CSV", rows, ("file_name", "labels"), encoding)
        source = data.open_source(root, labels_from=path)
        assert (labels_of(source), source.class_names) == numbered_by_hand(SEVERAL)

    @pytest.mark.parametrize(("labels", "field"), [(SINGLE, "label"), (SEVERAL, "labels")])
    def test_jsonl(self, root, names, tmp_path, labels, field):
        path = write_jsonl(tmp_path / "l.jsonl", zip(names, labels), field)
        source = data.open_source(root, labels_from=path)
        assert (labels_of(source), source.class_names) == numbered_by_hand(labels)

    def test_digits_are_class_numbers(self, root, names, tmp_path):
        path = write_csv(tmp_path / "l.csv", [(name, str(n % 11)) for n, name in enumerate(names)])
        source = data.open_source(root, labels_from=path)
        assert labels_of(source) == [n % 11 for n in range(12)]
        assert source.class_names is None
        path = write_csv(tmp_path / "l.csv", [(name, str(n) if n else "none") for n, name in enumerate(names)])
        assert data.open_source(root, labels_from=path).class_names == (*sorted(map(str, range(1, 12))), "none")

    def test_every_source(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", tar_members(SINGLE, "txt", to_txt))
        rows = [(f"d/{n:03}", label) for n, label in enumerate(SINGLE)]
        source = data.open_source(path, labels_from=write_csv(tmp_path / "l.csv", rows, ("key", "label")))
        assert labels_of(source) == numbered_by_hand(SINGLE)[0]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"", "is empty; its first line has the names of the columns"),
            (b"file_name,label\n", "is empty: it has no rows"),
            (b"label\nx\n", "has no column for the name; exactly one must be called file_name, .*there are: label"),
            (b"file_name\nx\n", "has no column for the label; exactly one must be called label, class, labels"),
            (b"file_name,path,label\n", "has several columns for the name, file_name and path"),
            (b"file_name,class,label\n", "has several columns for the label, label and class"),
            (b"file_name,label,label\n", "has two columns 'label'"),
            (b"file_name,label\n01.png,a,b\n", "line 2, has 3 cells in place of 2"),
            (b'file_name,label\n01.png,"a"b\n', "line 2, has no proper CSV"),
            (b'file_name,label\n01.png,"a\n', "no proper CSV"),
            (b"file_name,labels\n01.png,a||b\n", r"line 2, has nothing between two \|"),
            (b"file_name,label\n01.png,caf\xe9\n", "is not UTF-8"),
            (b"file_name,label\n01.png,\n02.png, \n", r"no sample of image folder in has a label in .*l\.csv"),
            (
                b"file_name,label\n1.png,a\nb/01.png,b\n",
                r"names 2 samples not in image folder in, such as '1\.png' in line 2; .* called '01\.png'",
            ),
            (b"file_name,label\n01.png,a\n02.png,b\n01.png,a\n", r"1 sample more than once, .* '01\.png' in line 4"),
            (b"file_name,label\n01.png," + b"1" * 19, "has more than 18 digits"),
        ],
    )
    def test_bad_csv(self, root, tmp_path, body, message):
        (tmp_path / "l.csv").write_bytes(body)
        with pytest.raises((SourceError, LabelError), match=message):
            data.open_source(root, labels_from=tmp_path / "l.csv")

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b"", "is empty: it has no rows"),
            (b"\n{\n", "line 2, has no row"),
            (b"[1]\n", "line 1, has no row: it is JSON, but a list"),
            (b'{"file_name": "01.png"}\n', "line 1, has no field for the label"),
            (b'{"file_name": 1, "label": "a"}\n', "line 1, has a 'file_name' that is not text"),
            (b'{"file_name": "01.png", "label": ["a"]}\n', "a list in 'label'; a field of several labels"),
            (b'{"file_name": "01.png", "labels": "a"}\n', "no list in 'labels'; a field of one label"),
            (b'{"file_name": "01.png", "label": 1.0}\n', "a label that is none: 1.0 is neither"),
            (b'{"file_name": "01.png", "label": 1, "label": 2}\n', "an object has a member twice"),
            (b'{"file_name": "01.png", "label": 1}\n{"file_name": "02.png", "label": "a"}\n', "mix class numbers"),
            (b'{"file_name": "01.png", "label": null}\n', "no sample of image folder in has a label"),
            (b'{"file_name": "\xff.png", "label": 1}\n', "is not UTF-8"),
        ],
    )
    def test_bad_jsonl(self, root, tmp_path, body, message):
        (tmp_path / "l.jsonl").write_bytes(body)
        with pytest.raises((SourceError, LabelError), match=message):
            data.open_source(root, labels_from=tmp_path / "l.jsonl")

    def test_a_file_that_is_not_there(self, root, tmp_path):
        with pytest.raises(SourceError, match="the file with the labels, does not exist"):
            data.open_source(root, labels_from=tmp_path / "l.csv")
        (tmp_path / "l.csv").mkdir()
        with pytest.raises(SourceError, match=r"l\.csv"):
            data.open_source(root, labels_from=tmp_path / "l.csv")

    def test_a_name_of_several_samples(self, tmp_path):
        for n in range(2):
            write_tar(
                tmp_path / f"{n}.tar",
                {"a.png": png(make_image(3, 16, 16, seed=n)), "b.png": png(make_image(3, 16, 16))},
            )
        with pytest.raises(
            SourceError, match=r"labels 'a', a name that several samples of tar archives 0\.tar and 1 more"
        ):
            data.open_source(tmp_path / "{0..1}.tar", labels_from=write_csv(tmp_path / "l.csv", [("a", "x")]))

    def test_images_that_are_left_out(self, root, names, tmp_path):
        """They stop the export before its plan, or are skipped and named."""
        path = write_csv(
            tmp_path / "l.csv", [(name, "ab"[n % 2]) for n, name in enumerate(names) if n not in (4, 7, 9)]
        )
        source = data.open_source(root, labels_from=path)
        message = rf"3 of 12 images have no label, such as .*{names[4]}; label all of them or none"
        with pytest.raises(LabelError, match=message):
            run_export(tmp_path / "out", make_bundle(), source)
        assert not (tmp_path / "out" / "plan.json").exists()
        result = run_export(tmp_path / "out", make_bundle(), source, on_error="skip")
        assert sorted(result.skipped) == sorted(names[n] for n in (4, 7, 9))
        assert result.images == 9


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ("", InputRangeError),
        ("json:", InputRangeError),
        ("json:a..b", InputRangeError),
        ("labels.tsv", InputRangeError),
        ("cls", InputRangeError),
        (3, InputTypeError),
    ],
)
def test_settings_that_mean_nothing(tmp_path, given, error):
    with pytest.raises(error, match="labels_from must be"):
        data.open_source(write_flat(tmp_path / "in"), labels_from=given)


class TestClassNames:
    def test_a_split_that_lacks_a_class(self, tmp_path):
        whole = data.open_source(write_folder(tmp_path / "train"))
        root = write_folder(tmp_path / "val")
        for path in (root / "class1").iterdir():
            path.unlink()
        source = data.open_source(root, class_names=whole.class_names)
        assert sorted(set(labels_of(source))) == [0, 2]
        assert source.class_names == whole.class_names
        (root / "class1").rmdir()
        assert labels_of(data.open_source(root, class_names=whole.class_names)) == labels_of(source)
        result = run_export(tmp_path / "out", make_bundle(), source)
        assert result.class_counts == {"class0": 4, "class1": 0, "class2": 4}

    def test_their_order_is_kept(self, tmp_path):
        root = write_folder(tmp_path / "in")
        source = data.open_source(root, class_names=["class2", "spare", "class0", "class1"])
        assert labels_of(source) == [2] * 4 + [3] * 4 + [0] * 4

    @pytest.mark.parametrize("wanted", [None, "file"])
    def test_a_class_that_is_not_among_them(self, tmp_path, wanted):
        root = write_folder(tmp_path / "in")
        if wanted:
            wanted = write_csv(tmp_path / "l.csv", [(n, n[:6]) for n in names_of(data.open_source(root))])
        with pytest.raises(LabelError, match="class 'class1' and 1 more are not among the 2 class names"):
            data.open_source(root, labels_from=wanted, class_names=["class0", "dog"])

    def test_numbers_are_places_in_the_list(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", {"a.png": png(make_image(3, 16, 16)), "a.cls": b"1"})
        source = data.open_source(path, class_names=["cat", "dog"])
        assert (labels_of(source), source.class_names) == ([1], ("cat", "dog"))
        with pytest.raises(LabelError, match=r"class 1 lies outside the class names, which are those of 0\.\.0"):
            data.open_source(path, class_names=["cat"])
        digits = write_csv(tmp_path / "l.csv", [("a", "1")])
        assert labels_of(data.open_source(path, labels_from=digits, class_names=["cat", "dog"])) == [1]
        assert labels_of(data.open_source(path, labels_from=digits, class_names=["1", "0"])) == [0]

    @pytest.mark.parametrize(
        ("names", "error", "message"),
        [
            ("ab", InputTypeError, "list of texts"),
            ([1], InputTypeError, "list of texts"),
            ([], InputRangeError, "empty"),
            (["a", "b", "a"], InputRangeError, "has 'a' 2 times"),
        ],
    )
    def test_what_is_no_list_of_names(self, tmp_path, names, error, message):
        with pytest.raises(error, match=message):
            data.open_source(write_folder(tmp_path / "in"), class_names=names)

    def test_none_has_no_names(self, tmp_path):
        with pytest.raises(InputRangeError, match="leave them out"):
            data.open_source(write_folder(tmp_path / "in"), labels_from="none", class_names=["a"])


class Several:
    """A source of the user's own: each image has a tuple of labels, known only when it is read."""

    def __init__(self, inner, labels, **members):
        self._inner, self._labels = inner, labels
        self.folders, self.left_out = (), inner.left_out
        self.__dict__.update(members)
        for name in ("name", "locate", "listing", "content"):
            setattr(self, name, getattr(inner, name))

    def __len__(self):
        return len(self._inner)

    def __getitem__(self, index):
        return self._inner[index]._replace(label=self._labels[index])


class TestSeveral:
    @pytest.fixture
    def source(self, tmp_path):
        root = write_flat(tmp_path / "in")
        labels = [["a", "b", "c"][: n % 4] for n in range(12)]
        names = names_of(data.open_source(root, labels_from="none"))
        return data.open_source(root, labels_from=write_jsonl(tmp_path / "l.jsonl", zip(names, labels), "labels"))

    def original_labels(self, out, source, key):
        """Return the labels that each image should have, by its id."""
        from torchprotect.data.keyed import sample_id

        subkey = key.subkey("id")
        return {
            sample_id(subkey, source.name(n), n, source[n].image).hex(): source.known_labels()[n]
            for n in range(len(source))
        }

    def test_members_manifest_and_reading(self, tmp_path, source):
        import webdataset

        key = SHARED_AES
        result = run_export(tmp_path / "out", key, source)
        assert result.class_counts == {"a": 9, "b": 6, "c": 3}
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
        plan = json.loads((tmp_path / "out" / "plan.json").read_bytes())
        assert manifest["classes"] == plan["classes"] == 10
        assert manifest["labels"] == 3
        assert data.verify(tmp_path / "out", key).images == 12
        plain = self.original_labels(tmp_path / "out", source, key)
        pattern = str(tmp_path / "out" / "shard-{000000..000001}.tar")
        theirs = list(webdataset.WebDataset(pattern, shardshuffle=False).decode().to_tuple("__key__", "json"))
        ours = list(data.read(tmp_path / "out"))
        assert len(theirs) == len(ours) == 12
        for (key_of, written), (_, row) in zip(theirs, ours):
            assert written == sorted(int(key.labels.labels[number]) for number in plain[key_of])
            assert row.dtype == torch.int64
            assert row.tolist() == [int(number in written) for number in range(10)]

    def test_batches(self, tmp_path, source):
        run_export(tmp_path / "out", SHARED_AES, source)
        _, labels = next(iter(torch.utils.data.DataLoader(data.read(tmp_path / "out"), batch_size=5)))
        assert labels.shape == (5, 10)

    @pytest.mark.parametrize(("names", "expected"), [(None, 3), (["a", "b", "c", "d", "e"], 5)])
    def test_number_of_classes_without_a_map(self, tmp_path, source, names, expected):
        source = data.open_source(tmp_path / "in", labels_from=tmp_path / "l.jsonl", class_names=names)
        key = keys.AESKey.generate(image_size=(16, 16), block_size=(4, 4))
        data.export(source, tmp_path / "out", transform=transforms.from_key(key))
        assert {row.numel() for _, row in data.read(tmp_path / "out")} == {expected}

    def test_same_bytes_with_workers_and_after_an_interruption(self, tmp_path, source):
        undisturbed, workers, resumed = (tmp_path / name for name in ("a", "b", "c"))
        run_export(undisturbed, SHARED_AES, source, shard_size=3)
        run_export(workers, SHARED_AES, source, shard_size=3, workers=2)

        def stop(done, total):
            if done >= 6:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run_export(resumed, SHARED_AES, source, shard_size=3, progress=stop)
        assert not (resumed / "manifest.json").exists()
        assert 0 < run_export(resumed, SHARED_AES, source, shard_size=3).made < 4
        assert content(undisturbed) == content(workers) == content(resumed)
        (resumed / "shard-000001.tar").unlink()
        assert run_export(resumed, SHARED_AES, source, shard_size=3).made == 1
        assert content(undisturbed) == content(resumed)

    def test_an_owner_file_that_is_made_again(self, tmp_path, source):
        run_export(tmp_path / "out", SHARED_AES, source)
        before = content(tmp_path / "out")
        (tmp_path / "out" / "owner.sealed").unlink()
        run_export(tmp_path / "out", SHARED_AES, source)
        assert content(tmp_path / "out") == before

    def test_sealed(self, tmp_path, source):
        pytest.importorskip("pyrage")
        from torchprotect.envelope import generate_identity

        recipient = generate_identity(tmp_path / "identity")
        run_export(tmp_path / "open", SHARED_AES, source)
        run_export(tmp_path / "sealed", SHARED_AES, source, recipients=[recipient])
        opened = data.read(tmp_path / "sealed", identity=tmp_path / "identity")
        for (_, one), (_, other) in zip(data.read(tmp_path / "open"), opened):
            assert torch.equal(one, other)
        assert json.loads((tmp_path / "sealed" / "manifest.json").read_bytes())["classes"] == 10

    @pytest.mark.parametrize(
        "body", [b"[1,1]", b"[2,1]", b"[10]", b"[-1]", b"[1, 2]", b"[true]", b"[1.0]", b"1", b"{}", b"[", b"", b"[01]"]
    )
    def test_reading_is_strict(self, tmp_path, body):
        out, image = tmp_path / "out", next(encode(make_image(1, 1, 16, 16)))
        run_export(out)
        write_shard(out, {"ab" * 16 + ".png": image, "ab" * 16 + ".json": body}, classes=10)
        with pytest.raises(VerificationError, match="is not a list of ascending class numbers behind its image"):
            list(data.read(out, verify=False))

    @pytest.mark.parametrize(("kind", "classes"), [("json", None), ("cls", 10)])
    def test_members_of_the_other_kind(self, tmp_path, kind, classes):
        out, image = tmp_path / "out", next(encode(make_image(1, 1, 16, 16)))
        run_export(out)
        write_shard(out, {"ab" * 16 + ".png": image, f"{'ab' * 16}.{kind}": b"1"}, classes=classes)
        with pytest.raises(VerificationError, match=r"is not ID\.png, ID\.npy or|more than such a member can have"):
            list(data.read(out, verify=False))

    @pytest.mark.parametrize("classes", [0, 10**9, True, "3"])
    def test_a_manifest_with_another_number_of_classes(self, tmp_path, classes):
        run_export(tmp_path / "out")
        write_shard(tmp_path / "out", {}, classes=classes)
        with pytest.raises(VerificationError, match="damaged: classes"):
            list(data.read(tmp_path / "out"))

    def test_too_many_classes(self, tmp_path, source):
        names = names_of(source)
        rows = [(name, [n, 2_000_000]) for n, name in enumerate(names)]
        source = data.open_source(tmp_path / "in", labels_from=write_jsonl(tmp_path / "n.jsonl", rows, "labels"))
        key = keys.AESKey.generate(image_size=(16, 16), block_size=(4, 4))
        with pytest.raises(LabelError, match="at most 1,000,000 classes, but there are 2,000,001"):
            data.export(source, tmp_path / "out", transform=transforms.from_key(key))

    def test_a_perturbation_needs_one_label(self, tmp_path, source):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 3))
        key = keys.CorrespondenceKey.generate(classes=3)
        perturb = transforms.AdversarialEncrypt(network, key, eps=0.5, step_size=0.1, steps=1)
        message = "12 of 12 images .* has several labels, but a perturbation aims at the target of one"
        with pytest.raises(LabelError, match=message):
            data.export(source, tmp_path / "out", transform=perturb)
        free = transforms.AdversarialEncrypt(network, key, eps=0.5, step_size=0.1, steps=1, target_source="predicted")
        data.export(source, tmp_path / "out", transform=free)
        assert next(iter(data.read(tmp_path / "out")))[1].shape == (3,)

    def test_a_label_map_of_another_size(self, tmp_path, source):
        larger = "the key renames 10 classes, the source has 3"
        assert any(larger in note for note in run_export(tmp_path / "a", SHARED_AES, source).notes)
        key = SHARED_AES.transform
        smaller = keys.KeyBundle(key, None, keys.LabelKey.generate(classes=2))
        with pytest.raises(LabelError, match=r"3 of 12 images .*class 2, 'c', of .* the label map.* 0\.\.1"):
            run_export(tmp_path / "b", smaller, source)

    def test_a_source_of_the_users_own(self, tmp_path, source):
        labels = source.known_labels()
        run_export(tmp_path / "a", SHARED_AES, source)
        run_export(tmp_path / "b", SHARED_AES, Several(source, labels))
        assert content(tmp_path / "a")["shard-000000.tar"] == content(tmp_path / "b")["shard-000000.tar"]
        key = SHARED_AES.transform
        with pytest.raises(LabelError, match="how many classes there are is not known"):
            data.export(Several(source, labels), tmp_path / "c", transform=transforms.from_key(key))
        for wrong in ((2, 0), (1, 1), (3,), (True,)):
            own = Several(source, [wrong, *labels[1:]], class_names=("a", "b", "c"))
            with pytest.raises(LabelError, match=r"which are not class numbers in 0\.\.2 in ascending order"):
                data.export(own, tmp_path / "c", transform=transforms.from_key(key))
        mixed = Several(source, [*labels[:5], 1, *labels[6:]], class_names=("a", "b", "c"))
        with pytest.raises(LabelError, match="has one label, but others have a tuple"):
            data.export(mixed, tmp_path / "d", transform=transforms.from_key(key))

    def test_audit_metadata_and_croissant(self, tmp_path, source):
        key = SHARED_AES
        run_export(tmp_path / "out", key, source)
        scan = attacks.metadata_scan(tmp_path / "out")
        found = {finding.topic: finding for finding in scan.findings}
        assert found["labels"].count == 3
        run_export(tmp_path / "single")
        usual = {finding.topic: finding for finding in attacks.metadata_scan(tmp_path / "single").findings}
        assert found["unexpected"] == usual["unexpected"]
        assert found["documents"] == usual["documents"]
        document = data.croissant_metadata(tmp_path / "out")
        assert [each["includes"] for each in document["distribution"] if each["@type"] == "cr:FileSet"] == [
            "*.png",
            "*.json",
        ]

    def test_audit(self, tmp_path):
        root = write_flat(tmp_path / "in", count=24)
        rows = [
            (name, ["a", "b"][: n % 3]) for n, name in enumerate(names_of(data.open_source(root, labels_from="none")))
        ]
        source = data.open_source(root, labels_from=write_jsonl(tmp_path / "l.jsonl", rows, "labels"))
        run_export(tmp_path / "out", SHARED_AES, source)
        for key in (SHARED_AES, None):
            report = audit.run(tmp_path / "out", plain=source, key=key, fast=True)
            assert "metadata_scan" in {finding.attack for finding in report.findings}
            assert "direct_reidentification" in {each.attack for each in report.not_run}  # it learns one class an image


def write_shard(out, members, classes):
    """Put other samples into the first shard of an export, and the number of classes into its manifest."""
    from torchprotect.data._tar import TarStream

    manifest = json.loads((out / "manifest.json").read_bytes())
    buffer = io.BytesIO()
    stream = TarStream(buffer)
    stream.write(list(members.items()))
    stream.finish()
    (out / "shard-000000.tar").write_bytes(buffer.getvalue())
    manifest["shards"][0] |= {"size": len(buffer.getvalue()), "count": 1}
    if classes is not None:
        manifest["classes"] = classes
    (out / "manifest.json").write_text(json.dumps(manifest))


class TestWrapper:
    def test_pickles_with_headers_and_preparation(self, tmp_path):
        root = write_folder(tmp_path / "in", size=(24, 20))
        path = write_csv(tmp_path / "l.csv", [(name, name[5]) for name in names_of(data.open_source(root))])
        source = data.open_source(root, labels_from=path)
        again = pickle.loads(pickle.dumps(source))  # noqa: S301
        assert labels_of(again) == [0] * 4 + [1] * 4 + [2] * 4
        assert again.header(3) == data.open_source(root).header(3)
        prepared = again.prepared(data.Preparation(resize=(16, 16)))
        assert prepared[5].image.shape == (3, 16, 16)
        assert prepared.header(5).shape == (3, 16, 16)
        assert labels_of(prepared) == labels_of(source)
        assert again.locate(2) == str(root / again.name(2))
        assert again.folders == (root,)
        with pytest.raises(IndexError):
            again[12]
        assert again[-1].label == 2

    def test_same_bytes_as_class_folders(self, tmp_path):
        """Shards do not depend on where labels come from."""
        root = write_folder(tmp_path / "in")
        path = write_csv(tmp_path / "l.csv", [(name, name[:6]) for name in names_of(data.open_source(root))])
        run_export(tmp_path / "a", SHARED_AES, data.open_source(root))
        run_export(tmp_path / "b", SHARED_AES, data.open_source(root, labels_from=path), workers=2)
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_another_label_makes_its_shard_again(self, tmp_path):
        root = write_folder(tmp_path / "in")
        rows = [[name, name[:6]] for name in names_of(data.open_source(root))]

        def stop(done, total):
            if done == total:
                raise KeyboardInterrupt

        out, path = tmp_path / "out", tmp_path / "l.csv"
        with pytest.raises(KeyboardInterrupt):
            source = data.open_source(root, labels_from=write_csv(path, rows))
            run_export(out, SHARED_AES, source, shard_size=4, progress=stop)
        rows[0][1] = "class2"
        source = data.open_source(root, labels_from=write_csv(path, rows))
        assert run_export(out, SHARED_AES, source, shard_size=4).made < 3  # its shard, and the one in hand
        run_export(tmp_path / "whole", SHARED_AES, source, shard_size=4)
        assert content(out) == content(tmp_path / "whole")

    def test_tar_labels_do_not_depend_on_each_other(self, tmp_path):
        """A new class elsewhere leaves the input of other shards as it is, unless their numbers change."""
        lines = []
        for extra in ("z", "y"):
            path = write_tar(tmp_path / f"{extra}.tar", tar_members([extra, "a", "b"], "txt", to_txt))
            lines.append(list(data.open_source(path, labels_from="txt").content([1, 2])))
        assert lines[0] == lines[1]

    def test_names_are_kept_for_the_owner(self, tmp_path):
        from torchprotect.data.manifest import digest
        from torchprotect.data.owner import open_owner

        root = write_flat(tmp_path / "in")
        names = names_of(data.open_source(root, labels_from="none"))
        source = data.open_source(root, labels_from=write_jsonl(tmp_path / "l.jsonl", zip(names, SINGLE)))
        run_export(tmp_path / "out", SHARED_AES, source)
        plan = json.loads((tmp_path / "out" / "plan.json").read_bytes())
        owner = open_owner((tmp_path / "out" / "owner.sealed").read_bytes(), SHARED_AES, digest(plan), "owner.sealed")
        assert owner.class_names == tuple(sorted(set(SINGLE)))
        assert owner.source == "image folder in"
        again = data.open_source(root, labels_from=tmp_path / "l.jsonl", class_names=owner.class_names)
        assert again.known_labels() == source.known_labels()


def test_counts_of_classes(tmp_path):
    assert run_export(tmp_path / "a", SHARED_AES).class_counts == {}  # a data set given in Python tells nothing before
    result = run_export(tmp_path / "b", SHARED_AES, data.open_source(write_folder(tmp_path / "in")))
    assert list(result.class_counts.items()) == [("class0", 4), ("class1", 4), ("class2", 4)]
    path = write_tar(tmp_path / "x.tar", tar_members([7, 0, 7], "json", to_json))
    result = run_export(tmp_path / "c", SHARED_AES, data.open_source(path, labels_from="json:meta.label"))
    assert list(result.class_counts.items()) == [("0", 1), ("7", 2)]


def test_an_unfinished_export_without_labels_has_another_plan_than_one_with_several(tmp_path):
    root = write_flat(tmp_path / "in")
    names = names_of(data.open_source(root, labels_from="none"))
    key = SHARED_AES.transform
    plain = transforms.from_key(key)
    data.export(data.open_source(root, labels_from="none"), tmp_path / "out", transform=plain)
    source = data.open_source(
        root, labels_from=write_jsonl(tmp_path / "l.jsonl", [(n, ["a"]) for n in names], "labels")
    )
    with pytest.raises(ExportError, match="another plan: classes was None, is 1"):
        data.export(source, tmp_path / "out", transform=plain)
