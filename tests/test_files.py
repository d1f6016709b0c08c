"""Files are whole or absent, whoever else writes, on whatever file system."""

import errno
import multiprocessing
import os
import stat
import threading

import pytest
from support import SHARED_AES, content, make_bundle, run_export

from torchprotect import _files, _lock, data, keys
from torchprotect._files import atomic_file
from torchprotect.errors import ExportError

ROUNDS, WRITERS = 20, 3


def save_own_key(folder, barrier, results):
    key = keys.LabelKey.generate(classes=3)
    for turn in range(ROUNDS):
        barrier.wait()
        try:
            keys.save(key, folder / f"{turn}.key")
        except FileExistsError:
            continue
        results.put((turn, key.fingerprint))


def check_one_winner(folder, results):
    won = dict(results)
    assert len(results) == len(won) == ROUNDS
    for turn, fingerprint in won.items():
        assert keys.load(folder / f"{turn}.key").fingerprint == fingerprint
    assert sorted(content(folder)) == sorted(f"{turn}.key" for turn in range(ROUNDS))


def test_one_of_several_concurrent_saves_succeeds(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(WRITERS), context.Queue()
    processes = [context.Process(target=save_own_key, args=(tmp_path, barrier, results)) for _ in range(WRITERS)]
    for process in processes:
        process.start()
    won = [results.get(timeout=60) for _ in range(ROUNDS)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    check_one_winner(tmp_path, won + ([results.get()] if not results.empty() else []))


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_one_of_several_concurrent_saves_succeeds_without_hard_links(tmp_path, monkeypatch, error):
    """As on exFAT, SMB and FUSE."""
    monkeypatch.setattr(os, "link", refuse(error))
    results = []
    queue = type("Queue", (), {"put": staticmethod(results.append)})
    barrier = threading.Barrier(WRITERS)
    threads = [threading.Thread(target=save_own_key, args=(tmp_path, barrier, queue)) for _ in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    check_one_winner(tmp_path, results)
    assert stat.S_IMODE((tmp_path / "0.key").stat().st_mode) == 0o600


def refuse(number):
    def call(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return call


def test_failed_rename_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(_files.Path, "replace", refuse(errno.EIO))
    with pytest.raises(OSError, match="Input/output"), atomic_file(tmp_path / "a", overwrite=False) as file:
        file.write(b"x")
    assert content(tmp_path) == {}


def test_temporary_files_of_other_processes_are_kept(tmp_path):
    (tmp_path / "my.key.tmp").write_bytes(b"mine")
    keys.save(SHARED_AES, tmp_path / "my.key")
    with atomic_file(tmp_path / "report.json") as file:
        file.write(b"{}")
        (tmp_path / "report.json.tmp").write_bytes(b"also mine")
    assert (tmp_path / "my.key.tmp").read_bytes() == b"mine"
    assert (tmp_path / "report.json.tmp").read_bytes() == b"also mine"


def test_forked_processes_keep_the_temporary_files_of_their_parent(tmp_path):
    block = atomic_file(tmp_path / "a")
    file = block.__enter__()
    if (child := os.fork()) == 0:
        block.__exit__(SystemExit, SystemExit(), None)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    file.write(b"x")
    block.__exit__(None, None, None)
    assert content(tmp_path) == {"a": b"x"}


def test_temporary_files_are_unguessable_and_private_from_the_start(tmp_path):
    seen = []
    for _ in range(2):
        with atomic_file(tmp_path / "my.key", mode=0o600) as file:
            [temporary] = [path for path in tmp_path.iterdir() if path.name != "my.key"]
            assert _files.is_temporary(temporary.name)
            assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
            seen.append(temporary.name)
            file.write(b"x")
    assert len(set(seen)) == 2


def test_longest_possible_names(tmp_path):
    keys.save(SHARED_AES, tmp_path / ("k" * 255))
    assert keys.load(tmp_path / ("k" * 255)) == SHARED_AES


class TestFileSystemsWithoutFolderFlush:
    @pytest.mark.parametrize("error", [errno.EINVAL, errno.ENOTSUP])
    def test_files_are_written_anyway(self, tmp_path, monkeypatch, error):
        monkeypatch.setattr(os, "fsync", self.fail_on_folders(error))
        keys.save(SHARED_AES, tmp_path / "my.key")
        assert keys.load(tmp_path / "my.key") == SHARED_AES
        run_export(tmp_path / "out")
        assert data.verify(tmp_path / "out", SHARED_AES).images == 20

    def test_other_errors_are_raised(self, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "fsync", self.fail_on_folders(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            keys.save(SHARED_AES, tmp_path / "my.key")

    @staticmethod
    def fail_on_folders(error, flush=os.fsync):
        def fsync(descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(error, os.strerror(error))
            flush(descriptor)

        return fsync


class TestLocks:
    @pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
    def test_file_systems_without_locks_are_named(self, tmp_path, monkeypatch, error):
        monkeypatch.setattr("fcntl.flock", refuse(error))
        with pytest.raises(ExportError, match=r"flock: .*no locks that keep two processes apart"):
            run_export(tmp_path / "out")

    def test_in_use_means_that_a_lock_is_held(self, tmp_path):
        held = _lock.lock_folder(tmp_path, "")
        with pytest.raises(ExportError, match="in use by another export"):
            run_export(tmp_path)
        held.close()

    def test_workers_without_semaphores(self, tmp_path, monkeypatch):
        """As in a container without /dev/shm."""
        monkeypatch.setattr("multiprocessing.context.BaseContext.Value", refuse(errno.ENOENT))
        with pytest.raises(ExportError, match=r"semaphores, which this system refuses.*workers=0"):
            run_export(tmp_path / "out", workers=2)
        assert run_export(tmp_path / "out").images == 20


class TestDanglingLinks:
    @pytest.fixture
    def link(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "nowhere")
        return tmp_path / "link"

    def test_as_an_export_folder(self, link):
        with pytest.raises(FileExistsError, match="link is a symbolic link to .*nowhere, which does not exist"):
            run_export(link)
        with pytest.raises(FileExistsError, match="symbolic link to"):
            run_export(link / "deeper")

    def test_as_a_key_file(self, link):
        with pytest.raises(FileExistsError, match="symbolic link to"):
            keys.save(make_bundle(), link)
        assert link.is_symlink()
        assert not link.exists()
