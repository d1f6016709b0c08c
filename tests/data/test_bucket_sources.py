"""Tars and image folders behind URLs, compared with the same files read locally."""

import io
import itertools
import json
import os
import pickle
import re
import sys
import tarfile
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from support import content, make_bundle, make_image, png, run_export, write_folder, write_tar
from web import Redirecting, WithoutRanges, serve_folder

from torchprotect import data
from torchprotect.data.sources import _requests as requests
from torchprotect.data.sources import read_samples
from torchprotect.data.sources._archives import Row
from torchprotect.data.store import open_store
from torchprotect.data.store.objects import ObjectStore
from torchprotect.errors import SourceError, StoreError

PATTERN = "t-{0..2}.tar"
_numbers = itertools.count()


@pytest.fixture
def tars(tmp_path) -> Path:
    """Write three tars of four samples, with members that are left out."""
    folder = tmp_path / "tars"
    folder.mkdir()
    for shard in range(3):
        members = {".hidden": b"x", "notes": b"x"}
        for n in range(4):
            members[f"d/{shard}{n}.cls"] = b"%d\n" % (n % 3)
            members[f"d/{shard}{n}.png"] = png(make_image(3, 16, 16, seed=10 * shard + n))
            members[f"d/{shard}{n}.json"] = b"{}"
        write_tar(folder / f"t-{shard}.tar", members)
    return folder


@pytest.fixture
def images(tmp_path) -> Path:
    """Write an image folder with much that is left out."""
    root = write_folder(tmp_path / "images")
    (root / "class1" / "deep" / "er").mkdir(parents=True)
    (root / "class1" / "deep" / "er" / "x.JPG").write_bytes(png(make_image(3, 16, 16)))
    (root / "class1" / "deep.png").write_bytes(png(make_image(3, 16, 16)))
    for name in (".git/a/b.png", "__MACOSX/c.png", "class0/._a.png", "class0/.x/y.png", "class0/.x/z.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    for name in ("LICENSE", "labels.csv", "class0/a.txt", "class0/b.TXT", "class2/noext", "class2/__MACOSX"):
        (root / name).write_bytes(b"x")
    (root / "class2" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (root / "class2" / "empty.png").write_bytes(b"")
    return root


def upload(folder: Path, url: str) -> str:
    system, root = fsspec.url_to_fs(url)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            system.pipe_file(f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes())
    return url


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.slow)])
def bucket(request) -> str:
    """Return the URL of a place without objects."""
    return f"memory://place{next(_numbers)}" if request.param == "memory" else request.getfixturevalue("s3")


@pytest.fixture
def memory() -> str:
    return f"memory://place{next(_numbers)}"


@pytest.fixture
def asked(monkeypatch) -> list[list]:
    """Record the calls of ``read_ranges``."""
    calls, original = [], ObjectStore.read_ranges

    def record(self, ranges):
        calls.append(ranges)
        return original(self, ranges)

    monkeypatch.setattr(ObjectStore, "read_ranges", record)
    return calls


def overwrite(url: str, content: bytes) -> None:
    system, path = fsspec.url_to_fs(url)
    system.pipe_file(path, content)


def assert_same(remote, local) -> None:
    assert len(remote) == len(local)
    assert remote.left_out == local.left_out
    assert remote.known_labels() == local.known_labels()
    assert list(remote.listing()) == list(local.listing())
    order = torch.randperm(len(local), generator=torch.Generator().manual_seed(0)).tolist()
    assert [remote.name(i) for i in order] == [local.name(i) for i in order]
    for index, theirs, ours in zip(order, read_samples(remote, order), read_samples(local, order), strict=True):
        assert type(theirs) is type(ours), index
        if isinstance(ours, SourceError):
            assert str(theirs).replace(remote.locate(index), local.locate(index)) == str(ours)
            with pytest.raises(SourceError, match=re.escape(remote.locate(index))):
                remote[index]
        else:
            assert torch.equal(theirs.image, ours.image)
            assert theirs.label == ours.label
            assert torch.equal(remote[index].image, ours.image)


class TestTars:
    @pytest.mark.parametrize("cached", [False, True])
    def test_equal_local_ones(self, tars, bucket, tmp_path, cached):
        cache = tmp_path / "cache" if cached else None
        source = data.open_source(f"{upload(tars, bucket)}/{PATTERN}", cache=cache)
        local = data.open_source(str(tars / PATTERN))
        assert_same(source, local)
        assert source.folders == ()
        assert source.locate(5) == f"d/11 in {bucket}/t-1.tar"
        assert not hasattr(source, "header")  # it would take one request for each image
        assert cache is None or len(list(cache.iterdir())) == 3

    @pytest.mark.parametrize("cached", [False, True])
    def test_over_http(self, tars, tmp_path, cached):
        with serve_folder(tars) as url:
            source = data.open_source(f"{url}/{PATTERN}", cache=tmp_path / "cache" if cached else None)
            assert_same(source, data.open_source(str(tars / PATTERN)))
            assert data.open_source(f"{url}/t-0.tar?download=true").name(0) == "d/00"
            assert len(set(source.content([0, 4, 8]))) == 3

    def test_in_several_folders(self, tars, memory):
        local = data.open_source(str(tars / "t-{0..1}.tar"))
        for shard, place in enumerate("ab"):
            overwrite(f"{memory}/{place}/t-{shard}.tar", (tars / f"t-{shard}.tar").read_bytes())
        source = data.open_source(f"{memory}/{{a/t-0,b/t-1}}.tar")
        assert_same(source, local)

    def test_twice_in_a_pattern(self, tars, memory):
        upload(tars, memory)
        assert_same(data.open_source(f"{memory}/t-{{1,1}}.tar"), data.open_source(str(tars / "t-{1,1}.tar")))

    def test_file_urls_are_local(self, tars):
        assert hasattr(data.open_source(f"file://{tars}/{PATTERN}"), "header")

    def test_a_batch_takes_few_requests(self, tars, memory, asked):
        source = data.open_source(f"{upload(tars, memory)}/{PATTERN}")
        found = list(source.read([11, 0, 5, 2, 3]))
        assert [len(ranges) for ranges in asked] == [3]  # one for each tar
        assert [sample.label for sample in found] == [source.known_labels()[i] for i in (11, 0, 5, 2, 3)]
        assert list(source.read([])) == []

    def test_content_is_about_the_archive(self, tars, memory):
        source = data.open_source(f"{upload(tars, memory)}/{PATTERN}")
        lines = [line.decode().split("\0") for line in source.content([0, 5])]
        assert [line[0] for line in lines] == [f"{memory}/t-0.tar", f"{memory}/t-1.tar"]
        assert [line[-1] for line in lines] == ["0", "1"]
        assert all(line[1] and int(line[2]) == (tars / "t-0.tar").stat().st_size for line in lines)

    def test_a_broken_image_is_an_error_in_its_place(self, memory):
        system, path = fsspec.url_to_fs(f"{memory}/x.tar")
        good = png(make_image(1, 8, 8))
        system.pipe_file(path, tar_bytes({"a.png": good, "b.png": b"broken", "c.png": b"", "d.png": good}))
        found = list(data.open_source(f"{memory}/x.tar").read([3, 2, 1, 0]))
        assert [isinstance(each, SourceError) for each in found] == [False, True, True, False]
        assert str(found[2]).startswith(f"cannot read image b in {memory}/x.tar: no known image format")


def tar_bytes(members) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return file.getvalue()


class TestRequests:
    def test_neighbours_share_one(self):
        rows = [Row(0, 5000, 10, 0), Row(1, 0, 10, 0), Row(0, 0, 10, 0), Row(0, 100_000, 10, 0), Row(0, 300, 0, 0)]
        planned = [(each.archive, each.start, each.end, each.wanted) for each in requests.plan_requests(rows)]
        assert planned == [(0, 0, 5010, [2, 0]), (0, 100_000, 100_010, [3]), (1, 0, 10, [1])]

    def test_overlapping_images_of_hard_links(self):
        rows = [Row(0, 0, 100, 0), Row(0, 0, 100, 0), Row(0, 10, 20, 0)]
        (planned,) = requests.plan_requests(rows)
        assert (planned.start, planned.end, sorted(planned.wanted)) == (0, 100, [0, 1, 2])

    def test_the_size_of_one_is_bounded(self):
        megabyte = 1 << 20
        planned = requests.plan_requests([Row(0, n * megabyte, megabyte, 0) for n in range(20)])
        assert [each.end - each.start for each in planned] == [8 * megabyte, 8 * megabyte, 4 * megabyte]
        (large,) = requests.plan_requests([Row(0, 0, 20 * megabyte, 0)])
        assert large.end == 20 * megabyte

    def test_groups_are_bounded(self):
        megabyte = 1 << 20
        sizes = [megabyte] * 40 + [50 * megabyte] + [10] * 1500
        cut = [sizes[group] for group in requests.groups(sizes)]
        assert list(itertools.chain(*cut)) == sizes
        assert all(len(group) <= 1000 and (sum(group) <= 32 * megabyte or len(group) == 1) for group in cut)
        assert list(requests.groups([])) == []

    def test_one_group_at_a_time_is_fetched(self, tars, memory, asked, monkeypatch):
        monkeypatch.setattr(requests, "_GROUP_IMAGES", 2)
        reading = data.open_source(f"{upload(tars, memory)}/{PATTERN}").read(list(range(12)))
        next(reading)
        assert len(asked) == 1
        assert len(list(reading)) == 11
        assert len(asked) == 6


class TestFolder:
    def test_equals_a_local_one(self, images, bucket):
        source = data.open_source(f"{upload(images, bucket)}/")
        assert_same(source, data.open_source(str(images)))
        assert source.folders == (bucket,)
        assert not hasattr(source, "header")

    def test_images_are_fetched_together(self, images, memory, asked):
        source = data.open_source(upload(images, memory))
        assert len(list(source.read(list(range(len(source)))))) == len(source)
        assert len(asked) == 1

    @pytest.mark.slow
    def test_names_that_stand_for_folders(self, images, s3):
        upload(images, s3)
        system, path = fsspec.url_to_fs(s3)
        system.pipe_file(f"{path}/class0/", b"")
        assert_same(data.open_source(s3), data.open_source(str(images)))

    @pytest.mark.parametrize(
        ("names", "message"),
        [
            ((), r"holds no images in class folders; expected .*/CLASS/PICTURE\.png"),
            (("a.png",), r"holds no images in class folders; expected"),
            (("a/x.png", "b/x.txt"), r"class folder .*/b holds no images \(png, jpg"),
            (("a/x.png", "b/.keep"), r"class folder .*/b holds no images"),
            (("a/x.png", "b/.git/x.png"), r"class folder .*/b holds no images"),
        ],
    )
    def test_refusals(self, bucket, names, message):
        for name in names:
            overwrite(f"{bucket}/{name}", b"x")
        with pytest.raises(SourceError, match=message):
            data.open_source(f"{bucket}/")

    @pytest.mark.slow
    def test_no_such_bucket(self, s3):
        with pytest.raises(StoreError, match="^cannot list s3://no-such-bucket/x: .*does not exist"):
            data.open_source("s3://no-such-bucket/x")

    def test_odd_names(self, memory):
        for name in ("a/x.png", "a//y.png", "/z.png"):
            overwrite(f"{memory}/{name}", png(make_image(1, 8, 8)))
        source = data.open_source(memory)
        assert [source.name(i) for i in range(len(source))] == ["a/x.png"]


class TestChanges:
    @pytest.mark.parametrize("cached", [False, True])
    def test_a_tar_that_is_replaced(self, tars, bucket, tmp_path, cached):
        cache = tmp_path / "cache" if cached else None
        source = data.open_source(f"{upload(tars, bucket)}/{PATTERN}", cache=cache)
        before = list(source.content([0, 5]))
        assert list(source.content([0, 5])) == before
        changed = bytearray((tars / "t-1.tar").read_bytes())
        changed[600] ^= 1
        overwrite(f"{bucket}/t-1.tar", bytes(changed))
        assert len(list(source.content([0]))) == 1  # the other tars are as they were
        message = f"^{bucket}/t-1.tar changed since it was indexed; run the same command again$"
        with pytest.raises(SourceError, match=message):
            list(source.content([0, 5]))
        again = data.open_source(f"{bucket}/{PATTERN}", cache=cache)
        lines = list(again.content([0, 5]))
        assert lines[0] == before[0]
        assert lines[1] != before[1]

    def test_a_missing_tar_is_not_reported_as_a_broken_image(self, tars, bucket):
        source = data.open_source(f"{upload(tars, bucket)}/{PATTERN}")
        system, path = fsspec.url_to_fs(bucket)
        system.rm_file(f"{path}/t-1.tar")
        with pytest.raises(SourceError, match=r"t-1\.tar is gone"):
            list(source.content([5]))
        with pytest.raises(SourceError, match="gone since it was indexed"):
            list(source.read([0, 5]))

    def test_a_tar_that_became_shorter(self, tars, memory):
        source = data.open_source(f"{upload(tars, memory)}/{PATTERN}")
        overwrite(f"{memory}/t-1.tar", (tars / "t-1.tar").read_bytes()[:2000])
        with pytest.raises(SourceError, match=r"t-1\.tar changed since it was indexed"):
            list(source.read([7]))

    @pytest.mark.parametrize("content", [b"grown" + b"x" * 5000, b"short", None])
    def test_an_image_that_changes(self, images, bucket, content):
        source = data.open_source(upload(images, bucket))
        url = source.locate(2)
        if content is None:
            system, path = fsspec.url_to_fs(url)
            system.rm_file(path)
        else:
            overwrite(url, content)
        assert len(list(source.content([0, 1]))) == 2
        with pytest.raises(SourceError, match=f"^{re.escape(url)} (changed|is gone) since it was indexed"):
            list(source.content([2]))
        with pytest.raises(SourceError, match="since it was"):
            list(source.read([0, 2]))

    def test_stores_without_tags(self, tars, memory, monkeypatch):
        monkeypatch.setattr("torchprotect.data.store.objects._tag", lambda info: None)
        source = data.open_source(f"{upload(tars, memory)}/{PATTERN}")
        assert len(list(source.content([0]))) == 1
        overwrite(f"{memory}/t-0.tar", b"x")
        with pytest.raises(SourceError, match="changed since it was indexed"):
            list(source.content([0]))

    def test_a_change_stops_an_export_and_the_next_run_makes_the_shard_again(self, tars, memory, tmp_path):
        key, out = make_bundle("aes"), tmp_path / "out"
        url = f"{upload(tars, memory)}/{PATTERN}"

        def replace(done, total):
            if done == 4:
                overwrite(f"{memory}/t-1.tar", tar_of(1, seed=500))

        with pytest.raises(SourceError, match=r"t-1\.tar changed since it was indexed; run the same command again"):
            run_export(out, key, data.open_source(url), shard_size=4, progress=replace, on_error="skip")
        run_export(out, key, data.open_source(url), shard_size=4, on_error="skip")
        run_export(tmp_path / "anew", key, data.open_source(url), shard_size=4)
        assert content(out) == content(tmp_path / "anew")


def tar_of(shard: int, seed: int) -> bytes:
    """Return a tar of four samples with the keys of the fixture's."""
    members = {}
    for n in range(4):
        members[f"d/{shard}{n}.cls"] = b"%d\n" % (n % 3)
        members[f"d/{shard}{n}.png"] = png(make_image(3, 16, 16, seed=seed + n))
    return tar_bytes(members)


class TestUnreachable:
    @pytest.mark.parametrize("spec", [PATTERN, "images/"])
    def test_a_failing_store_is_not_reported_as_a_broken_image(self, tars, images, memory, monkeypatch, tmp_path, spec):
        upload(tars, memory)
        upload(images, f"{memory}/images")
        source = data.open_source(f"{memory}/{spec}")

        def fail(self, *args, **options):
            raise ConnectionError("no route")

        monkeypatch.setattr(type(fsspec.filesystem("memory")), "cat_file", fail)
        with pytest.raises(StoreError, match="no route"):
            list(source.read([0, 1]))
        with pytest.raises(StoreError, match="no route"):
            source[0]
        with pytest.raises(StoreError):
            run_export(tmp_path / "out", None, source, on_error="skip")

    def test_a_web_server_that_is_gone(self, tars):
        with serve_folder(tars) as url:
            source = data.open_source(f"{url}/{PATTERN}")
        with pytest.raises(StoreError):
            list(source.content([0]))
        with pytest.raises(StoreError):
            list(source.read([0]))
        with pytest.raises(StoreError):
            data.open_source(f"{url}/{PATTERN}")


class TestCache:
    def test_copies_are_made_when_first_needed(self, tars, memory, tmp_path):
        url, index, cache = f"{upload(tars, memory)}/{PATTERN}", tmp_path / "i.npz", tmp_path / "cache"
        data.open_source(url, index=index)
        source = data.open_source(url, index=index, cache=cache)
        assert not cache.exists()
        _ = source[5]
        (copy,) = cache.iterdir()
        assert re.fullmatch(r"[0-9a-f]{64}\.tar", copy.name)
        assert copy.read_bytes() == (tars / "t-1.tar").read_bytes()
        image = source[5].image
        copy.write_bytes(b"short")
        assert torch.equal(data.open_source(url, index=index, cache=cache)[5].image, image)

    @pytest.mark.parametrize("moment", ["before", "during"])
    def test_a_copy_is_of_the_tar_that_was_indexed(self, tars, memory, tmp_path, monkeypatch, moment):
        url, index, cache = f"{upload(tars, memory)}/{PATTERN}", tmp_path / "i.npz", tmp_path / "cache"
        data.open_source(url, index=index)
        source = data.open_source(url, index=index, cache=cache)
        other = (tars / "t-1.tar").read_bytes()[::-1]  # of the same size
        original = ObjectStore.open

        def open_late(self, name):
            overwrite(f"{memory}/t-1.tar", other)
            return original(self, name)

        if moment == "before":
            overwrite(f"{memory}/t-1.tar", other)
        else:
            monkeypatch.setattr(ObjectStore, "open", open_late)
        with pytest.raises(SourceError, match="changed since it was indexed"):
            list(source.read([5]))
        assert not cache.exists() or not list(cache.iterdir())

    def test_a_cache_that_cannot_be_written(self, tars, memory, tmp_path):
        (tmp_path / "file").write_bytes(b"")
        with pytest.raises(StoreError, match=r"cannot keep copies in .*file"):
            data.open_source(f"{upload(tars, memory)}/{PATTERN}", cache=tmp_path / "file")


class TestIndex:
    @pytest.mark.parametrize("where", ["local", "bucket"])
    def test_saves_the_scan(self, tars, bucket, tmp_path, monkeypatch, where):
        url = f"{upload(tars, bucket)}/{PATTERN}"
        index = str(tmp_path / "new" / "index.npz") if where == "local" else f"{bucket}/index.npz"
        first = data.open_source(url, index=index)
        monkeypatch.setattr(ObjectStore, "open", None)
        second = data.open_source(url, index=index)
        assert_same(second, data.open_source(str(tars / PATTERN)))
        assert list(first.content([0, 7])) == list(second.content([0, 7]))

    def test_of_local_tars(self, tars, tmp_path, monkeypatch):
        local = data.open_source(str(tars / PATTERN), index=tmp_path / "i.npz")
        monkeypatch.chdir(tars)
        monkeypatch.setattr("torchprotect.data.sources._archives.scan_file", None)
        again = data.open_source(PATTERN, index=tmp_path / "i.npz")
        assert [again[i].label for i in range(12)] == [local[i].label for i in range(12)]
        assert again.left_out == local.left_out
        assert list(again.content([3])) == list(local.content([3]))
        os.utime(tars / "t-2.tar", ns=(1, 1))
        with pytest.raises(SourceError, match=r"t-2\.tar changed since .*i\.npz was made; .*delete .*i\.npz"):
            data.open_source(PATTERN, index=tmp_path / "i.npz")

    def test_another_process_was_faster(self, tars, memory, tmp_path, monkeypatch):
        url, index = f"{upload(tars, memory)}/{PATTERN}", tmp_path / "i.npz"
        data.open_source(url, index=tmp_path / "theirs.npz")
        original = ObjectStore.open

        def open_late(self, name):
            index.write_bytes((tmp_path / "theirs.npz").read_bytes())
            return original(self, name)

        monkeypatch.setattr(ObjectStore, "open", open_late)
        assert_same(data.open_source(url, index=index), data.open_source(str(tars / PATTERN)))

    def test_stale(self, tars, bucket, tmp_path):
        url, index = f"{upload(tars, bucket)}/{PATTERN}", tmp_path / "i.npz"
        data.open_source(url, index=index)
        with pytest.raises(SourceError, match=r"index of 3 tars, not of 2; .*delete"):
            data.open_source(f"{bucket}/t-{{0..1}}.tar", index=index)
        with pytest.raises(SourceError, match=r"index of '.*t-0\.tar', where .*t-2\.tar is given; .*delete"):
            data.open_source(f"{bucket}/t-{{2,1,0}}.tar", index=index)
        overwrite(f"{bucket}/t-1.tar", tar_of(1, seed=9))
        with pytest.raises(SourceError, match=rf"^{bucket}/t-1\.tar changed since .* was made; .*delete {index}"):
            data.open_source(url, index=index)
        index.unlink()
        data.open_source(url, index=index)

    @pytest.mark.parametrize("name", ["/nowhere/deep/i.npz", "https://example.invalid/x/i.npz"])
    def test_a_place_that_cannot_be_written_is_found_before_the_scan(self, tars, memory, monkeypatch, name):
        if name.startswith("/") and os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        url = f"{upload(tars, memory)}/{PATTERN}"
        monkeypatch.setattr(ObjectStore, "open", None)
        with pytest.raises((StoreError, OSError)):
            data.open_source(url, index=name)

    def test_gzipped_tars_have_none(self, tmp_path):
        write_tar(tmp_path / "x.tar.gz", {"a.png": png(make_image(1, 8, 8))}, "w:gz")
        with pytest.raises(SourceError, match="an index saves nothing"):
            data.open_source(str(tmp_path / "x.tar.gz"), index=tmp_path / "i.npz")


def rewritten(index: bytes, **changes) -> bytes:
    """Return an index file with other arrays."""
    with np.load(io.BytesIO(index)) as file:
        arrays = {**dict(file), **changes}
    out = io.BytesIO()
    np.savez(out, **{name: value for name, value in arrays.items() if value is not None})
    return out.getvalue()


class TestHostileIndex:
    @pytest.fixture
    def opened(self, tars, memory, tmp_path):
        """Return a function that opens the source with the content of an index, and a good one."""
        url, path = f"{upload(tars, memory)}/{PATTERN}", tmp_path / "i.npz"
        data.open_source(url, index=path)
        good = path.read_bytes()

        def opened(content):
            path.write_bytes(content)
            return data.open_source(url, index=path)

        return opened, good

    def test_damage(self, opened):
        use, good = opened
        middle = bytearray(good)
        middle[len(good) // 2] ^= 255
        for damaged in (b"", b"PK", good[:100], good[:-40], bytes(middle), b"x" * 1000, np.zeros(3).tobytes()):
            with pytest.raises(
                SourceError, match=r"i\.npz is not a torchprotect index, or it is damaged .*delete this"
            ):
                use(damaged)

    def test_arrays(self, opened):
        use, good = opened
        with np.load(io.BytesIO(good)) as file:
            rows, ends = file["rows"], file["key_ends"]
        hostile = [{name: None} for name in ("about", "keys", "key_ends", "rows")]
        hostile += [{"rows": rows.astype(dtype)} for dtype in ("int32", "float64", "uint64", ">i8")]
        hostile += [{"rows": rows[:, :3]}, {"rows": rows[:-1]}, {"rows": rows[0]}, {"rows": np.asfortranarray(rows)}]
        hostile += [{"rows": np.array([[1, 2, 3, object()]], dtype=object)}, {"keys": np.array(["x"], dtype=object)}]
        for column, value in ((0, -1), (0, 3), (1, -1), (1, 1 << 62), (2, -5), (2, 1 << 62), (3, -2), (3, 10**18)):
            changed = rows.copy()
            changed[1, column] = value
            hostile.append({"rows": changed})
        hostile.append({"rows": np.where(np.arange(4) == 1, (1 << 63) - 1, rows)})
        hostile += [{"key_ends": ends[::-1].copy()}, {"key_ends": ends + 1}, {"key_ends": ends[:-1]}]
        hostile += [{"key_ends": np.concatenate([[-1], ends[1:]])}, {"rows": rows[:0], "key_ends": ends[:0]}]
        for changes in hostile:
            with pytest.raises(SourceError, match="is not a torchprotect index, or it is damaged"):
                use(rewritten(good, **changes))
        assert len(use(rewritten(good))) == 12

    def test_descriptions(self, opened):
        use, good = opened
        with np.load(io.BytesIO(good)) as file:
            about = json.loads(file["about"].tobytes())
        hostile = [[], {}, {**about, "version": 2}, {**about, "format": "x"}, {**about, "tars": 3}]
        hostile += [{**about, "tars": [[]] * 3}, {**about, "left_out": []}, {**about, "left_out": {"x": -1}}]
        hostile += [{**about, "left_out": {"x": "y"}}, {**about, "left_out": {"x": 10**30 + 0.5}}]
        for value in hostile:
            changed = rewritten(good, about=np.frombuffer(json.dumps(value).encode(), np.uint8))
            with pytest.raises(SourceError, match="is not a torchprotect index, or it is damaged"):
                use(changed)

    def test_claims_of_a_huge_size_take_no_memory(self, opened):
        use, good = opened
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (1 << 58, 4)})
        packed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
            for name in old.namelist():
                new.writestr(name, old.read(name) + (b"\0" * (1 << 24) if name == "rows.npy" else b""))
        claimed = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(claimed, "w") as new:
            for name in old.namelist():
                new.writestr(name, header.getvalue() if name == "rows.npy" else old.read(name))
        for hostile in (packed.getvalue(), claimed.getvalue()):
            with pytest.raises(SourceError, match="is not a torchprotect index, or it is damaged"):
                use(hostile)


class TestStatAll:
    def test_what_is_gone_is_left_out(self, tars, bucket, tmp_path):
        upload(tars, f"{bucket}/a")
        names = ["a/t-0.tar", "a/t-1.tar", "a", "a/t-9.tar", "b/t-0.tar"]
        store = open_store(bucket)
        for alike in (False, True):
            assert store.stat_all(names, alike=alike) == {name: store.stat(name) for name in names[:2]}
            assert store.stat_all([], alike=alike) == {}
        local = open_store(tars)
        assert local.stat_all(["t-0.tar", "x"]) == {"t-0.tar": local.stat("t-0.tar")}

    @pytest.mark.slow
    def test_tars_take_one_listing_for_each_folder(self, tars, s3, monkeypatch):
        import s3fs

        upload(tars, s3)
        overwrite(f"{s3}/other/x", b"")
        source, calls = data.open_source(f"{s3}/{PATTERN}"), []
        for name in ("_lsdir", "_info"):
            monkeypatch.setattr(s3fs.S3FileSystem, name, recorded(calls, name, getattr(s3fs.S3FileSystem, name)))
        list(source.content(list(range(12))))
        assert calls == [("_lsdir", "t-")]


def recorded(calls, name, original):
    async def record(self, *args, **options):
        calls.append((name, options.get("prefix")))
        return await original(self, *args, **options)

    return record


class TestPickling:
    @pytest.mark.slow
    def test_neither_handles_nor_credentials(self, tars, images, s3, tmp_path):
        upload(tars, s3)
        upload(images, f"{s3}/images")
        for source in (
            data.open_source(f"{s3}/{PATTERN}"),
            data.open_source(f"{s3}/{PATTERN}", cache=tmp_path / "cache"),
            data.open_source(f"{s3}/images"),
        ):
            _ = source[0]
            sent = pickle.dumps(source)
            assert b"of-a-test" not in sent
            assert len(sent) < 4000
            again = pickle.loads(sent)  # noqa: S301
            assert torch.equal(again[0].image, source[0].image)
            assert list(again.content([0])) == list(source.content([0]))


class TestBadInput:
    def test_missing_tars_are_counted(self, tars, bucket):
        upload(tars, bucket)
        with pytest.raises(SourceError, match=rf"^{bucket}/t-3\.tar does not exist \(2 of 5 tars are missing\)$"):
            data.open_source(f"{bucket}/t-{{0..4}}.tar")

    @pytest.mark.slow
    def test_no_such_bucket(self, s3):
        with pytest.raises(SourceError, match="2 of 2 tars are missing, or the whole bucket or folder is"):
            data.open_source("s3://no-such-bucket/{0..1}.tar")

    def test_no_permission(self, tars, memory, monkeypatch):
        def fail(self, *args, **options):
            raise PermissionError("Forbidden")

        for method in ("ls", "find"):
            monkeypatch.setattr(type(fsspec.filesystem("memory")), method, fail)
        for spec in (PATTERN, "images/"):
            with pytest.raises(StoreError, match="Forbidden; check the credentials in the environment"):
                data.open_source(f"{memory}/{spec}")

    @pytest.mark.parametrize("url", ["s3://id:secret@b/x.tar", "https://h/x.tar?token=secret", "s3://id:secret@b/x/"])
    def test_urls_with_credentials(self, url):
        with pytest.raises(StoreError, match="has credentials") as caught:
            data.open_source(url)
        assert "secret@" not in str(caught.value)
        assert "=secret" not in str(caught.value)

    def test_empty_tars(self, bucket):
        for n, body in enumerate((b"", bytes(10240))):
            overwrite(f"{bucket}/{n}.tar", body)
        with pytest.raises(SourceError, match=r"^no images in .*/0\.tar and 1 more$"):
            data.open_source(f"{bucket}/{{0..1}}.tar")

    def test_damaged_tars(self, tars, memory):
        overwrite(f"{memory}/x.tar", (tars / "t-0.tar").read_bytes()[:3000])
        with pytest.raises(SourceError, match=rf"^cannot read {memory}/x\.tar: "):
            data.open_source(f"{memory}/x.tar")

    @pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz"])
    def test_gzipped_tars(self, memory, name):
        with pytest.raises(SourceError, match=r"is gzipped, .*unpack it there, or copy it"):
            data.open_source(f"{memory}/{name}")

    def test_stars(self, memory):
        with pytest.raises(SourceError, match="use braces"):
            data.open_source(f"{memory}/*.tar")

    def test_urls_that_servers_sign_are_not_shown(self, tars):
        with serve_folder(tars, Redirecting) as url:
            store = open_store(url)
            for read in (lambda: store.read_ranges([("t-0.tar", 0, 9)]), lambda: store.read("t-0.tar", 1 << 20)):
                with pytest.raises(StoreError, match=r"403.*t-0\.tar\?\.\.\.") as caught:
                    read()
                assert "signed-by-a-test" not in str(caught.value)

    def test_hf_without_its_package(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "hf", raising=False)
        with pytest.raises(StoreError, match="hf:// needs a package that is not installed"):
            data.open_source("hf://datasets/a/b/x.tar")

    def test_paths_made_of_urls(self):
        with pytest.raises(StoreError, match="is a URL, but was given as a path; give it as a str"):
            data.open_source(Path("s3://b/x.tar"))

    @pytest.mark.parametrize("cached", [False, True])
    def test_a_server_without_ranges(self, tars, tmp_path, cached):
        cache = tmp_path / "cache" if cached else None
        with serve_folder(tars, WithoutRanges) as url:
            with pytest.raises(SourceError, match="its server must support range requests; copy the tars"):
                data.open_source(f"{url}/{PATTERN}", cache=cache)
            with pytest.raises(SourceError, match="a web server does not list folders"):
                data.open_source(f"{url}/images/")

    def test_options_that_do_not_apply(self, tars, images, memory, tmp_path):
        for spec, options in (
            (str(tars / PATTERN), {"cache": tmp_path}),
            (str(images), {"index": tmp_path / "i"}),
            (f"mnist:{tmp_path}", {"index": tmp_path / "i"}),
            (f"{memory}/images/", {"index": tmp_path / "i"}),
            (f"{memory}/images/", {"cache": tmp_path}),
        ):
            with pytest.raises(SourceError, match="leave"):
                data.open_source(spec, **options)
        with pytest.raises(StoreError, match="must be a local folder"):
            data.open_source(f"{memory}/x.tar", cache=f"{memory}/cache")

    def test_an_export_does_not_go_into_its_source(self, images, memory):
        source = data.open_source(upload(images, memory))
        with pytest.raises(RuntimeError, match="lies inside the source"):
            run_export(f"{memory}/out", None, source)


class TestExport:
    @pytest.mark.slow
    def test_equals_one_of_the_local_files(self, tars, images, s3, tmp_path):
        key, index = make_bundle("aes"), tmp_path / "i.npz"
        upload(tars, s3)
        upload(images, f"{s3}/images")
        data.open_source(f"{s3}/{PATTERN}", index=index)
        for name, local, url, opening, workers in (
            ("t", str(tars / PATTERN), f"{s3}/{PATTERN}", {}, 0),
            ("c", str(tars / PATTERN), f"{s3}/{PATTERN}", {"cache": tmp_path / "cache", "index": index}, 2),
            ("i", str(images), f"{s3}/images/", {}, 0),
        ):
            options = {"shard_size": 5, "on_error": "skip"}
            run_export(tmp_path / name / "local", key, data.open_source(local), **options)
            run_export(tmp_path / name / "remote", key, data.open_source(url, **opening), workers=workers, **options)
            ours, theirs = content(tmp_path / name / "local"), content(tmp_path / name / "remote")
            assert ours["plan.json"] == theirs["plan.json"]
            assert ours == theirs
        assert sorted(content(tmp_path / "cache").values()) == sorted(content(tars).values())  # made by two processes

    @pytest.mark.slow
    def test_on_the_command_line(self, tars, memory, tmp_path):
        from typer.testing import CliRunner

        from torchprotect import keys
        from torchprotect.cli import app

        upload(tars, memory)
        keys.save(make_bundle("aes"), tmp_path / "k")
        arguments = [f"{memory}/{PATTERN}", str(tmp_path / "out"), "--key", str(tmp_path / "k")]
        options = ["--cache", str(tmp_path / "cache"), "--index", str(tmp_path / "i.npz")]
        result = CliRunner().invoke(app, ["export", *arguments, *options])
        assert result.exit_code == 0, result.output
        assert data.verify(tmp_path / "out").images == 12
        assert (tmp_path / "i.npz").is_file()
        assert len(list((tmp_path / "cache").iterdir())) == 3
