"""Sources follow, count or refuse everything they find; nothing is silently dropped or misread."""

import gzip
import io
import os
import struct
import tarfile
import zlib
from collections import Counter

import numpy as np
import PIL.Image
import pytest
import torch
from support import Pictures, make_bundle, make_image, png, run_export, write_folder, write_tar

from torchprotect import data, transforms
from torchprotect.data.sources import as_source
from torchprotect.errors import ExportError, KeySizeError, LabelError, SourceError

ORDER = make_bundle("permutation")
IMAGE = png(make_image(1, 16, 16))


def open_tar(path, members, mode="w"):
    return data.open_source(str(write_tar(path, members, mode)))


def labels_of(source):
    return [source[i].label for i in range(len(source))]


def add(archive, name, body=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(body)
    archive.addfile(info, io.BytesIO(body))


class TestTarMembers:
    def test_hard_links_are_followed(self, tmp_path):
        """GNU tar writes a file with several names once, and then links to it: here, equal labels."""
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            for n in range(20):
                add(archive, f"./{n:02}.png", png(make_image(1, 8, 8, seed=n)))
                if n < 2:
                    add(archive, f"./{n:02}.cls", b"%d" % (n + 3))
                else:
                    add(archive, f"./{n:02}.cls", kind=tarfile.LNKTYPE, link=f"./{n % 2:02}.cls")
        source = data.open_source(str(tmp_path / "x.tar"))
        assert labels_of(source) == [3 + n % 2 for n in range(20)]

    @pytest.mark.parametrize("suffix", [".tar", ".tgz"])
    def test_concatenated_archives_are_all_read(self, tmp_path, suffix):
        mode = "w" if suffix == ".tar" else "w:gz"
        for n in range(3):
            write_tar(
                tmp_path / f"{n}{suffix}", {f"{n}.png": png(make_image(1, 8, 8, seed=n)), f"{n}.cls": b"%d" % n}, mode
            )
        joined = tmp_path / f"joined{suffix}"
        joined.write_bytes(b"".join((tmp_path / f"{n}{suffix}").read_bytes() for n in range(3)))
        source = data.open_source(str(joined))
        assert [source.name(i) for i in range(len(source))] == ["0", "1", "2"]
        assert labels_of(source) == [0, 1, 2]
        assert torch.equal(source[2].image, make_image(1, 8, 8, seed=2))

    def test_members_of_contiguous_type_are_regular_files(self, tmp_path):
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            add(archive, "a.png", IMAGE, tarfile.CONTTYPE)
            add(archive, "a.cls", b"4", tarfile.CONTTYPE)
        assert labels_of(data.open_source(str(tmp_path / "x.tar"))) == [4]

    @pytest.mark.parametrize(
        ("kind", "link", "message"),
        [
            (tarfile.SYMTYPE, "b.png", r"member a\.png of .*x\.tar is a symbolic link; .*--dereference"),
            (tarfile.LNKTYPE, "b.png", r"member a\.png of .*x\.tar is a hard link to b\.png, which does not precede"),
            (tarfile.CHRTYPE, "", r"member a\.png of .*x\.tar is of type '3'"),
            (b"Z", "", r"member a\.png of .*x\.tar is of type 'Z'"),
        ],
    )
    def test_members_that_are_not_regular_files_are_refused(self, tmp_path, kind, link, message):
        with tarfile.open(tmp_path / "x.tar", "w") as archive:
            add(archive, "a.png", kind=kind, link=link)
            add(archive, "b.png", IMAGE)
        with pytest.raises(SourceError, match=message):
            data.open_source(str(tmp_path / "x.tar"))

    @pytest.mark.parametrize(
        ("members", "message"),
        [
            ({"a.png": IMAGE, "a.cls": b"1", "a.label.cls": b"2"}, r"two labels, a\.cls and a\.label\.cls"),
            ({"a.v1.png": IMAGE, "a.v2.png": IMAGE}, r"two images, a\.v1\.png and a\.v2\.png.*up to the first dot"),
            (
                {"a.png": IMAGE, "b.png": IMAGE, "a.cls": b"1", "b.cls": b"2"},
                r"sample a .*no image beside a\.cls.*neighb",
            ),
            ({"a.png": IMAGE, "a.cls": b"1" * 40}, r"a\.cls in .* is not a class number"),
        ],
    )
    def test_the_member_that_breaks_a_rule_is_named(self, tmp_path, members, message):
        with pytest.raises(SourceError, match=message):
            open_tar(tmp_path / "x.tar", members)

    def test_extensions_of_several_parts(self, tmp_path):
        source = open_tar(tmp_path / "x.tar", {"a.input.png": IMAGE, "a.label.cls": b"5"})
        assert (source.name(0), labels_of(source)) == ("a", [5])

    def test_members_that_are_no_samples_are_counted(self, tmp_path):
        members = {"README.md": b"x", "LICENSE": b"x", "d/._a.png": b"x", "__info__.json": b"{}"}
        members |= {
            f"{n}.{kind}": body for n in range(3) for kind, body in (("png", IMAGE), ("cls", b"1"), ("json", b"{}"))
        }
        source = open_tar(tmp_path / "x.tar", {**members, "0a.txt": b"x"})
        assert len(source) == 3
        assert source.left_out == {
            "group of members without image and label": 3,
            "member without an extension": 1,
            "hidden member": 1,
            ".json member beside an image": 3,
        }

    def test_names_may_begin_with_underscores(self, tmp_path):
        """webdataset takes a whole name of this form for its own, with an extension it is a sample."""
        members = {
            f"{key}.{kind}": body for key in ("__a__", "d/__b__") for kind, body in (("png", IMAGE), ("cls", b"1"))
        }
        assert len(open_tar(tmp_path / "x.tar", members)) == 2

    def test_hidden_folders_in_a_tar_are_left_out(self, tmp_path):
        members = {f"{folder}a.png": IMAGE for folder in ("", "__MACOSX/", ".git/", "./b/")}
        source = open_tar(tmp_path / "x.tar", members)
        assert [source.name(i) for i in range(len(source))] == ["a", "./b/a"]
        assert source.left_out == {"hidden member": 2}

    def test_a_missing_label_is_named(self, tmp_path):
        members = {}
        for n in range(40):
            members[f"{n:02}.png"] = png(make_image(1, 16, 16, seed=n))
            if n != 17:
                members[f"{n:02}.cls"] = b"1"
        source = open_tar(tmp_path / "x.tar", members)
        with pytest.raises(LabelError, match=r"1 of 40 images has no label, such as 17 in .*x\.tar"):
            run_export(tmp_path / "out", ORDER, source)
        assert not (tmp_path / "out").exists()
        result = run_export(tmp_path / "out", ORDER, source, on_error="skip")
        assert (result.images, result.skipped) == (39, ("17",))


class TestAbsurdTars:
    @pytest.mark.parametrize("size", [2**62, 2**80, -1, -(2**40)])
    @pytest.mark.parametrize(
        "kind", [tarfile.REGTYPE, tarfile.GNUTYPE_SPARSE, tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE]
    )
    def test_sizes(self, tmp_path, size, kind):
        info = tarfile.TarInfo("a.png")
        info.type = kind
        header = bytearray(info.tobuf())
        header[124:136] = b"\x80" + size.to_bytes(11, "big") if size >= 0 else size.to_bytes(12, "big", signed=True)
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header)
        (tmp_path / "x.tar").write_bytes(bytes(header) + bytes(1024))
        with pytest.raises(SourceError):
            data.open_source(str(tmp_path / "x.tar"))

    @pytest.mark.parametrize(
        "headers",
        [
            {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "x"},
            {"GNU.sparse.map": "0,9" * 99, "GNU.sparse.size": "9"},
            {"size": str(2**70)},
            {"size": "-5"},
        ],
    )
    def test_extended_headers(self, tmp_path, headers):
        with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
            add(archive, "a.png", IMAGE)
        with pytest.raises(SourceError):
            data.open_source(str(tmp_path / "x.tar"))[0]

    def test_endless_numbers_in_headers(self, tmp_path):
        """tarfile searches extended headers in quadratic time."""
        info = tarfile.TarInfo("x")
        info.type, info.size = tarfile.XHDTYPE, 60_000
        (tmp_path / "x.tar").write_bytes(info.tobuf() + b"1" * 60_000 + bytes(4096))
        with pytest.raises(SourceError, match="a number of 64 or more digits"):
            data.open_source(str(tmp_path / "x.tar"))

    def test_endless_global_headers(self, tmp_path):
        headers = {f"k{n}": "v" for n in range(101)}
        with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
            add(archive, "a.png", IMAGE)
        with pytest.raises(SourceError, match="too many global records"):
            data.open_source(str(tmp_path / "x.tar"))

    def test_an_archive_that_unpacks_to_a_thousand_times_its_size(self, tmp_path):
        with gzip.open(tmp_path / "x.tgz", "wb") as file:
            for _ in range(100):
                file.write(bytes(1 << 20))
        with pytest.raises(SourceError, match="unpacks to over 100 times its size"):
            data.open_source(str(tmp_path / "x.tgz"))

    def test_shards_that_are_not_regular_files(self, tmp_path):
        os.mkfifo(tmp_path / "x.tar")
        with pytest.raises(SourceError, match="not a regular file"):
            data.open_source(str(tmp_path / "x.tar"))


class TestFolders:
    @pytest.fixture
    def root(self, tmp_path):
        return write_folder(tmp_path / "in", classes=2, each=3)

    def test_metadata_files_of_systems_and_tools_are_left_out_and_counted(self, root):
        for folder in (".git", ".ipynb_checkpoints", "__MACOSX", "class0/.thumbs"):
            (root / folder).mkdir()
            (root / folder / "x.png").write_bytes(IMAGE)
        (root / "class0" / "._0.png").write_bytes(b"\0\5\x16\7")
        (root / "class0" / "notes.txt").write_text("x")
        (root / "cover.png").write_bytes(IMAGE)
        source = data.open_source(str(root))
        assert labels_of(source) == [0, 0, 0, 1, 1, 1]
        assert source.left_out == {
            "hidden file or folder": 4,
            "__MACOSX folder": 1,
            ".txt file in the class folders": 1,
            "file outside the class folders": 1,
        }

    @pytest.mark.parametrize("other", [None, "photo.heic"])
    def test_an_empty_class_is_an_error_as_in_torchvision(self, root, other):
        """All later classes would have other numbers."""
        (root / "class0a").mkdir()
        if other:
            (root / "class0a" / other).write_bytes(b"x")
        with pytest.raises(SourceError, match="class folder .*class0a holds no images"):
            data.open_source(str(root))

    @pytest.mark.parametrize("target", ["class0", "."])
    def test_cycles_of_links(self, root, target):
        (root / "class0" / "again").symlink_to(root / target)
        with pytest.raises(SourceError, match="is reached twice, by a link"):
            data.open_source(str(root))

    def test_folders_reached_twice(self, root, tmp_path):
        """Links to links double with each level."""
        other = write_folder(tmp_path / "other", classes=1) / "class0"
        for name in ("one", "two"):
            (root / "class0" / name).symlink_to(other)
        with pytest.raises(SourceError, match="is reached twice, by a link"):
            data.open_source(str(root))

    def test_a_broken_link_in_place_of_a_class(self, root):
        (root / "class0a").symlink_to(root / "nowhere")
        with pytest.raises(SourceError, match="class0a is a link to nothing: .*other numbers"):
            data.open_source(str(root))

    def test_special_files(self, root):
        os.mkfifo(root / "class0" / "pipe.png")
        with pytest.raises(SourceError, match=r"pipe\.png is a FIFO, not a picture file"):
            data.open_source(str(root))
        (root / "class0" / "pipe.png").unlink()
        (root / "class0" / "zero.png").symlink_to("/dev/zero")
        with pytest.raises(SourceError, match=r"zero\.png is a device, not a picture file"):
            data.open_source(str(root))

    def test_a_file_that_becomes_a_fifo_does_not_block(self, root):
        source = data.open_source(str(root))
        (root / "class0" / "0.png").unlink()
        os.mkfifo(root / "class0" / "0.png")
        with pytest.raises(SourceError, match=r"0\.png: not a regular file"):
            source[0]


def png_chunks(width, height, depth, colour, rows, *more):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [
        chunk(b"IHDR", header),
        *(chunk(*each) for each in more),
        chunk(b"IDAT", zlib.compress(rows)),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tail(kind, body):
    """Return a chunk, and the end of a PNG."""
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return chunk + b"\0\0\0\0IEND\xaeB`\x82"


def tiff_rgb16():
    """A TIFF of 2 x 1 pixels, three channels of 16 bits."""
    bits, pixels = 8 + 2 + 9 * 12 + 4, 8 + 2 + 9 * 12 + 4 + 6
    tags = [(256, 3, 1, 2), (257, 3, 1, 1), (258, 3, 3, bits), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, pixels)]
    tags += [(277, 3, 1, 3), (278, 3, 1, 1), (279, 4, 1, 12)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return (
        b"II*\0\x08\0\0\0"
        + struct.pack("<H", 9)
        + entries
        + bytes(4)
        + struct.pack("<3H", 16, 16, 16)
        + bytes(range(12))
    )


def saved(kind, **options):
    buffer = io.BytesIO()
    first, second = (PIL.Image.fromarray(make_image(8, 8, 3, seed=n).numpy()) for n in range(2))
    first.save(buffer, kind, save_all=True, append_images=[second], **options)
    return buffer.getvalue()


def saved_alpha(kind):
    buffer = io.BytesIO()
    PIL.Image.fromarray(make_image(8, 8, 4).numpy(), "RGBA").save(buffer, kind)
    return buffer.getvalue()


class TestPictures:
    @pytest.mark.parametrize(
        ("name", "body", "message"),
        [
            ("a.png", png_chunks(2, 1, 16, 2, bytes(13)), "RGB of 16 bits"),
            ("a.ppm", b"P6 2 1 65535\n" + bytes(12), "RGB of 16 bits"),
            ("a.tif", tiff_rgb16(), "RGB of 16 bits"),
            ("a.png", png_chunks(2, 1, 8, 0, bytes(3), (b"tRNS", b"\0\7")), "transparent colour"),
            ("a.bmp", saved_alpha("BMP"), "a fourth channel"),
            ("a.tif", saved("TIFF"), "2 frames or pages"),
            ("a.png", saved("PNG"), "2 frames or pages"),
            ("a.webp", saved("WEBP", lossless=True), "2 frames or pages"),
        ],
    )
    def test_pictures_of_more_than_8_bits_or_one_frame_are_refused(self, tmp_path, name, body, message):
        (tmp_path / "in" / "a").mkdir(parents=True)
        (tmp_path / "in" / "a" / name).write_bytes(body)
        with PIL.Image.open(io.BytesIO(body)) as picture:
            picture.load()  # Pillow itself reads it without a word
        source = data.open_source(str(tmp_path / "in"))
        for read in (source.__getitem__, source.header):
            with pytest.raises(SourceError, match=f"{name}.*{message}"):
                read(0)

    @pytest.mark.parametrize(
        ("name", "body", "message"),
        [
            ("a.ppm", b"P6 2 1 255\n" + bytes(6) + b"P6 2 1 255\n" + bytes(6), "more than one picture"),
            ("a.png", bytes(png_chunks(2, 1, 8, 0, bytes(3)))[:-12] + tail(b"tRNS", b"\0\7"), "transparent colour"),
        ],
    )
    def test_transparency_that_is_declared_after_the_pixels(self, tmp_path, name, body, message):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / name).write_bytes(body)
        with pytest.raises(SourceError, match=message):
            data.open_source(str(tmp_path))[0]

    def test_a_picture_of_a_hundred_million_pixels(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "x.png").write_bytes(png_chunks(10_000, 10_000, 8, 0, bytes(10)))
        source = data.open_source(str(tmp_path))
        for read in (source.__getitem__, source.header):
            with pytest.raises(SourceError, match="exceeds limit"):
                read(0)

    def test_a_photograph_with_a_preview_is_its_first_picture(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "x.jpg").write_bytes(saved("MPO"))
        assert data.open_source(str(tmp_path))[0].image.shape == (3, 8, 8)

    @pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "ppm", "tif", "webp"])
    @pytest.mark.parametrize("packed", [False, True])
    def test_shapes_come_from_headers(self, tmp_path, suffix, packed):
        (tmp_path / "a").mkdir()
        path = tmp_path / "a" / f"x.{suffix}"
        PIL.Image.new("RGB", (30, 20)).save(path)
        source = data.open_source(str(tmp_path))
        if packed:
            source = open_tar(tmp_path / "x.tar", {f"y.{suffix}": IMAGE, f"x.{suffix}": path.read_bytes()})
        assert source.header(len(source) - 1).shape == tuple(source[len(source) - 1].image.shape) == (3, 20, 30)


class TestBeforeTheFirstShard:
    """Labels, sizes and channels are looked at in names and headers."""

    def test_a_wrong_size_is_named(self, tmp_path):
        root = write_folder(tmp_path / "in", classes=2, each=8)
        PIL.Image.new("RGB", (20, 16)).save(root / "class1" / "3.png")
        source = data.open_source(str(root))
        with pytest.raises(KeySizeError, match=r"sample .*class1/3\.png: .*16 x 16 pixels, but the image is 16 x 20"):
            run_export(tmp_path / "out", ORDER, source, shard_size=2)
        assert not list((tmp_path / "out").iterdir())
        result = run_export(tmp_path / "out", ORDER, source, shard_size=2, on_error="skip")
        assert (result.images, result.skipped) == (15, ("class1/3.png",))

    def test_wrong_channels_are_named(self, tmp_path):
        root = write_folder(tmp_path / "in", classes=2, each=4)
        PIL.Image.new("L", (16, 16)).save(root / "class1" / "3.png")
        bundle = make_bundle("aes", channels=3)
        with pytest.raises(KeySizeError, match=r"class1/3\.png: .*3 channels, but the image has 1"):
            run_export(tmp_path / "out", bundle, data.open_source(str(root)), shard_size=2)
        assert not list((tmp_path / "out").glob("*.tar"))

    def test_a_picture_that_would_be_refused_is_named(self, tmp_path):
        root = write_folder(tmp_path / "in", classes=2, each=4)
        PIL.Image.new("RGBA", (16, 16)).save(root / "class1" / "3.png")
        with pytest.raises(SourceError, match=r"class1/3\.png: it has an alpha channel"):
            run_export(tmp_path / "out", ORDER, data.open_source(str(root)), shard_size=2)
        assert not list((tmp_path / "out").glob("*.tar"))

    def test_a_label_outside_the_map(self, tmp_path):
        root = write_folder(tmp_path / "in", classes=11, each=1)
        with pytest.raises(
            LabelError, match=r"class 10, 'class9', of sample .*class9/0\.png lies outside the label map"
        ):
            run_export(tmp_path / "out", ORDER, data.open_source(str(root)))
        assert not (tmp_path / "out").exists()
        assert run_export(tmp_path / "out", ORDER, data.open_source(str(root)), on_error="skip").images == 10

    def test_a_first_sample_that_does_not_fit_is_skipped_too(self, tmp_path):
        dataset = [(make_image(1, 16, 20), 0)] + [(make_image(1, 16, 16, seed=n), n) for n in range(5)]
        result = run_export(tmp_path / "out", ORDER, dataset, on_error="skip")
        assert (result.images, result.skipped) == (5, ("0",))
        with pytest.raises(ExportError, match="no image of the source can be exported; of the first one: sample 0"):
            run_export(tmp_path / "none", ORDER, dataset[:1], on_error="skip")


class TestNotes:
    def test_notes_list_the_files_left_out(self, tmp_path):
        said = []
        source = open_tar(tmp_path / "x.tar", {"README.md": b"x", "a.png": IMAGE, "a.json": b"{}"})
        result = run_export(tmp_path / "out", ORDER.transform, source, transforms.from_key(ORDER), notify=said.append)
        assert said == list(result.notes)
        assert "1 x group of members without image and label, 1 x .json member beside an image" in said[0]

    def test_fewer_classes_than_the_key_renames(self, tmp_path):
        source = data.open_source(str(write_folder(tmp_path / "in", classes=3)))
        [note] = run_export(tmp_path / "out", ORDER, source).notes
        assert note.startswith("the key renames 10 classes, the source has 3")

    def test_labels_without_a_key_are_noted(self, tmp_path):
        """A transform does not know the label map of the bundle that it was made from."""
        [note] = run_export(tmp_path / "a", ORDER, key=None).notes
        assert "class numbers are written as they are" in note
        assert run_export(tmp_path / "b", ORDER).notes == ()

    def test_fewer_classes_in_a_data_set_given_in_python(self, tmp_path):
        """Its labels are known when all of it has been read."""
        said = []
        result = run_export(tmp_path / "out", ORDER, Pictures(20, classes=4), notify=said.append)
        assert said == list(result.notes)
        assert said[-1].startswith("the key renames 10 classes, the source has 4")

    def test_rarely_repeating_units_under_aes_are_noted(self, tmp_path):
        aes, rmt = make_bundle("aes").transform, make_bundle("rmt").transform
        noise = [make_image(3, 16, 16, seed=n) for n in range(50)]
        flat = [torch.full((3, 16, 16), n, dtype=torch.uint8) for n in range(50)]
        [note] = run_export(tmp_path / "a", aes, noise, transforms.from_key(aes)).notes
        assert note.startswith("in 50 images looked at, 0.0% of the units of 16 pixels occur twice")
        assert run_export(tmp_path / "b", aes, flat, transforms.from_key(aes)).notes == ()
        assert run_export(tmp_path / "c", rmt, noise, transforms.from_key(rmt)).notes == ()

    @pytest.mark.slow
    def test_large_images_are_sampled_too(self, tmp_path):
        bundle = make_bundle("aes", (256, 256), (64, 64))
        [note] = run_export(tmp_path / "a", bundle, Pictures(320, 3, (256, 256)), shard_size=400).notes
        assert note.startswith("in 300 images looked at")

    def test_the_images_looked_at_are_bounded_in_memory(self, tmp_path, monkeypatch):
        monkeypatch.setattr("torchprotect.data._preflight._MOST_BYTES", 20 * 3 * 16 * 16)
        aes, noise = make_bundle("aes").transform, [make_image(3, 16, 16, seed=n) for n in range(50)]
        [note] = run_export(tmp_path / "out", aes, noise, transforms.from_key(aes)).notes
        assert note.startswith("in 21 images looked at")

    def test_a_source_of_somebody_else_is_not_prepared_anew(self, tmp_path):
        """Its ``prepared`` may change itself, and its headers may be plain tuples."""

        aes = make_bundle("aes").transform

        class Theirs:
            folders, left_out = (), Counter()

            def __len__(self):
                return 4

            def __getitem__(self, index):
                return data.Sample(make_image(3, 16, 16, seed=index), None)

            def name(self, index):
                return str(index)

            locate = name

            def listing(self):
                return iter([b"x"])

            def content(self, indices):
                return iter([b"x"])

            def header(self, index):
                return (3, 16, 16), False

            def prepared(self, preparation):
                raise AssertionError("it was asked to prepare itself")

        assert run_export(tmp_path / "out", aes, Theirs(), transforms.from_key(aes)).images == 4

    @pytest.mark.parametrize("labels", [None, "none"])
    def test_fewer_are_looked_at_where_decoding_takes_long(self, tmp_path, monkeypatch, labels):
        """The size that counts is that of the files, not that after preparation."""
        monkeypatch.setattr("torchprotect.data._preflight._MOST_PIXELS", 20 * 64 * 64)
        (tmp_path / "in" / "a").mkdir(parents=True)
        for n in range(40):
            (tmp_path / "in" / "a" / f"{n}.png").write_bytes(png(make_image(3, 64, 64, seed=n)))
        aes = make_bundle("aes").transform
        source = data.open_source(tmp_path / "in", labels_from=labels)
        preparation = data.Preparation(resize=(16, 16))
        notes = run_export(tmp_path / "out", aes, source, transforms.from_key(aes), prepare=preparation).notes
        assert [note for note in notes if note.startswith("in 20 images looked at")]


class TestDatasets:
    @pytest.mark.parametrize(
        ("item", "message"),
        [
            ((np.zeros((16, 16, 3), np.uint8), 1), "NumPy array.*to_image or PIL.Image.fromarray"),
            ({"image": make_image(1, 16, 16), "label": 1}, r"dictionary with 'image', 'label'; wrap the data set"),
            ((make_image(1, 16, 16), torch.eye(10)[3]), r"shape \[10\], not one class number; .*argmax"),
            ((make_image(1, 16, 16), np.eye(10)[3]), r"shape \[10\], not one class number; .*argmax"),
            ((make_image(1, 16, 16), 1, 2), r"it has 3 parts; wrap the data set .* \(image, label\)"),
            ((b"\x89PNG", 1), "of type bytes, not a PIL image or a tensor"),
        ],
    )
    def test_messages_say_how_to_convert_a_sample(self, item, message):
        with pytest.raises(SourceError, match=message):
            as_source([item])[0]

    def test_own_sources_must_be_complete(self):
        half = type("Half", (), {"listing": lambda self: iter(()), "__len__": lambda self: 1})
        with pytest.raises(ExportError, match=r"Half is not a data\.Source: it lacks folders, left_out, name, locate"):
            as_source(half())

    def test_loaders_are_referred_to_their_data_set(self):
        loader = torch.utils.data.DataLoader([(make_image(1, 16, 16), 1)])
        with pytest.raises(ExportError, match=r"give loader\.dataset"):
            as_source(loader)
