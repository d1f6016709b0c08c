"""Exports on many workers: bytes as of one process, errors as of one process, and no key where it does not belong."""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
import torch
from support import Pictures, content, make_bundle, png, run_export, sent_to_worker, write_tar

from torchprotect import data, errors, keys
from torchprotect.data.engines import ExecutorEngine, RayEngine, _sealed, _worker
from torchprotect.errors import ExportError, InputRangeError, ProtectError, SourceError

cloudpickle = pytest.importorskip("cloudpickle", reason="the extra `executor` is not installed")

BUNDLE = make_bundle("rmt")
SECRET = "the secret part of a task"


class StubTask:
    """A task that tells where it was run."""

    shared, devices = True, frozenset()

    def __init__(self, uses_gradients=False, payload=SECRET):
        self.uses_gradients, self.payload = uses_gradients, payload

    def run(self, index, indices, advance):
        assert torch.get_num_threads() == 1
        return index, indices.tolist()


class Inline(Executor):
    """Runs each call at once, with arguments and results as they arrive from another process."""

    def __init__(self, fail_at=None):
        self.sent, self.fail_at = [], fail_at

    def submit(self, call, *arguments):
        self.sent.append(arguments)
        future = Future()
        if len(self.sent) == self.fail_at:
            future.set_exception(BrokenProcessPool("lost"))
        else:
            future.set_result(sent_to_worker(call(*map(sent_to_worker, arguments))))
        return future


class Heavy(Pictures):
    """Pictures with more than a mebibyte beside them."""

    def __init__(self):
        super().__init__(60)
        self.beside = np.random.default_rng(0).bytes(1 << 21)


class Broken(Pictures):
    def __getitem__(self, index):
        if index == 33:
            raise ValueError("a broken file")
        return super().__getitem__(index)


@pytest.fixture(autouse=True)
def new_worker(monkeypatch):
    monkeypatch.setattr(_worker, "_last_opened", None)


class TestSealed:
    def test_nothing_of_the_task_can_be_read(self):
        sealed, secret = _sealed.seal(StubTask())
        assert SECRET.encode() in cloudpickle.dumps(StubTask())
        assert SECRET.encode() not in sealed.content
        assert bytes(secret) not in sealed.content
        shown = f"{sealed} {sealed!r} {sealed.head} {secret} {secret!r}"
        assert secret.hex() not in shown
        assert repr(bytes(secret)) not in shown
        assert repr(sealed) == f"<sealed task, {len(sealed.content):,} bytes>"
        assert _sealed.open_sealed(sealed, secret).payload == SECRET

    def test_each_run_has_a_key_of_its_own(self):
        (first, one), (second, other) = _sealed.seal(StubTask()), _sealed.seal(StubTask())
        assert one != other
        assert first.digest != second.digest
        with pytest.raises(ExportError, match="changed on its way"):
            _sealed.open_sealed(first, other)

    @pytest.mark.parametrize("place", [0, 12, 28, -1])
    def test_a_changed_byte(self, place):
        sealed, secret = _sealed.seal(StubTask())
        changed = bytearray(sealed.content)
        changed[place] ^= 1
        with pytest.raises(ExportError, match="changed on its way"):
            _sealed.open_sealed(_sealed.Sealed(sealed.versions, sealed.digest, bytes(changed)), secret)

    def test_indices_belong_to_their_shard(self):
        secret, indices = keys.SecretBytes(os.urandom(32)), np.array([5, 3, 8])
        content = _sealed.seal_indices(indices, secret, 4)
        assert indices.tobytes() not in content
        assert _sealed.open_indices(content, secret, 4).tolist() == [5, 3, 8]
        with pytest.raises(ExportError, match="changed on its way"):
            _sealed.open_indices(content, secret, 5)

    @pytest.mark.parametrize(
        ("name", "uses_gradients", "patched"),
        [("torchprotect", False, "__version__"), ("torch", True, "torch.__version__")],
    )
    def test_version_mismatches_are_reported_before_anything_is_opened(
        self, monkeypatch, name, uses_gradients, patched
    ):
        sealed, secret = _sealed.seal(StubTask(uses_gradients))
        monkeypatch.setattr(f"torchprotect.data.engines._sealed.{patched}", "0.0.9")
        monkeypatch.setattr(cloudpickle, "loads", None)
        outcome = _worker.make_shard(sealed, secret, 0, b"")
        assert type(outcome.error) is ExportError
        assert f"a worker has {name} 0.0.9, but the export runs with {sealed.versions[name]}" in str(outcome.error)

    def test_versions_of_torch_matter_to_gradients_alone(self, monkeypatch):
        sealed, secret = _sealed.seal(StubTask())
        monkeypatch.setattr("torchprotect.data.engines._sealed.torch.__version__", "0.0.9")
        assert _sealed.open_sealed(sealed, secret).payload == SECRET

    def test_a_data_set_that_cannot_be_sent(self):
        with pytest.raises(ExportError, match="cannot be sent to workers.*must be picklable"):
            _sealed.seal(StubTask(payload=threading.Lock()))

    def test_a_module_that_a_worker_does_not_have(self, tmp_path, monkeypatch):
        (tmp_path / "only_on_the_driver.py").write_text("class Thing: pass")
        monkeypatch.syspath_prepend(tmp_path)
        import only_on_the_driver

        sealed, secret = _sealed.seal(StubTask(payload=only_on_the_driver.Thing()))
        monkeypatch.undo()
        del sys.modules["only_on_the_driver"]
        with pytest.raises(ExportError, match="No module named 'only_on_the_driver'.*on every machine"):
            _sealed.open_sealed(sealed, secret)

    def test_keys_are_sent_without_a_warning_and_arrive(self):
        sealed, secret = _sealed.seal(StubTask(payload=BUNDLE))
        assert _sealed.open_sealed(sealed, secret).payload == BUNDLE
        assert BUNDLE.root.numpy().tobytes() not in sealed.content

    def test_gzipped_tars_are_files_of_one_machine(self, tmp_path):
        body = png(Pictures()[0][0])
        path = write_tar(tmp_path / "a.tar.gz", {"a.png": body, "a.cls": b"1"}, "w:gz")
        with pytest.raises(ExportError, match="gzipped tar files.*unpack them"):
            run_export(tmp_path / "out", BUNDLE, data.open_source(str(path)), engine=Inline())

    def test_missing_cloudpickle(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
        with pytest.raises(ExportError, match="pip install cloudpickle"):
            _sealed.seal(StubTask())


class TestWorker:
    def test_the_task_is_opened_once(self, monkeypatch):
        sealed, secret = _sealed.seal(StubTask())
        indices = _sealed.seal_indices(np.array([2, 1]), secret, 7)
        assert _worker.make_shard(sealed.head, secret, 7, indices) == (None, None)
        assert _worker.make_shard(sealed, secret, 7, indices).report == (7, [2, 1])
        monkeypatch.setattr(_worker, "open_sealed", None)
        assert _worker.make_shard(sealed, secret, 7, indices).report == (7, [2, 1])
        assert _worker.make_shard(sealed.head, secret, 7, indices).report == (7, [2, 1])

    @pytest.mark.parametrize(
        "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ProtectError)]
    )
    def test_every_error_travels(self, kind):
        arrived = sent_to_worker(_worker.Outcome(None, kind("what is wrong"))).error
        assert type(arrived) is kind
        assert str(arrived) == "what is wrong"


class TestExecutor:
    def test_a_large_task_is_sent_to_those_who_ask(self, tmp_path):
        executor = Inline()
        run_export(tmp_path / "out", BUNDLE, Heavy(), engine=executor, workers=2)
        whole = [sealed for sealed, *_ in executor.sent if sealed.content is not None]
        assert len(whole) == 2  # both that were in flight when nobody had it yet
        assert len(executor.sent) == 9 + 2
        run_export(tmp_path / "local", BUNDLE, Heavy())
        assert content(tmp_path / "out") == content(tmp_path / "local")

    def test_a_small_task_goes_with_each_shard(self, tmp_path):
        executor = Inline()
        seen = []
        run_export(tmp_path / "out", BUNDLE, engine=executor, progress=lambda done, total: seen.append(done))
        assert all(sealed.content for sealed, *_ in executor.sent)
        assert sorted(np.diff(seen)) == [6, 7, 7]

    def test_a_lost_worker(self, tmp_path):
        seen = []
        with pytest.raises(ExportError, match=r"a worker was lost \(BrokenProcessPool\).*run the same export again"):
            run_export(
                tmp_path / "out",
                BUNDLE,
                Pictures(60),
                engine=Inline(fail_at=4),
                workers=2,
                progress=lambda done, total: seen.append(done),
            )
        again = Inline()
        run_export(tmp_path / "out", BUNDLE, Pictures(60), engine=again)
        made = sum(name.startswith("shard") for name in content(tmp_path / "out"))
        assert made == 9
        assert len(again.sent) <= 9 - 3  # those that were finished stay
        run_export(tmp_path / "local", BUNDLE, Pictures(60))
        assert content(tmp_path / "out") == content(tmp_path / "local")

    def test_shards_in_flight_are_reported_after_an_error(self):
        class Failing(StubTask):
            def run(self, index, indices, advance):
                if index == 0:
                    raise SourceError("a broken image")
                return super().run(index, indices, advance)

        work = [(index, np.array([index])) for index in range(9)]
        reports = ExecutorEngine(Inline()).run(Failing(), work, workers=4, advance=lambda images: None)
        seen = []
        with pytest.raises(SourceError, match="a broken image"):
            for report in reports:
                seen.append(report[0])
        assert {1, 2, 3} <= set(seen)
        assert max(seen) < 8

    def test_errors_arrive_as_they_are(self, tmp_path):
        with pytest.raises(SourceError) as local:
            run_export(tmp_path / "local", BUNDLE, Broken(60))
        with pytest.raises(SourceError) as remote:
            run_export(tmp_path / "out", BUNDLE, Broken(60), engine=Inline())
        assert str(remote.value) == str(local.value)
        assert remote.type is SourceError

    def test_an_executor_that_was_shut_down(self, tmp_path):
        executor = ProcessPoolExecutor(1)
        executor.shutdown()
        with pytest.raises(ExportError, match="takes no work"):
            run_export(tmp_path / "out", BUNDLE, engine=executor)

    def test_memory_is_seen_by_no_worker(self):
        for engine in (Inline(), RayEngine()):
            with pytest.raises(ExportError, match="memory://"):
                run_export("memory://engines/out", BUNDLE, engine=engine)

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["fork", "spawn"])
    def test_process_pool(self, tmp_path, method):
        run_export(tmp_path / "local", BUNDLE, Pictures(200))
        with ProcessPoolExecutor(2, multiprocessing.get_context(method)) as pool:
            run_export(tmp_path / "out", BUNDLE, Pictures(200), engine=pool)
            assert content(tmp_path / "out") == content(tmp_path / "local")
            run_export(tmp_path / "out", BUNDLE, Pictures(200), engine=pool)  # the pool does not keep the lock
            with pytest.raises(SourceError, match="a broken file"):
                run_export(tmp_path / "broken", BUNDLE, Broken(60), engine=pool)

    @pytest.mark.slow
    def test_killed_process(self, tmp_path):
        class Deadly(Pictures):
            def __getitem__(self, index):
                if index == 50 and multiprocessing.parent_process() is not None:
                    os._exit(9)
                return super().__getitem__(index)

        with ProcessPoolExecutor(1) as pool, pytest.raises(ExportError, match="a worker was lost"):
            run_export(tmp_path / "out", BUNDLE, Deadly(60), engine=pool)


def test_accelerators_are_asked_for(monkeypatch):
    task = StubTask()
    task.devices = {torch.device("cuda", 0)}
    with pytest.raises(InputRangeError, match=r"the model is on cuda: take RayEngine\(gpus_per_task=1\)"):
        next(RayEngine().run(task, [(0, np.array([0]))], workers=0, advance=print))


def test_nothing_to_do_needs_no_cluster(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert list(RayEngine().run(StubTask(), [], workers=0, advance=print)) == []
    with pytest.raises(ExportError, match="pip install ray"):
        next(RayEngine().run(StubTask(), [(0, np.array([0]))], workers=0, advance=print))


@pytest.mark.parametrize("options", [{"gpus_per_task": -1}, {"cpus_per_task": 0}])
def test_resources_of_a_task(options):
    with pytest.raises(InputRangeError, match="gpus_per_task must be at least 0"):
        RayEngine(**options)


@pytest.mark.slow
def test_packages_of_clusters_load_when_used():
    program = "import sys, torchprotect.data.engines; print({'ray', 'distributed', 'cloudpickle'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def on_cluster(name, folder, package):
    """Run one of ``cluster_runs``; return what it printed. Everything of Ray stays in a folder with a short name."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    keys.save(BUNDLE, folder / "key")
    with tempfile.TemporaryDirectory(prefix="tp-", dir="/tmp", ignore_cleanup_errors=True) as own:
        home, token = Path(own, "home"), Path(own, "token")
        home.mkdir()
        token.write_text("0" * 64)
        token.chmod(0o600)
        paths = [str(Path(__file__).parent.parent), *filter(os.path.isdir, sys.path)]
        settings = {
            "RAY_TMPDIR": own,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_TOKEN_PATH": str(token),
            "HOME": str(home),
            "PYTHONPATH": os.pathsep.join(paths),
        }
        script = Path(__file__).parent / "cluster_runs.py"
        command = [sys.executable, str(script), name, str(folder)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=os.environ | settings, cwd=script.parent
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
        assert "done" in done.stdout
        assert not list(home.iterdir())
        left = processes_with(own)
        deadline = time.monotonic() + 20
        while left and time.monotonic() < deadline:
            time.sleep(0.2)
            left = processes_with(own)
        assert not left
    return done.stdout + done.stderr


def processes_with(value):
    """Return command lines of processes that have a value in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if value.encode() in (entry / "environ").read_bytes():
                found.append((entry / "cmdline").read_bytes())
        except OSError:
            continue
    return found


@pytest.mark.slow
class TestDask:
    def test_bytes_after_a_killed_worker_and_logs_without_keys(self, tmp_path):
        shown = on_cluster("on_dask", tmp_path, "distributed")
        assert "a mistake" in shown
        assert "Compute Failed" in shown  # the log of a worker, where some versions of Dask show arguments
        tensors = [tensor.numpy().tobytes() for tensor in BUNDLE.tensors().values()]
        assert not [secret for secret in tensors if secret[:16].hex() in shown or repr(secret[:16])[2:-1] in shown]


@pytest.mark.slow
class TestRay:
    def test_bytes_in_a_bucket_after_a_lost_node_and_one_error_of_a_broken_image(self, tmp_path):
        pytest.importorskip("s3fs")
        pytest.importorskip("moto.server")
        on_cluster("on_ray", tmp_path, "ray")

    def test_keys_are_in_no_file_of_the_cluster(self, tmp_path):
        on_cluster("ray_keys_stay_out", tmp_path, "ray")
