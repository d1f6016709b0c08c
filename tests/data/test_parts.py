"""An export made in parts, on any machines, in any order, twice, with one of them killed: the bytes are the same."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from support import SHARED_AES, Pictures, content, make_bundle, run_export, write_folder

from torchprotect import data, keys
from torchprotect.data import ExportStatus
from torchprotect.data.store import open_store
from torchprotect.errors import ExportError, InputRangeError

PICTURES = Pictures(40)


def export(out, **options):
    return run_export(out, dataset=PICTURES, shard_size=3, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    export(out)
    return content(out)


@pytest.fixture(params=["folder", "bucket"])
def out(request, tmp_path):
    return str(tmp_path / "out") if request.param == "folder" else request.getfixturevalue("s3") + "/out"


def files(location):
    store = open_store(location)
    return {name: store.read(name, 1 << 30) for name in store.entries()}


class TestParts:
    def test_in_any_order_and_one_of_them_twice(self, out, whole):
        results = [export(out, part=(index, 3)) for index in (2, 0, 2, 1)]
        assert [(result.shards, result.finished) for result in results] == [
            (4, False),
            (5, False),
            (4, False),
            (5, False),
        ]
        assert "manifest.json" not in files(out)
        result = export(out)
        assert (result.images, result.shards, result.finished) == (40, 14, True)
        assert files(out) == whole

    def test_shards_left_by_parts_are_made_at_the_end(self, out, whole):
        export(out, part=(1, 4))
        export(out)
        assert files(out) == whole

    def test_a_part_of_a_finished_export_makes_nothing(self, out, whole):
        export(out)
        result = export(out, part=(0, 2))
        assert (result.images, result.shards, result.finished) == (0, 0, True)
        assert files(out) == whole

    def test_more_parts_than_shards(self, out, whole):
        assert export(out, part=(30, 50)).shards == 0
        export(out)
        assert files(out) == whole

    def test_images_skipped_by_parts_are_reported_at_the_end(self, tmp_path):
        root = write_folder(tmp_path / "in", classes=2, each=10, mode="L")
        for name in ("3", "7"):
            (root / "class0" / f"{name}.png").write_bytes(b"broken")
        options = {"dataset": data.open_source(root), "shard_size": 3, "on_error": "skip"}
        of_parts = [run_export(tmp_path / "out", part=(index, 2), **options).skipped for index in range(2)]
        result = run_export(tmp_path / "out", **options)
        assert sorted(result.skipped) == sorted(of_parts[0] + of_parts[1]) == ["class0/3.png", "class0/7.png"]
        run_export(tmp_path / "whole", **options)
        assert content(tmp_path / "out") == content(tmp_path / "whole")

    def test_parts_of_two_plans(self, out):
        export(out, part=(0, 2))
        with pytest.raises(ExportError, match="another plan: shard_size was 3, is 4"):
            run_export(out, dataset=PICTURES, shard_size=4, part=(1, 2))

    def test_parts_by_two_keys(self, out):
        export(out, part=(0, 2))
        with pytest.raises(ExportError, match="another plan: key was"):
            run_export(out, make_bundle("aes"), PICTURES, shard_size=3, part=(1, 2))

    def test_parts_of_two_versions(self, out, monkeypatch):
        export(out, part=(0, 2))
        monkeypatch.setattr("torchprotect.data._plan.__version__", "9.9")
        with pytest.raises(ExportError, match=r"another plan: torchprotect was .*, is 9\.9"):
            export(out, part=(1, 2))

    @pytest.mark.parametrize("part", [(3, 3), (-1, 3), (0, 0), (0,), "0/3", 1, (0.0, 2), (True, 2)])
    def test_wrong_numbers(self, tmp_path, part):
        with pytest.raises(InputRangeError, match="part"):
            export(tmp_path / "out", part=part)
        assert not (tmp_path / "out").exists()

    def test_parts_run_side_by_side_in_a_folder_and_the_end_waits_for_them(self, tmp_path, whole):
        inside, go_on = threading.Event(), threading.Event()

        def wait(done, total):
            inside.set()
            assert go_on.wait(60)

        slow = threading.Thread(target=export, args=[tmp_path / "out"], kwargs={"part": (0, 2), "progress": wait})
        slow.start()
        assert inside.wait(60)
        assert export(tmp_path / "out", part=(1, 2)).shards == 7
        with pytest.raises(ExportError, match="in use"):
            export(tmp_path / "out")
        go_on.set()
        slow.join()
        export(tmp_path / "out")
        assert content(tmp_path / "out") == whole

    @pytest.mark.parametrize("part", [(0, 2), None])
    def test_a_late_process_changes_no_finished_export(self, s3, whole, part):
        """In a bucket nobody waits. The late one may have other images: a plan lists names alone."""
        ends = []

        class Others(Pictures):
            def __getitem__(self, index):
                return 255 - super().__getitem__(index)[0], index % 10

        def finish_meanwhile(done, total):
            if not ends:
                ends.append(export(f"{s3}/out"))

        Others.__qualname__ = "Pictures"
        late = {"dataset": Others(40), "shard_size": 3, "part": part, "progress": finish_meanwhile}
        if part is None:
            with pytest.raises(ExportError, match="do not give what"):
                run_export(f"{s3}/out", **late)
        else:
            assert run_export(f"{s3}/out", **late).made == 0
        assert ends[0].finished
        assert files(f"{s3}/out") == whole


PART = """
import sys
from support import Pictures, run_export
from torchprotect import keys
class Slow(Pictures):
    def __getitem__(self, index):
        import time
        time.sleep(0.01)
        return super().__getitem__(index)
Slow.__qualname__ = "Pictures"
print("ready", flush=True)
out, key, index, workers = sys.argv[1:]
run_export(out, keys.load(key), Slow(40), shard_size=3, part=(int(index), 2), workers=int(workers))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_part_is_killed(tmp_path, workers):
    keys.save(SHARED_AES, tmp_path / "key")
    run_export(tmp_path / "whole", dataset=PICTURES, shard_size=3)
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(__file__))}
    command = [sys.executable, "-c", PART, tmp_path / "out", tmp_path / "key", "0", str(workers)]
    with subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        deadline = time.monotonic() + 60
        while not list((tmp_path / "out").glob("report-*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    left = content(tmp_path / "out")
    assert "manifest.json" not in left
    export(tmp_path / "out", part=(1, 2))
    export(tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_of_two_plans_started_at_once_one_wins(request, tmp_path, kind):
    place = str(tmp_path) if kind == "folder" else request.getfixturevalue("s3")
    for attempt in range(20):
        barrier, outcomes = threading.Barrier(2), {}

        def start(size, attempt=attempt, barrier=barrier, outcomes=outcomes):
            barrier.wait()
            try:
                run_export(f"{place}/{attempt}", dataset=PICTURES, shard_size=size, part=(0, 1))
            except ExportError as error:
                outcomes[size] = str(error)
            else:
                outcomes[size] = "won"

        threads = [threading.Thread(target=start, args=[size]) for size in (10, 20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcome == "won" for outcome in outcomes.values()) == [False, True], outcomes
        assert any("another plan" in outcome for outcome in outcomes.values())
        winner = next(size for size, outcome in outcomes.items() if outcome == "won")
        run_export(f"{place}/{attempt}", dataset=PICTURES, shard_size=winner)
        assert data.verify(f"{place}/{attempt}", SHARED_AES).images == 40


class TestStatus:
    def test_status_from_start_to_finish(self, out):
        with pytest.raises(ExportError, match="holds no export"):
            data.status(out)
        export(out, part=(1, 3))
        found = data.status(out)
        assert isinstance(found, ExportStatus)
        assert (found.shards, found.done, found.images, found.finished) == (14, 5, 40, False)
        assert found.missing == tuple(index for index in range(14) if index % 3 != 1)
        assert [(part.name, part.shards, part.done) for part in found.parts] == [
            ("0/3", 5, 0),
            ("1/3", 5, 5),
            ("2/3", 4, 0),
        ]
        export(out)
        found = data.status(out)
        assert (found.finished, found.done, found.missing, found.parts) == (True, 14, (), ())

    def test_a_part_that_has_stopped(self, tmp_path):
        def stop(done, total):
            if done >= 9:
                raise KeyboardInterrupt

        for index in range(2):
            with pytest.raises(KeyboardInterrupt):
                export(tmp_path / "out", part=(index, 2), progress=stop)
        long_ago = time.time() - 3600
        for path in (tmp_path / "out").iterdir():
            report = re.fullmatch(r"report-(\d+)\.json", path.name)
            if report is None or int(report[1]) % 2 == 0:
                os.utime(path, (long_ago, long_ago))
        assert [(part.name, part.stopped) for part in data.status(tmp_path / "out").parts] == [
            ("0/2", True),
            ("1/2", False),
        ]

    def test_rate_and_time_left(self, tmp_path):
        export(tmp_path / "out", part=(0, 2))
        start = time.time() - 6 * 30
        for place, path in enumerate(sorted((tmp_path / "out").glob("report-*"))):
            os.utime(path, (start + 30 * place, start + 30 * place))
        found = data.status(tmp_path / "out")
        assert found.rate == pytest.approx(2)
        assert found.seconds_left == pytest.approx(7 * 30)
        for path in (tmp_path / "out").glob("report-*"):
            os.utime(path, (path.stat().st_mtime - 600,) * 2)
        assert data.status(tmp_path / "out").rate is None  # no news for so long is no rate

    @pytest.mark.parametrize(("images", "size"), [(10**12, 1), (10**400, 1), (True, 1), (5, 0), ("5", 1), (None, 1)])
    def test_hostile_plans(self, tmp_path, images, size):
        plan = {"format": "torchprotect-plan", "version": 2, "images": images, "shard_size": size}
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        with pytest.raises(ExportError, match="malformed|not JSON"):
            data.status(tmp_path)

    def test_shards_that_were_deleted_later(self, tmp_path):
        export(tmp_path / "out")
        (tmp_path / "out" / "shard-000003.tar").unlink()
        found = data.status(tmp_path / "out")
        assert (found.finished, found.missing) == (True, (3,))

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b'{"part": 3}', b'{"part": "9/3"}', b'{"part": "0/99999999"}', b"\xff"]
    )
    def test_hostile_reports(self, tmp_path, body):
        export(tmp_path / "out", part=(0, 2))
        (tmp_path / "out" / "report-000001.json").write_bytes(body)
        assert [part.name for part in data.status(tmp_path / "out").parts] == ["0/2", "1/2"]
