import gc
import io
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tarfile

import numpy as np
import PIL.Image
import pytest
import torch
from support import make_image, png, tar_members

from torchprotect.data import ShardWriter
from torchprotect.data.shards import _finish_unclosed
from torchprotect.errors import InputTypeError


def sample(n, **members):
    return {"__key__": f"{n:04d}", "png": make_image(3, 8, 8, seed=n), "cls": n, **members}


def write(folder, count=5, **options):
    with ShardWriter(str(folder / "s-%03d.tar"), verbose=0, **options) as writer:
        for n in range(count):
            writer.write(sample(n))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_webdataset_reads_it(tmp_path):
    import webdataset

    write(tmp_path, maxcount=2)
    assert names(tmp_path) == ["s-000.tar", "s-001.tar", "s-002.tar"]
    urls = [str(tmp_path / name) for name in names(tmp_path)]
    back = list(webdataset.WebDataset(urls, shardshuffle=False).decode("torchrgb8").to_tuple("__key__", "png", "cls"))
    assert [(key, label) for key, _, label in back] == [(f"{n:04d}", n) for n in range(5)]
    for n, (_, image, _) in enumerate(back):
        assert torch.equal(image, make_image(3, 8, 8, seed=n))


def test_splits_where_webdataset_splits(tmp_path):
    """The same samples, counts and sizes as the writer it replaces."""
    import webdataset

    for options in ({"maxcount": 3}, {"maxsize": 700}, {"maxcount": 2, "start_shard": 7}):
        ours, theirs = tmp_path / f"ours{len(names(tmp_path))}", tmp_path / f"theirs{len(names(tmp_path))}"
        for folder, kind in ((ours, ShardWriter), (theirs, webdataset.ShardWriter)):
            folder.mkdir()
            with kind(str(folder / "s-%03d.tar"), verbose=0, **options) as writer:
                for n in range(7):
                    writer.write({"__key__": str(n), "npy": np.arange(50), "cls": n})
                assert writer.total == 7
        assert names(ours) == names(theirs)
        for name in names(ours):
            assert tar_members(ours / name) == tar_members(theirs / name)


def test_an_exception_discards_the_current_shard(tmp_path):
    with pytest.raises(RuntimeError, match="half-way"), ShardWriter(str(tmp_path / "s-%d.tar"), 2, verbose=0) as writer:
        for n in range(3):
            writer.write(sample(n))
        assert len(names(tmp_path)) == 2  # the other one is temporary
        raise RuntimeError("half-way")
    assert names(tmp_path) == ["s-0.tar"]


def test_no_empty_first_shard(tmp_path):
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0):
        pass
    assert names(tmp_path) == []


def test_a_refused_first_sample_starts_no_shard(tmp_path):
    with pytest.raises(InputTypeError), ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer:
        writer.write({"__key__": "a", "jpg": b"x"})
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["jpg", "jpeg", "webp", "mp4", "pyd", "pickle", "pkl", "pth", "pt", "ten", "npz", "x"])
def test_lossy_pickled_and_unknown_extensions_are_refused(tmp_path, kind):
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer:
        for name in (kind, f"left.{kind}", kind.upper()):
            with pytest.raises(InputTypeError, match="nothing lossy and no pickles"):
                writer.write({"__key__": "a", name: b"x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("png", b"\xff\xd8\xff\xe0 a jpeg"),
        ("png", make_image(3, 8, 8).float()),
        ("png", make_image(2, 8, 8)),
        ("png", np.zeros((8, 8, 3), np.float32)),
        ("png", PIL.Image.new("RGBA", (8, 8))),
        ("png", "text"),
        ("npy", np.array([{}], dtype=object)),
        ("npy", pickle.dumps([1])),
        ("npy", "1 2 3"),
        ("cls", "cat"),
        ("cls", 3.7),
        ("cls", 3.0),
        ("cls", True),
        ("cls", np.bool_(True)),
        ("cls", np.float32(3)),
        ("cls", np.array([3])),
        ("cls", torch.tensor(True)),
        ("cls", torch.tensor(3.0)),
        ("cls", torch.tensor([3])),
        ("cls", torch.tensor([0, 1])),
        ("cls", None),
        ("cls", b"dog"),
        ("cls", b"3.7"),
        ("cls", b""),
        ("cls", "\u0663"),
        ("json", "not JSON"),
        ("json", b"{"),
        ("json", {"a": object()}),
        ("json", {"a": torch.tensor(1)}),
        ("txt", 5),
        ("txt", b"\xff"),
    ],
)
def test_values_that_do_not_fit_are_refused(tmp_path, name, value):
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer, pytest.raises(InputTypeError, match=name):
        writer.write({"__key__": "a", name: value})
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *(
            (value, b"7")
            for value in (7, np.int64(7), np.uint8(7), np.array(7), torch.tensor(7), torch.tensor(7).byte())
        ),
        *((value, b"7") for value in (b"7", "7", bytearray(b"7"))),
        (b"7\n", b"7\n"),
        (-1, b"-1"),
    ],
)
def test_whole_numbers_are_classes(tmp_path, value, written):
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer:
        writer.write({"__key__": "a", "cls": value})
    assert tar_members(tmp_path / "s-0.tar") == {"a.cls": written}


@pytest.mark.parametrize("value", ['{"a": [1, 2]}', '{"a":   [1,2]}', "3", b'{"a": 1}', {"a": "größe"}, [1], None])
def test_json_is_written_as_webdataset_writes_it(tmp_path, value):
    import webdataset

    for kind, name in ((ShardWriter, "ours-%d.tar"), (webdataset.ShardWriter, "theirs-%d.tar")):
        with kind(str(tmp_path / name), verbose=0) as writer:
            writer.write({"__key__": "a", "json": value})
    assert tar_members(tmp_path / "ours-0.tar") == tar_members(tmp_path / "theirs-0.tar")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (7, "must be text, got int"),
        (b"a", "must be text, got bytes"),
        (None, "must be text"),
        ("", "is empty"),
        ("a/", "ends with a slash"),
        ("a.b", "has a dot"),
        ("._a", "has a dot"),
        ("a/.b", "has a dot"),
        (".", "has a dot"),
        ("/a", "not a plain relative path"),
        ("../a", "not a plain relative path"),
        ("a//b", "not a plain relative path"),
        ("a\nb", "control characters"),
        ("a\x00", "control characters"),
        ("a" * 300, "cannot hold a member"),
    ],
)
def test_keys_that_readers_would_change_or_lose_are_refused(tmp_path, key, message):
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer, pytest.raises(InputTypeError, match=message):
        writer.write({"__key__": key, "cls": 1})
    assert names(tmp_path) == []


def test_accepted_keys_are_read_back_unchanged(tmp_path):
    import webdataset

    given = ["a", "a/b", "v1.2/a", "größe", "with space", "-", "0"]
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer:
        for label, key in enumerate(given):
            writer.write({"__key__": key, "cls": label, "left.cls": label})
    back = webdataset.WebDataset(str(tmp_path / "s-0.tar"), shardshuffle=False).decode()
    assert [(sample["__key__"], sample["cls"], sample["left.cls"]) for sample in back] == [
        (key, label, label) for label, key in enumerate(given)
    ]


def test_a_key_is_in_a_shard_once(tmp_path):
    with ShardWriter(str(tmp_path / "s-%d.tar"), 2, verbose=0) as writer:
        writer.write(sample(1))
        with pytest.raises(InputTypeError, match="in this shard already"):
            writer.write(sample(1))
        writer.write(sample(2))
        writer.write(sample(1))  # in the next shard it is no hindrance
    assert names(tmp_path) == ["s-0.tar", "s-1.tar"]
    assert sorted(tar_members(tmp_path / "s-0.tar")) == ["0001.cls", "0001.png", "0002.cls", "0002.png"]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "nothing to write"),
        ({"__url__": "x"}, "nothing to write"),
        ({"_left.png": b"x"}, "take it for metadata"),
        ({"cls": 1, "CLS": 2}, "one extension twice"),
        ({"a/b.cls": 1}, "not an extension"),
        ({3: 1}, "names in a sample must be text"),
    ],
)
def test_members_that_readers_would_change_or_lose_are_refused(tmp_path, members, message):
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer, pytest.raises(InputTypeError, match=message):
        writer.write({"__key__": "a", **members})
    assert names(tmp_path) == []


def test_metadata_of_a_sample_that_was_read_is_left_out(tmp_path):
    import webdataset

    write(tmp_path, 2)
    with ShardWriter(str(tmp_path / "again-%d.tar"), verbose=0) as writer:
        for read in webdataset.WebDataset(str(tmp_path / "s-000.tar"), shardshuffle=False):
            assert "__url__" in read
            writer.write(read)
    assert tar_members(tmp_path / "again-0.tar") == tar_members(tmp_path / "s-000.tar")


@pytest.mark.parametrize("encoder", [False, None])
def test_without_an_encoder_every_value_is_bytes(tmp_path, encoder):
    finished = []
    with ShardWriter(tmp_path / "s-%04d.tar", maxcount=5, post=finished.append, encoder=encoder, verbose=0) as writer:
        for n in range(12):
            writer.write({"__key__": str(n), "txt": b"hello", "cls": b"3"})
        for name, value in (("txt", "hello"), ("cls", 3), ("png", make_image(3, 8, 8)), ("pyd", b"x"), ("cls", b"dog")):
            with pytest.raises(InputTypeError):
                writer.write({"__key__": "a", name: value})
    assert len(finished) == 3
    assert tar_members(tmp_path / "s-0000.tar")["0.txt"] == b"hello"


def test_a_pickled_npy_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with (
        ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer,
        pytest.raises(InputTypeError, match="not a plain array"),
    ):
        writer.write({"__key__": "a", "npy": buffer.getvalue()})


def test_every_kind_of_value(tmp_path):
    image = make_image(3, 8, 8)
    hwc = image.movedim(0, -1).numpy()
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer:
        writer.write(
            {
                "__key__": "a",
                "png": PIL.Image.fromarray(hwc),
                "array.png": hwc,
                "grey.png": make_image(8, 8).numpy(),
                "bytes.png": png(image),
                "npy": torch.randn(3, 4),
                "list.npy": [1, 2],
                "json": {"a": 1},
                "cls": torch.tensor(7),
                "txt": "größe",
            }
        )
    members = tar_members(tmp_path / "s-0.tar")
    for name in ("a.png", "a.array.png", "a.bytes.png"):
        assert (np.array(PIL.Image.open(io.BytesIO(members[name]))) == hwc).all()
    assert PIL.Image.open(io.BytesIO(members["a.grey.png"])).mode == "L"
    assert np.load(io.BytesIO(members["a.npy"])).shape == (3, 4)
    assert json.loads(members["a.json"]) == {"a": 1}
    assert members["a.cls"] == b"7"
    assert members["a.txt"].decode() == "größe"


def test_constant_metadata_and_same_bytes(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        write(folder)
    assert (tmp_path / "a/s-000.tar").read_bytes() == (tmp_path / "b/s-000.tar").read_bytes()
    with tarfile.open(tmp_path / "a/s-000.tar") as archive:
        assert {(m.mtime, m.uname, m.gname) for m in archive} == {(0, "", "")}


def test_post_verbose_and_opener(tmp_path, capsys):
    done = []
    with ShardWriter(str(tmp_path / "s-%d.tar"), 2, post=done.append) as writer:
        for n in range(3):
            writer.write(sample(n))
    assert done == [str(tmp_path / "s-0.tar"), str(tmp_path / "s-1.tar")]
    assert "# writing" in capsys.readouterr().out
    streams = {}

    class Remote(io.BytesIO):
        def __init__(self, name):
            super().__init__()
            streams[name] = self

        def close(self):
            self.body = self.getvalue()

    with pytest.raises(RuntimeError), ShardWriter("s-%d.tar", 2, verbose=0, opener=Remote) as writer:
        for n in range(3):
            writer.write(sample(n))
        raise RuntimeError
    assert list(streams) == ["s-0.tar"]
    assert streams["s-0.tar"].body == (tmp_path / "s-0.tar").read_bytes()


@pytest.mark.parametrize(
    "options", [{"encoder": lambda s: s}, {"encoder": {"png": bytes}}, {"keep_meta": True}, {"compress": True}]
)
def test_unsafe_options_are_refused(tmp_path, options):
    with pytest.raises(InputTypeError):
        ShardWriter(str(tmp_path / "s-%d.tar"), **options)
    with pytest.raises(InputTypeError, match="local path"):
        ShardWriter("pipe:cat > s-%d.tar")
    with pytest.raises(InputTypeError, match="no placeholder for the shard.s index"):
        ShardWriter(str(tmp_path / "s.tar"))
    with pytest.raises(InputTypeError, match="do not compress"):
        ShardWriter(str(tmp_path / "s-%d.tar.gz"))
    with pytest.raises(InputTypeError, match="local path"):
        ShardWriter("s3://bucket/s-%d.tar")
    for pattern in ("s-100%.tar", "s-%d-%d.tar", "s-%%d.tar", "s-%.0s.tar"):
        with pytest.raises(InputTypeError, match="no placeholder for the shard.s index"):
            ShardWriter(pattern)
    with pytest.raises(InputTypeError, match="text or a Path"):
        ShardWriter(b"s-%d.tar")


def test_existing_shards_are_not_overwritten(tmp_path):
    """Two ranks of a distributed run with one pattern lost half of their samples."""
    write(tmp_path, 1)
    before = (tmp_path / "s-000.tar").read_bytes()
    with pytest.raises(FileExistsError, match="a pattern each"):
        write(tmp_path, 2)
    assert (tmp_path / "s-000.tar").read_bytes() == before
    assert names(tmp_path) == ["s-000.tar"]


def test_of_two_writers_of_one_shard_one_fails(tmp_path):
    first = ShardWriter(tmp_path / "race-%d.tar", verbose=0)
    second = ShardWriter(tmp_path / "race-%d.tar", verbose=0)
    for n, writer in enumerate((first, second)):  # both begin before either is finished
        writer.write(sample(n))
    first.close()
    with pytest.raises(FileExistsError):
        second.close()
    assert sorted(tar_members(tmp_path / "race-0.tar")) == ["0000.cls", "0000.png"]
    assert names(tmp_path) == ["race-0.tar"]


def test_a_failed_write_leaves_no_partial_sample(tmp_path, monkeypatch):
    import webdataset

    real = webdataset.TarWriter.write

    def full(tar, members):
        real(tar, {"__key__": "half", "cls": b"1"})
        raise OSError(28, "No space left on device")

    writer = ShardWriter(tmp_path / "s-%d.tar", verbose=0)
    writer.write(sample(0))
    monkeypatch.setattr(webdataset.TarWriter, "write", full)
    with pytest.raises(OSError, match="No space"):
        writer.write(sample(1))
    writer.close()
    assert names(tmp_path) == []


class TestForgottenClose:
    def run(self, folder, end, *flags):
        program = (
            "import sys; from torchprotect.data import ShardWriter\n"
            "writer = ShardWriter(sys.argv[1] + '/s-%d.tar', 4, verbose=0, post=lambda name: print('finished', name))\n"
            "for n in range(6): writer.write({'__key__': str(n), 'cls': n})\n" + end
        )
        command = [sys.executable, *flags, "-c", program, str(folder)]
        return subprocess.run(command, capture_output=True, text=True)

    @pytest.mark.slow
    @pytest.mark.parametrize(("end", "code"), [("", 0), ("raise KeyError", 1), ("sys.exit(3)", 3), ("del writer", 0)])
    def test_the_current_shard_is_finished(self, tmp_path, end, code):
        done = self.run(tmp_path, end)
        assert done.returncode == code, done.stderr
        assert names(tmp_path) == ["s-0.tar", "s-1.tar"]
        assert sorted(tar_members(tmp_path / "s-1.tar")) == ["4.cls", "5.cls"]
        assert done.stdout.count("finished") == 2

    @pytest.mark.slow
    def test_an_unclosed_writer_warns(self, tmp_path):
        assert "was never closed" in self.run(tmp_path, "", "-W", "default").stderr

    @pytest.mark.slow
    def test_a_failure_to_finish_is_reported(self, tmp_path):
        done = self.run(tmp_path, "import shutil; shutil.rmtree(sys.argv[1])")
        assert "No such file" in done.stderr

    def test_a_forked_process_leaves_it_to_its_parent(self, tmp_path):
        writer = ShardWriter(tmp_path / "s-%d.tar", verbose=0)
        writer.write(sample(0))
        _finish_unclosed(writer._open, os.getpid() + 1)  # as if another process had begun it
        writer.write(sample(1))
        writer.close()
        assert len(tar_members(tmp_path / "s-0.tar")) == 4

    def test_garbage_collection_finishes_it(self, tmp_path):
        writer = ShardWriter(tmp_path / "s-%d.tar", verbose=0)
        writer.write(sample(0))
        forgotten = [writer]
        del writer
        with pytest.warns(ResourceWarning, match="never closed"):
            forgotten.clear()
        assert names(tmp_path) == ["s-0.tar"]

    def test_a_closed_writer_does_not_warn(self, tmp_path):
        writer = ShardWriter(tmp_path / "s-%d.tar", verbose=0)
        writer.write(sample(0))
        writer.close()
        del writer
        gc.collect()


def write_and_forget(pattern):
    global forgotten
    forgotten = ShardWriter(pattern, verbose=0)
    forgotten.write(sample(1))


HUGE = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,), }"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_worker_process_that_does_not_close_loses_nothing(tmp_path, method):
    process = multiprocessing.get_context(method).Process(target=write_and_forget, args=(str(tmp_path / "s-%d.tar"),))
    process.start()
    process.join(60)
    assert names(tmp_path) == ["s-0.tar"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("txt", "\ud800", "half a surrogate pair"),
        ("npy", torch.zeros(2, dtype=torch.bfloat16), "no bfloat16"),
        ("json", {"a": float("nan")}, "json"),
        ("json", b"NaN", "must be JSON"),
        ("json", {1: 2, "1": 3}, "member twice"),
        ("npy", b"\x93NUMPY\1\0v\0" + HUGE.ljust(117) + b"\n", "another size"),
    ],
)
def test_values_that_readers_would_refuse(tmp_path, name, value, message):
    with ShardWriter(tmp_path / "s-%d.tar", verbose=0) as writer, pytest.raises(InputTypeError, match=message):
        writer.write({"__key__": "a", name: value})
