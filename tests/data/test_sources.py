import gzip
import hashlib
import io
import pickle
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile

import numpy as np
import PIL.Image
import pytest
import torch
from support import Pictures, Stream, make_image, png, write_folder, write_tar

from torchprotect import data
from torchprotect.data.sources import as_source
from torchprotect.errors import ExportError, SourceError


class TestFolder:
    def test_classes_in_sorted_order(self, tmp_path):
        root = write_folder(tmp_path / "in")
        source = data.open_source(str(root))
        assert len(source) == 12
        assert [source[i].label for i in range(12)] == [0] * 4 + [1] * 4 + [2] * 4
        expected = np.array(PIL.Image.open(root / "class1" / "2.png"))
        assert torch.equal(source[6].image, torch.from_numpy(expected).movedim(-1, 0))
        assert source.name(6) == "class1/2.png"
        assert pickle.loads(pickle.dumps(source))[6].label == 1  # noqa: S301

    def test_agrees_with_torchvision(self, tmp_path):
        from torchvision.datasets import ImageFolder

        root = write_folder(tmp_path / "in")
        (root / "class0" / "deeper").mkdir()
        PIL.Image.new("RGB", (16, 16), "red").save(root / "class0" / "deeper" / "x.JPG", "JPEG")
        theirs, ours = ImageFolder(root), data.open_source(str(root))
        assert sorted(str(path) for path, _ in theirs.samples) == sorted(
            str(root / ours.name(i)) for i in range(len(ours))
        )
        assert {str(root / ours.name(i)): ours[i].label for i in range(len(ours))} == dict(theirs.samples)

    @pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "RGB"])
    def test_modes_that_convert_without_loss(self, tmp_path, mode):
        (tmp_path / "a").mkdir()
        PIL.Image.new(mode, (8, 8)).save(tmp_path / "a" / "x.tif")
        assert data.open_source(str(tmp_path))[0].image.shape == (1 if mode in ("L", "1") else 3, 8, 8)

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "I;16"])
    def test_modes_that_would_lose_information_are_refused(self, tmp_path, mode):
        (tmp_path / "a").mkdir()
        PIL.Image.new(mode, (8, 8)).save(tmp_path / "a" / "x.png")
        with pytest.raises(SourceError, match=r"x\.png.*(transparency or more than 8 bits|alpha channel)"):
            data.open_source(str(tmp_path))[0]

    def test_unreadable_image_is_named(self, tmp_path):
        root = write_folder(tmp_path / "in", classes=1)
        (root / "class0" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
        with pytest.raises(SourceError, match=r"class0/1\.png"):
            data.open_source(str(root))[1]

    def test_outside_programs_are_not_called(self, tmp_path, monkeypatch):
        """Pillow draws EPS with Ghostscript, whatever the file is called."""
        (tmp_path / "a").mkdir()
        body = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
        (tmp_path / "a" / "x.png").write_bytes(body)
        with pytest.raises(SourceError, match="no known image format"):
            data.open_source(str(tmp_path))[0]

    def test_links(self, tmp_path):
        root = write_folder(tmp_path / "in", classes=1)
        (root / "class0" / "linked").symlink_to(write_folder(tmp_path / "other", classes=1) / "class0")
        (root / "class0" / "broken.png").symlink_to(tmp_path / "nowhere.png")
        source = data.open_source(str(root))
        assert len(source) == 9
        broken = [source.name(i) for i in range(9)].index("class0/broken.png")
        with pytest.raises(SourceError, match=r"broken\.png"):
            source[broken]

    def test_empty(self, tmp_path):
        with pytest.raises(SourceError, match="no images"):
            data.open_source(str(tmp_path))


class TestTar:
    @pytest.fixture
    def members(self):
        return {
            f"d/{n:03d}.{kind}": png(make_image(3, 8, 8, seed=n)) if kind == "png" else b"%d\n" % n
            for n in range(6)
            for kind in ("cls", "png", "json")
        }

    @pytest.mark.parametrize("mode", ["w", "w:gz"])
    def test_reads_what_webdataset_reads(self, tmp_path, members, mode):
        import webdataset

        suffix = ".tar.gz" if mode == "w:gz" else ".tar"
        items = list(members.items())
        for shard, part in enumerate((items[:9], items[9:])):
            write_tar(tmp_path / f"s-{shard}{suffix}", dict(part), mode)
        pattern = str(tmp_path / ("s-{0..1}" + suffix))
        source = data.open_source(pattern)
        theirs = list(
            webdataset.WebDataset(pattern, shardshuffle=False, empty_check=False)
            .decode("torchrgb8")
            .to_tuple("__key__", "png", "cls")
        )
        assert len(source) == len(theirs) == 6
        for i, (key, image, label) in enumerate(theirs):
            assert source.name(i) == key
            assert source[i].label == label
            assert torch.equal(source[i].image, image)

    def test_many_shards_do_not_use_up_descriptors(self, tmp_path):
        for n in range(80):
            write_tar(tmp_path / f"{n:03d}.tar", {"x.png": png(make_image(1, 8, 8, seed=n))})
        source = data.open_source(str(tmp_path / "{000..079}.tar"))
        for _ in range(2):
            for n in range(80):
                assert torch.equal(source[n].image, make_image(1, 8, 8, seed=n))
        assert len(source._archives._handles.opened) <= 64

    @pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
    def test_a_program_that_still_holds_a_source_ends_silently(self, tmp_path, suffix):
        path = write_tar(tmp_path / f"x.{suffix}", {"x.png": png(make_image(1, 8, 8))}, f"w:{suffix[4:]}")
        program = (
            "import functools; from torchprotect import data\n"
            "@functools.cache\n"
            f"def source(): return data.open_source({str(path)!r})\n"
            "source()[0]"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert ended.stderr == ""

    def test_labels_are_optional(self, tmp_path):
        write_tar(tmp_path / "x.tar", {"a.png": png(make_image(1, 8, 8))})
        assert data.open_source(str(tmp_path / "x.tar"))[0].label is None

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"a.cls": b"1"}, "holds no image beside a.cls"),
            ({"a.png": b"x", "a.jpg": b"x"}, "two images"),
            ({"a.png": b"x", "a.cls": b"cat"}, "not a class number"),
            ({}, "no images"),
        ],
    )
    def test_refusals(self, tmp_path, members, message):
        with pytest.raises(SourceError, match=message):
            data.open_source(str(write_tar(tmp_path / "x.tar", members)))

    def test_paths_in_a_tar_are_never_followed(self, tmp_path):
        (tmp_path / "passwd.png").write_bytes(png(make_image(1, 8, 8)))
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            body = png(make_image(1, 8, 8, seed=5))
            info = tarfile.TarInfo("../../b.png")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
        source = data.open_source(str(tmp_path / "x.tar"))
        assert len(source) == 1
        assert torch.equal(source[0].image, make_image(1, 8, 8, seed=5))
        assert {p.name for p in tmp_path.iterdir()} == {"passwd.png", "x.tar"}

    def test_truncated(self, tmp_path):
        path = write_tar(tmp_path / "x.tar", {"a.png": png(make_image(3, 64, 64))})
        path.write_bytes(path.read_bytes()[:700])
        with pytest.raises(SourceError, match=r"x\.tar|a in"):
            data.open_source(str(path))[0]

    @pytest.mark.parametrize("cut", ["header", "boundary"])
    def test_a_truncated_tar_is_an_error(self, tmp_path, cut):
        """tarfile takes a bad header, or the end of the file, for the end of the archive."""
        path = write_tar(tmp_path / "x.tar", {f"{n}.png": png(make_image(1, 8, 8, seed=n)) for n in range(6)})
        body = bytearray(path.read_bytes())
        middle = 3 * 1024  # each member has a header and one block
        assert body[middle : middle + 5] == b"3.png"
        if cut == "header":
            body[middle + 150] ^= 1
        path.write_bytes(body if cut == "header" else body[:middle])
        with pytest.raises(SourceError, match="truncated or damaged"):
            data.open_source(str(path))

    def test_hidden_and_info_members_are_skipped(self, tmp_path):
        image = png(make_image(1, 8, 8))
        members = {
            "__info__.json": b"{}",
            "d/.DS_Store": b"x",
            "d/._a.png": b"x",
            ".cls": b"7",
            "d/a.png": image,
            "d/a.cls": b"3",
        }
        source = data.open_source(str(write_tar(tmp_path / "x.tar", members)))
        assert [(source.name(i), source[i].label) for i in range(len(source))] == [("d/a", 3)]

    def test_missing_shard(self, tmp_path):
        write_tar(tmp_path / "0.tar", {"a.png": png(make_image(1, 8, 8))})
        with pytest.raises(SourceError, match=r"1\.tar does not exist \(1 of 2"):
            data.open_source(str(tmp_path / "{0..1}.tar"))


def write_idx(path, array, packed):
    content = struct.pack(">I", 0x800 + array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


class TestSets:
    @pytest.mark.parametrize("packed", [False, True])
    @pytest.mark.parametrize(("scheme", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
    def test_idx(self, tmp_path, scheme, folder, packed):
        raw = tmp_path / folder / "raw"
        raw.mkdir(parents=True)
        for stem, count in (("train", 5), ("t10k", 3)):
            write_idx(raw / f"{stem}-images-idx3-ubyte", make_image(count, 28, 28, seed=count).numpy(), packed)
            write_idx(raw / f"{stem}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8), packed)
        before = sorted(raw.iterdir())
        source, test = data.open_source(f"{scheme}:{tmp_path}"), data.open_source(f"{scheme}:{tmp_path}:test")
        assert (len(source), len(test)) == (5, 3)
        assert torch.equal(source[2].image, make_image(5, 28, 28, seed=5)[2:3])
        assert source[2].label == 2
        assert source.name(2) == f"{scheme}/train/2"
        assert sorted(raw.iterdir()) == before  # nothing is unpacked beside the files

    def test_damaged_idx(self, tmp_path):
        raw = tmp_path / "MNIST" / "raw"
        raw.mkdir(parents=True)
        with pytest.raises(SourceError, match="train-images"):
            data.open_source(f"mnist:{tmp_path}")
        for content in (
            b"",
            b"\0\0\x08\x03\0\0",
            b"\0\0\x08\x01\0\0\0\x01x",
            b"\0\0\x08\x03" + struct.pack(">3I", 2, 2, 2) + b"x",
        ):
            (raw / "train-images-idx3-ubyte").write_bytes(content)
            with pytest.raises(SourceError, match="not an IDX file"):
                data.open_source(f"mnist:{tmp_path}")

    def test_cifar10_must_be_there(self, tmp_path):
        with pytest.raises(SourceError, match="no intact CIFAR-10"):
            data.open_source(f"cifar10:{tmp_path}")

    def test_a_crafted_cifar10_archive_is_never_unpacked(self, tmp_path):
        """A chain of symbolic links leads out of the folder that an archive is unpacked into."""
        (tmp_path / "cifar").mkdir()
        with tarfile.open(tmp_path / "cifar" / "cifar-10-python.tar.gz", "w:gz") as archive:
            for name, target in (("a", "."), ("a/b", ".."), ("a/b/c", "../..")):
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, target
                archive.addfile(link)
            body = tarfile.TarInfo("a/b/c/escaped")
            archive.addfile(body, io.BytesIO())
        with pytest.raises(SourceError, match="not the original CIFAR-10 archive: its MD5 sum"):
            data.open_source(f"cifar10:{tmp_path / 'cifar'}")
        assert not list(tmp_path.rglob("escaped"))

    @pytest.mark.parametrize("packed", [False, True])
    def test_cifar10_goes_through_torchvision(self, tmp_path, monkeypatch, packed):
        """Files of the original's form, whose MD5 sums replace the original's."""
        from torchvision.datasets import CIFAR10

        files = {
            name: pickle.dumps({"data": make_image(2, 3072, seed=n).numpy(), "labels": [n, 9 - n]})
            for n, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"])
        } | {"batches.meta": pickle.dumps({"label_names": [str(n) for n in range(10)]})}
        md5 = {name: hashlib.md5(body).hexdigest() for name, body in files.items()}  # noqa: S324
        for attribute in ("train_list", "test_list"):
            monkeypatch.setattr(CIFAR10, attribute, [[name, md5[name]] for name, _ in getattr(CIFAR10, attribute)])
        monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
        folder = tmp_path / "cifar-10-batches-py"
        folder.mkdir()
        for name, body in files.items():
            (folder / name).write_bytes(body)
        if packed:
            members = {f"cifar-10-batches-py/{name}": body for name, body in files.items()}
            archive = write_tar(tmp_path / "cifar-10-python.tar.gz", members, "w:gz")
            monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())  # noqa: S324
            shutil.rmtree(folder)
        monkeypatch.setattr(tempfile, "mkdtemp", None)  # no plain image is unpacked to a disk
        source, test = data.open_source(f"cifar10:{tmp_path}"), data.open_source(f"cifar10:{tmp_path}:test")
        assert (len(source), len(test)) == (10, 2)
        assert torch.equal(source[3].image, make_image(2, 3072, seed=1)[1].reshape(3, 32, 32))
        assert (source[3].label, source.name(3)) == (8, "cifar10/train/3")


def test_unknown_source(tmp_path):
    with pytest.raises(SourceError, match="neither an image folder nor a .tar pattern"):
        data.open_source(str(tmp_path / "nothing"))


class TestDataset:
    def test_tensors_and_pil(self):
        items = [
            (make_image(3, 8, 8), 2),
            (PIL.Image.new("L", (8, 8)), torch.tensor(1)),
            (make_image(1, 8, 8), np.int64(0)),
        ]
        source = as_source(items)
        assert [source[i].label for i in range(3)] == [2, 1, 0]
        assert [tuple(source[i].image.shape) for i in range(3)] == [(3, 8, 8), (1, 8, 8), (1, 8, 8)]
        assert as_source(source) is source

    def test_iterables_are_referred_to_the_writer(self):
        with pytest.raises(ExportError, match="ShardWriter"):
            as_source(Stream())

    @pytest.mark.parametrize(
        "item", [("image", 1), (make_image(8, 8), 1), (make_image(1, 8, 8), 0.5), (make_image(1, 8, 8), -1), 3]
    )
    def test_items_that_are_no_samples_are_refused(self, item):
        with pytest.raises(SourceError, match="sample"):
            as_source([item])[0]

    def test_labels_may_be_missing(self):
        assert as_source([make_image(1, 8, 8)])[0].label is None
        assert len(as_source(Pictures(7))) == 7
