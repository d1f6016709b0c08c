"""The states of an export's folder and the steps between them."""

import pytest
from support import content

from torchprotect.data import manifest as documents
from torchprotect.data._folder import ExportFolder, State
from torchprotect.data._report import ShardReport
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


def open_folder(path, plan=PLAN):
    return ExportFolder(path, plan, SIGNING)


def make_shard(folder, index, count=2, body=b"shard"):
    path = folder.shard(index)
    path.write_bytes(body)
    return ShardReport(index, count, len(body), documents.file_sha256(path), [1], [], "input")


def test_from_empty_to_finished(tmp_path):
    with open_folder(tmp_path / "export") as folder:
        assert folder.state is State.EMPTY
        folder.start_or_resume(resume=False)
        assert folder.state is State.EMPTY  # a plan alone binds nobody
        assert [folder.planned_count(index) for index in range(3)] == [2, 2, 1]
        reports = [make_shard(folder, index, folder.planned_count(index)) for index in range(3)]
        for report in reports:
            folder.record(report)
        assert folder.state is State.UNFINISHED
        assert folder.reports() == dict(enumerate(reports))
        manifest = folder.finish(reversed(reports))
        assert folder.state is State.FINISHED
        assert documents.read_manifest(folder.path) == manifest
        assert documents.is_signed(manifest, SIGNING)
        assert (manifest["images"], manifest["labels"]) == (5, 1)
        assert sorted(content(folder.path)) == ["manifest.json", "plan.json", *(f"shard-{n:06}.tar" for n in range(3))]
        assert all(report.is_from_manifest for report in folder.reports().values())
        assert all(folder.is_intact(report) for report in folder.reports().values())


def test_one_process_at_a_time(tmp_path):
    with open_folder(tmp_path), pytest.raises(ExportError, match="in use by another export"):
        open_folder(tmp_path)
    open_folder(tmp_path).lock.close()


def test_a_plan_alone_is_replaced_and_an_export_is_not(tmp_path):
    other = {**PLAN, "shard_size": 3}
    with open_folder(tmp_path) as folder:
        folder.start_or_resume(resume=True)
    with open_folder(tmp_path, other) as folder:
        folder.start_or_resume(resume=True)
        folder.record(make_shard(folder, 0, 3))
    before = content(tmp_path)
    with open_folder(tmp_path) as folder, pytest.raises(ExportError, match="another plan: shard_size was 3, is 2"):
        folder.start_or_resume(resume=True)
    with open_folder(tmp_path, other) as folder, pytest.raises(ExportError, match="holds an export already"):
        folder.start_or_resume(resume=False)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [("notes.txt", "other files, such as notes.txt"), ("shard-000000.tar", "holds shard-000000.tar but no plan")],
)
def test_files_of_something_else(tmp_path, name, message):
    (tmp_path / name).write_bytes(b"")
    with open_folder(tmp_path) as folder, pytest.raises(ExportError, match=message):
        folder.start_or_resume(resume=True)
    assert list(content(tmp_path)) == [name]


def test_temporary_files_of_a_killed_run_are_removed(tmp_path):
    (tmp_path / f".torchprotect-{'0' * 16}.tmp").write_bytes(b"half")
    with open_folder(tmp_path) as folder:
        assert folder.state is State.EMPTY
        folder.start_or_resume(resume=True)
    assert list(content(tmp_path)) == ["plan.json"]


def test_shards_that_were_damaged(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.start_or_resume(resume=True)
        report = make_shard(folder, 0)
        folder.record(report)
        folder.shard(0).write_bytes(b"drahs")
        assert not folder.is_intact(folder.reports()[0])
        folder.shard(0).unlink()
        assert not folder.is_intact(folder.reports()[0])


def test_a_changed_manifest_is_not_resumed(tmp_path):
    with open_folder(tmp_path) as folder:
        folder.start_or_resume(resume=True)
        manifest = folder.finish([make_shard(folder, 0)])
        documents.write_document(tmp_path / "manifest.json", {**manifest, "images": 3})
        with pytest.raises(ExportError, match="was changed, or belongs to another plan"):
            folder.reports()
