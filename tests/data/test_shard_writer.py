import io
import json
import pickle
import tarfile

import numpy as np
import PIL.Image
import pytest
import torch
from support import make_image, png, tar_members

from torchprotect.data import ShardWriter
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


def test_an_exception_leaves_no_shard_in_hand(tmp_path):
    with pytest.raises(RuntimeError, match="half-way"), ShardWriter(str(tmp_path / "s-%d.tar"), 2, verbose=0) as writer:
        for n in range(3):
            writer.write(sample(n))
        assert names(tmp_path)[1:] == ["s-0.tar"]
        raise RuntimeError("half-way")
    assert names(tmp_path) == ["s-0.tar"]


def test_no_empty_first_shard(tmp_path):
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0):
        pass
    assert names(tmp_path) == []


def test_a_refused_first_sample_begins_no_shard(tmp_path):
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
        ("cls", "cat"),
    ],
)
def test_values_that_do_not_fit_are_refused(tmp_path, name, value):
    with ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer, pytest.raises((TypeError, ValueError)):
        writer.write({"__key__": "a", name: value})


def test_a_pickled_npy_is_refused(tmp_path):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
    with (
        ShardWriter(str(tmp_path / "s-%d.tar"), verbose=0) as writer,
        pytest.raises(InputTypeError, match="allow_pickle"),
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
    "options", [{"encoder": False}, {"encoder": lambda s: s}, {"keep_meta": True}, {"compress": True}]
)
def test_options_that_would_open_a_door(tmp_path, options):
    with pytest.raises(InputTypeError):
        ShardWriter(str(tmp_path / "s-%d.tar"), **options)
    with pytest.raises(InputTypeError, match="local path"):
        ShardWriter("pipe:cat > s-%d.tar")
    with pytest.raises(InputTypeError, match="no place for the shard's number"):
        ShardWriter(str(tmp_path / "s.tar"))
    with pytest.raises(InputTypeError, match="do not compress"):
        ShardWriter(str(tmp_path / "s-%d.tar.gz"))
