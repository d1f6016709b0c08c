"""The states of an export's destination and the steps between them, in a folder and in a bucket."""

import hashlib
from dataclasses import replace

import fsspec
import pytest
from support import content

from torchprotect.data import manifest as documents
from torchprotect.data._destination import Destination, Envelope, FinishedMeanwhileError, State
from torchprotect.data._report import ShardReport
from torchprotect.data.store import open_store
from torchprotect.errors import ExportError

SIGNING = b"s" * 32
PLAN = {
    "format": documents.PLAN_FORMAT,
    "version": documents.VERSION,
    "key": "f" * 64,
    "transform": [{"name": "X"}],
    "plain": {"dtype": "uint8", "scale": 255},
    "images": 5,
    "shard_size": 2,
}


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    if request.param == "folder":
        yield open_store(tmp_path)
        return
    yield open_store(f"memory://destination/{tmp_path.name}")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def destination(store):
    return Destination(store, PLAN, SIGNING)


def files(store):
    return {name: store.read(name, 1 << 20) for name in store.entries()}


def put(store, name, body=b""):
    with store.write(name) as upload:
        upload.file.write(body)


def make_shard(destination, index, body=b"shard"):
    with destination.write_shard(index) as upload:
        upload.file.write(body)
    count, digest = destination.planned_count(index), hashlib.sha256(body).hexdigest()
    report = ShardReport(index, count, len(body), digest, [1], [], "input", tag=upload.tag)
    destination.record(report)
    return report


def test_from_empty_to_finished(destination, store):
    assert destination.require_same_plan(resume=False) is State.EMPTY
    destination.start()
    assert destination.state is State.UNFINISHED
    assert [destination.planned_count(index) for index in range(3)] == [2, 2, 1]
    reports = [make_shard(destination, index) for index in range(3)]
    assert destination.reports(range(3)) == dict(enumerate(reports))
    assert destination.reports([1, 7]) == {1: reports[1]}
    destination.finish(reversed(reports), Envelope())
    assert destination.state is State.FINISHED
    manifest = documents.read_manifest(store)
    assert documents.is_signed(manifest, SIGNING)
    assert (manifest["images"], manifest["labels"]) == (5, 1)
    assert sorted(files(store)) == ["manifest.json", "plan.json", *(f"shard-{n:06}.tar" for n in range(3))]
    again = destination.reports(range(3))
    assert all(report.is_from_manifest for report in again.values())
    assert destination.intact(again).keys() == {0, 1, 2}


def test_a_plan_alone_binds(destination, store):
    destination.start()
    before = files(store)
    other = Destination(store, {**PLAN, "shard_size": 3}, SIGNING)
    with pytest.raises(ExportError, match=r"another plan: shard_size was 2, is 3; .*No shard .*delete .*plan\.json"):
        other.require_same_plan()
    with pytest.raises(ExportError, match="another plan: shard_size was 2, is 3"):
        other.start()
    with pytest.raises(ExportError, match="holds an export already"):
        destination.require_same_plan(resume=False)
    assert files(store) == before


def test_the_second_with_the_same_plan_joins_in(destination, store):
    destination.start()
    destination.start()
    assert destination.require_same_plan() is State.UNFINISHED


def test_a_plan_with_a_wrong_hmac(destination, store):
    Destination(store, PLAN, b"x" * 32).start()
    with pytest.raises(ExportError, match="its HMAC is wrong"):
        destination.start()


@pytest.mark.parametrize(
    ("name", "message"),
    [("notes.txt", "other files, such as notes.txt"), ("shard-000000.tar", "holds shard-000000.tar but no plan")],
)
def test_files_of_something_else(destination, store, name, message):
    put(store, name)
    with pytest.raises(ExportError, match=message):
        destination.require_same_plan()
    assert list(files(store)) == [name]


def test_a_subfolder_is_something_else(tmp_path):
    (tmp_path / "sub").mkdir()
    with pytest.raises(ExportError, match="other files, such as sub/"):
        Destination(open_store(tmp_path), PLAN, SIGNING).require_same_plan()


def test_temporary_files_of_a_killed_run_are_deleted(tmp_path):
    (tmp_path / f".torchprotect-{'0' * 16}.tmp").write_bytes(b"half")
    destination = Destination(open_store(tmp_path), PLAN, SIGNING)
    assert destination.require_same_plan() is State.EMPTY
    destination.start()
    destination.delete_temporaries()
    assert list(content(tmp_path)) == ["plan.json"]


def test_shards_that_were_damaged(destination, store):
    destination.start()
    report = make_shard(destination, 0)
    assert destination.intact({0: report}).keys() == {0}
    put(store, report.name, b"drahs")
    assert not destination.intact({0: report})
    put(store, report.name, b"shard")  # another tag, the same bytes
    assert destination.intact({0: report}).keys() == {0}
    put(store, report.name, b"longer")
    assert not destination.intact({0: report}, new={0})
    store.delete([report.name])
    assert not destination.intact({0: report}, new={0})


def test_a_report_without_a_tag_has_its_shard_read(destination, store):
    """The tags of perturbed shards do not tell which of two machines made them."""
    destination.start()
    report = replace(make_shard(destination, 0), tag=None)
    if not store.local:
        put(store, report.name, b"drahs")
        assert not destination.intact({0: report}, new={0})


def test_a_shard_that_was_replaced_after_the_manifest_is_read(destination, store):
    destination.start()
    destination.finish([make_shard(destination, index) for index in range(3)], Envelope())
    put(store, "shard-000001.tar", b"drahs")
    assert destination.intact(destination.reports(range(3))).keys() == {0, 2}


def test_a_changed_manifest_is_not_resumed(destination, store):
    destination.start()
    destination.finish([make_shard(destination, 0)], Envelope())
    put(store, "manifest.json", documents.dump({**documents.read_manifest(store), "images": 3}))
    with pytest.raises(ExportError, match="was changed, or belongs to another plan"):
        destination.reports(range(3))


def test_two_may_finish_at_once(destination, store):
    destination.start()
    reports = [make_shard(destination, index) for index in range(3)]
    destination.finish(reports, Envelope())
    first = documents.read_manifest(store)
    destination.finish(reports, Envelope())
    assert documents.read_manifest(store) == first
    with pytest.raises(ExportError, match="could not be made again as it was"):
        destination.finish([*reports[:2], make_shard(replace(destination, repairs=True), 2, b"other")], Envelope())


def test_a_late_process_changes_nothing(destination, store):
    destination.start()
    reports = [make_shard(destination, index) for index in range(3)]
    destination.finish(reports, Envelope())
    before, part = files(store), replace(destination, part="0/2")
    for late in (destination, part):
        with pytest.raises(FinishedMeanwhileError, match="nothing was changed"):
            make_shard(late, 0, b"other")
    part.record(reports[0])  # the manifest came between shard and report
    assert files(store) == before
