"""Folders and buckets behind one interface, and what goes wrong with them."""

import io
import itertools
import multiprocessing.forkserver
import pickle
import threading

import fsspec
import pytest
import torch
from s3 import error, ignore_conditions, only
from support import SHARED_AES, Pictures, content, run_export, write_folder
from web import serve_folder

from torchprotect import data
from torchprotect.data.store import is_url, lies_in, open_parent, open_store
from torchprotect.errors import ExportError, InputRangeError, StoreError, VerificationError


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request, tmp_path):
    if request.param == "s3":
        yield open_store(request.getfixturevalue("s3") + "/some/prefix")
        return
    yield open_store(tmp_path / "out" if request.param == "folder" else f"memory://store/{tmp_path.name}")
    fsspec.filesystem("memory").store.clear()


def put(store, name, body):
    with store.write(name) as upload:
        upload.file.write(body)
    return upload


def files(url):
    store = open_store(url)
    return {name: store.read(name, 1 << 30) for name in store.entries()}


class TestInterface:
    def test_what_is_written_can_be_listed_and_read(self, store):
        store.prepare()
        assert store.entries() == {}
        upload = put(store, "a", b"123456")
        entry = store.entries()["a"]
        assert entry == store.stat("a")
        assert (entry.size, entry.tag) == (6, upload.tag)
        assert (entry.tag is None) == store.local
        assert entry.modified is not None
        assert store.read("a", 6) == b"123456"
        assert store.read_ranges([("a", 4, 6), ("a", 0, 1)]) == [b"56", b"1"]
        assert store.read_ranges([]) == []
        with store.open("a") as file:
            assert (file.read(2), file.read(), file.read(1)) == (b"12", b"3456", b"")
            assert file.seek(0, io.SEEK_END) == 6
        put(store, "b", b"")
        assert store.read_all(["a", "b", "gone"]) == {"a": b"123456", "b": b""}
        assert store.read_all([]) == {}
        store.delete(["a", "gone"])
        assert list(store.entries()) == ["b"]

    def test_tags_distinguish_two_writes(self, store):
        store.prepare()
        first, second = put(store, "a", b"1"), put(store, "a", b"2")
        assert store.local or first.tag != second.tag
        assert store.read("a", 1) == b"2"

    def test_nothing_is_left_of_a_write_that_fails(self, store):
        store.prepare()
        with pytest.raises(ZeroDivisionError), store.write("a") as upload:
            upload.file.write(b"half")
            1 / 0  # noqa: B018
        assert store.entries() == {}

    def test_of_two_creators_one_succeeds(self, store):
        store.prepare()
        store.create("plan", b"first")
        with pytest.raises(FileExistsError):
            store.create("plan", b"first")
        with pytest.raises(FileExistsError):
            store.create("plan", b"other")
        assert store.read("plan", 10) == b"first"

    def test_of_many_creators_one_succeeds(self, store):
        store.prepare()
        won = []

        def create(number):
            try:
                store.create("plan", str(number).encode())
            except FileExistsError:
                return
            won.append(number)

        threads = [threading.Thread(target=create, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [store.read("plan", 10)] == [str(number).encode() for number in won]

    def test_missing_files(self, store):
        store.prepare()
        for use in (store.stat, store.open, lambda name: store.read(name, 10)):
            with pytest.raises(FileNotFoundError), use("gone") as file:
                file.read()

    def test_files_that_are_too_large(self, store):
        store.prepare()
        put(store, "a", b"1234")
        with pytest.raises(StoreError, match="has 4 bytes; files of this kind have at most 3"):
            store.read("a", 3)

    def test_pickles_hold_no_credentials(self, store):
        store.prepare()
        store.entries()
        sent = pickle.dumps(store)
        assert b"secret" not in sent
        assert b"AKID" not in sent
        assert pickle.loads(sent).location == store.location  # noqa: S301
        assert "secret" not in repr(store)


class TestNames:
    def test_urls_and_paths(self, tmp_path):
        assert is_url("s3://bucket/x")
        assert not is_url("C:/x")
        assert not is_url(tmp_path)
        for url in (f"file://{tmp_path}", f"FILE://localhost{tmp_path}/", f"local://{tmp_path}"):
            assert open_store(url).path == tmp_path
        assert open_store("S3A://bucket/x/").location == "s3://bucket/x"
        assert open_parent("memory://a/b/c.npz")[0].location == "memory://a/b"
        assert open_parent(tmp_path / "c.npz")[1] == "c.npz"

    def test_a_url_that_became_a_path(self, tmp_path):
        with pytest.raises(StoreError, match="s3://bucket/x is a URL, but was given as a path; give it as a str"):
            open_store(type(tmp_path)("s3://bucket/x"))

    @pytest.mark.parametrize(
        "url",
        [
            "s3://AKIDSECRET:hush@bucket/x",
            "s3://AKIDSECRET@bucket/x",
            "s3://AKIDSECRET:hu/sh/hush@bucket/x",
            "s3://AKID/SECRET:hush@bucket/x",
            "https://host/x?pwd=hush",
            "https://user:hush@host/x",
            "https://host/x?X-Amz-Signature=hush",
            "https://host/x?sv=2&sig=hush",
            "az://container:hush@account.dfs.core.windows.net/x",
        ],
    )
    @pytest.mark.parametrize("use", [open_store, data.read, data.verify, lambda url: run_export(url)])
    def test_credentials_in_a_url_are_refused_and_not_repeated(self, url, use):
        with pytest.raises(StoreError, match="has credentials") as caught:
            use(url)
        assert "hush" not in str(caught.value)
        assert "SECRET" not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("nothing://x", "nothing:// cannot be opened by fsspec"),
            ("simplecache::s3://bucket/x", "chains file systems"),
            ("hf://datasets/a/b", "needs a package that is not installed|can be read but not written"),
            ("https://host/x", "can be read but not written"),
        ],
    )
    def test_urls_that_cannot_be_written(self, url, message):
        with pytest.raises(StoreError, match=message):
            run_export(url)

    def test_lies_in(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert lies_in("a/b", "a")
        assert lies_in(tmp_path / "a", "a")
        assert not lies_in("ab", "a")
        assert lies_in("s3://b/a/", "s3://b/a")
        assert lies_in("s3a://b/a/c", "S3://b/a")
        assert not lies_in("s3://b/ab", "s3://b/a")
        assert not lies_in("s3://b/a", "gs://b/a")
        assert not lies_in("s3://b/a", "b")


class TestExports:
    def test_equal_bytes_everywhere(self, tmp_path, s3):
        run_export(tmp_path / "out")
        for url in (f"memory://exports/{tmp_path.name}", f"{s3}/a/b"):
            result = run_export(url)
            assert (result.location, result.images) == (url, 20)
            assert files(url) == content(tmp_path / "out")
            assert data.verify(url, SHARED_AES).images == len(list(data.read(url))) == 20
        assert run_export(f"{s3}/workers", workers=2).images == 20
        assert files(f"{s3}/workers") == content(tmp_path / "out")

    def test_worker_processes_do_not_see_this_ones_memory(self):
        with pytest.raises(InputRangeError, match="take workers=0"):
            run_export("memory://exports/workers", workers=2)

    def test_a_prefix_that_holds_other_things(self, s3):
        put(open_store(f"{s3}/a"), "deep/notes.txt", b"x")
        with pytest.raises(ExportError, match=r"holds other files, such as deep/notes\.txt"):
            run_export(f"{s3}/a")

    def test_no_character_of_a_name_is_a_pattern(self, s3):
        run_export(f"{s3}/run1", part=(0, 2))
        before = files(f"{s3}/run1")
        run_export(f"{s3}/run[1]", part=(0, 2))
        run_export(f"{s3}/run[1]")
        assert data.verify(f"{s3}/run[1]", SHARED_AES).images == 20
        run_export(f"{s3}/run?")
        assert files(f"{s3}/run1") == before

    def test_objects_that_consoles_make_for_folders(self, s3):
        import s3fs

        s3fs.S3FileSystem().call_s3("put_object", Bucket=s3[5:], Key="a/", Body=b"")
        run_export(f"{s3}/a")
        assert data.verify(f"{s3}/a", SHARED_AES).images == 20

    def test_a_copy_on_a_web_server(self, tmp_path):
        run_export(tmp_path / "out")
        with serve_folder(tmp_path) as url:
            assert data.verify(f"{url}/out", SHARED_AES).images == len(list(data.read(f"{url}/out"))) == 20

    def test_neighbours_of_a_prefix_do_not_matter(self, s3):
        put(open_store(s3), "abc", b"x")
        assert run_export(f"{s3}/ab").images == 20

    def test_a_resumed_bucket_is_not_read_again(self, s3, s3_server):
        run_export(f"{s3}/a", dataset=Pictures(60), shard_size=3)
        s3_server.requests.clear()
        run_export(f"{s3}/a", dataset=Pictures(60), shard_size=3)
        read = {request for request in s3_server.requests if request.startswith("GET") and ".tar" in request}
        assert len(read) <= 1  # the first batch of one shard is made again and compared
        assert not [request for request in s3_server.requests if request.startswith("PUT")]


def stop_after(images):
    def progress(done, total):
        if done >= images:
            raise KeyboardInterrupt

    return progress


def test_neither_source_nor_export_lies_in_the_other(tmp_path, s3):
    root = write_folder(tmp_path / "out" / "in", classes=1, each=4)
    with pytest.raises(ExportError, match="the source .* lies inside"):
        run_export(tmp_path / "out", dataset=data.open_source(root))
    with pytest.raises(ExportError, match="lies inside the source"):
        run_export(root / "deep", dataset=data.open_source(root))
    put(open_store(f"{s3}/out/in"), "class0/0.png", (root / "class0" / "0.png").read_bytes())
    with pytest.raises(ExportError, match="the source .* lies inside"):
        run_export(f"{s3}/out", dataset=data.open_source(f"{s3}/out/in"))


class TestFaults:
    """What a server, a network or a bucket can do; nothing is ever missing without an error."""

    def test_a_server_that_ignores_conditions_is_refused(self, s3, s3_server):
        s3_server.fault = ignore_conditions
        with pytest.raises(StoreError, match="ignores conditional writes"):
            run_export(f"{s3}/a")
        s3_server.fault = None
        assert open_store(f"{s3}/a").entries() == {}

    def test_the_folder_of_splits_is_no_export(self, s3):
        for use in (data.verify, data.status):
            with pytest.raises(ExportError, match=f"name one of them, such as {s3}/train"):
                use(s3)

    def test_no_such_bucket(self, s3_server):
        for use in (run_export, data.verify, data.read):
            with pytest.raises(ExportError, match="is not a finished export|cannot list s3://no-such-bucket"):
                use("s3://no-such-bucket-anywhere/x")

    @pytest.mark.parametrize(
        ("status", "code", "message"),
        [
            ("403 Forbidden", "AccessDenied", "cannot list s3://.*credentials"),
            ("403 Forbidden", "ExpiredToken", "cannot list s3://.*credentials"),
            ("301 Moved", "PermanentRedirect", "cannot list s3://"),
            ("400 Bad Request", "AuthorizationHeaderMalformed", "cannot list s3://"),
        ],
    )
    def test_listing_refused(self, s3, s3_server, status, code, message):
        s3_server.fault = error(status, code)
        with pytest.raises(StoreError, match=message) as caught:
            run_export(f"{s3}/a")
        assert "secret-for-testing" not in str(caught.value)

    def test_writing_refused(self, s3, s3_server):
        s3_server.fault = only("PUT", ".tar", error("403 Forbidden", "AccessDenied"))
        with pytest.raises(StoreError, match="cannot write to s3://.*credentials"):
            run_export(f"{s3}/a")
        assert list(open_store(f"{s3}/a").entries()) == ["plan.json"]

    def test_credentials_that_expire_in_the_middle(self, tmp_path, s3, s3_server):
        s3_server.fault = only("PUT", "shard-000001.tar", error("400 Bad Request", "ExpiredToken"))
        with pytest.raises(StoreError, match="cannot write to s3://"):
            run_export(f"{s3}/a")
        assert "manifest.json" not in files(f"{s3}/a")
        s3_server.fault = None
        run_export(f"{s3}/a")
        run_export(tmp_path / "out")
        assert files(f"{s3}/a") == content(tmp_path / "out")

    @pytest.mark.slow
    def test_busy_servers_are_asked_again(self, tmp_path, s3, s3_server):
        busy, count = error("503 Slow Down", "SlowDown"), itertools.count()
        s3_server.fault = lambda *request: busy(*request) if next(count) in (1, 6, 11) else None
        run_export(f"{s3}/a")
        s3_server.fault = None
        run_export(tmp_path / "out")
        assert files(f"{s3}/a") == content(tmp_path / "out")

    @pytest.mark.slow
    def test_connections_that_are_cut(self, tmp_path, s3, s3_server):
        def cut(environ, start_response):
            if next(count) in (3, 9):
                raise ConnectionResetError("cut by the test")

        count = itertools.count()
        s3_server.fault = cut
        run_export(f"{s3}/a")
        s3_server.fault = None
        run_export(tmp_path / "out")
        assert files(f"{s3}/a") == content(tmp_path / "out")

    def test_a_shard_that_is_cut_short_on_the_way_is_noticed(self, s3, s3_server):
        """Of equal size by the listing, but other bytes: the hash tells."""
        run_export(f"{s3}/a")
        body = bytearray(files(f"{s3}/a")["shard-000001.tar"])
        body[5000] ^= 1
        put(open_store(f"{s3}/a"), "shard-000001.tar", bytes(body))
        with pytest.raises(VerificationError, match=r"shard-000001\.tar was changed"):
            data.verify(f"{s3}/a")
        with pytest.raises(VerificationError, match=r"shard-000001\.tar is damaged"):
            list(data.read(f"{s3}/a"))

    def test_a_manifest_is_not_written_over_shards_that_changed(self, s3):
        """Somebody deletes a shard while the export runs: it is made again."""
        store = open_store(f"{s3}/a")

        def delete_first(done, total):
            if done == 14:
                store.delete(["shard-000000.tar"])

        run_export(f"{s3}/a", progress=delete_first)
        assert data.verify(f"{s3}/a", SHARED_AES).images == 20

    def test_resumed_in_the_middle(self, tmp_path, s3):
        with pytest.raises(KeyboardInterrupt):
            run_export(f"{s3}/a", progress=stop_after(14))
        assert "manifest.json" not in files(f"{s3}/a")
        run_export(f"{s3}/a")
        run_export(tmp_path / "out")
        assert files(f"{s3}/a") == content(tmp_path / "out")


class TestCache:
    def test_shards_are_fetched_once(self, tmp_path, s3, s3_server):
        run_export(f"{s3}/a")
        first = list(data.read(f"{s3}/a", cache=tmp_path / "cache"))
        s3_server.requests.clear()
        again = list(data.read(f"{s3}/a", cache=tmp_path / "cache"))
        assert not [request for request in s3_server.requests if ".tar" in request]
        assert all(torch.equal(a, b) and m == n for (a, m), (b, n) in zip(first, again, strict=True))
        assert len(list((tmp_path / "cache").iterdir())) == 3

    def test_nothing_of_a_damaged_shard_is_seen(self, tmp_path, s3):
        run_export(f"{s3}/a")
        body = bytearray(files(f"{s3}/a")["shard-000000.tar"])
        body[-6000] ^= 1
        put(open_store(f"{s3}/a"), "shard-000000.tar", bytes(body))
        seen = []
        with pytest.raises(VerificationError, match=r"shard-000000\.tar is damaged"):
            seen.extend(data.read(f"{s3}/a", cache=tmp_path / "cache"))
        assert not seen
        assert not list((tmp_path / "cache").iterdir())

    def test_a_damaged_copy_is_replaced(self, tmp_path, s3):
        run_export(f"{s3}/a")
        whole = len(list(data.read(f"{s3}/a", cache=tmp_path / "cache")))
        for copy in (tmp_path / "cache").iterdir():
            body = bytearray(copy.read_bytes())
            body[3000] ^= 1
            copy.write_bytes(body)
        assert len(list(data.read(f"{s3}/a", cache=tmp_path / "cache"))) == whole == 20

    @pytest.mark.parametrize("cache", ["", "s3://bucket/cache"])
    def test_wrong_places(self, s3, cache):
        run_export(f"{s3}/a")
        with pytest.raises(StoreError, match="a cache must be a local folder"):
            data.read(f"{s3}/a", cache=cache)

    def test_a_file_in_the_place_of_the_cache(self, tmp_path, s3):
        run_export(f"{s3}/a")
        (tmp_path / "cache").write_bytes(b"")
        with pytest.raises(StoreError, match="cannot keep copies in"):
            list(data.read(f"{s3}/a", cache=tmp_path / "cache"))

    def test_a_cache_is_not_needed_for_a_folder(self, tmp_path):
        run_export(tmp_path / "out")
        assert len(list(data.read(tmp_path / "out", cache=tmp_path / "cache"))) == 20
        assert not (tmp_path / "cache").exists()


@pytest.mark.slow
class TestLoaders:
    """What is read from a bucket, in worker processes and on several ranks."""

    @pytest.mark.parametrize(("start_method", "cached"), [("fork", True), ("spawn", False), ("forkserver", True)])
    def test_worker_processes(self, tmp_path, s3, start_method, cached):
        multiprocessing.forkserver._forkserver._stop()  # one that is running has the environment of another test
        run_export(f"{s3}/a", dataset=Pictures(60), shard_size=6)
        cache = tmp_path / "cache" if cached else None
        dataset = data.read(f"{s3}/a", cache=cache, shardshuffle=10, seed=3).shuffle(20)
        loader = torch.utils.data.DataLoader(
            dataset, batch_size=None, num_workers=2, multiprocessing_context=start_method
        )
        seen = sorted(image.numpy().tobytes() for image, _ in loader)
        assert seen == sorted(image.numpy().tobytes() for image, _ in data.read(f"{s3}/a"))

    def test_ranks(self, s3, monkeypatch):
        run_export(f"{s3}/a", dataset=Pictures(60), shard_size=6)
        seen = []
        for rank in range(2):
            monkeypatch.setenv("RANK", str(rank))
            monkeypatch.setenv("WORLD_SIZE", "2")
            seen.append([image.numpy().tobytes() for image, _ in data.read(f"{s3}/a")])
        monkeypatch.delenv("RANK")
        monkeypatch.delenv("WORLD_SIZE")
        assert [len(images) for images in seen] == [30, 30]
        assert sorted(seen[0] + seen[1]) == sorted(image.numpy().tobytes() for image, _ in data.read(f"{s3}/a"))

    def test_damage_in_a_worker_process(self, s3):
        run_export(f"{s3}/a")
        put(open_store(f"{s3}/a"), "shard-000001.tar", b"x" * len(files(f"{s3}/a")["shard-000001.tar"]))
        with pytest.raises(VerificationError, match=r"shard-000001\.tar is damaged"):
            list(torch.utils.data.DataLoader(data.read(f"{s3}/a"), batch_size=None, num_workers=2))
