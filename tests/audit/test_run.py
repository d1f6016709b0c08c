import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from audit_world import QUICK, World, control, export
from support import content
from torchprotect.audit._checks import CHECKS, Check
from torchprotect.audit._split import split

from torchprotect import audit, keys
from torchprotect._lock import lock_folder
from torchprotect.attacks import DNNExaminer, Level
from torchprotect.audit import _bench, _run, _store
from torchprotect.errors import ExportError, InputRangeError, InputTypeError

LIGHT = tuple(each for each in CHECKS if each.name in ("metadata_scan", "DNNExaminer", "regression_attack"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("audit") / "out"
    return out, export(out)


@pytest.fixture
def light(monkeypatch):
    """Three attacks, one of each level."""
    monkeypatch.setattr(_run, "CHECKS", LIGHT)


def without_times(report):
    """Return the report's JSON without what differs from run to run."""
    document = json.loads(report.to_json())
    del document["started"], document["seconds"]
    for each in document["findings"]:
        del each["seconds"]
    return document


def test_progress_tells_each_part(light, exported):
    told = []
    audit.run(exported[0], plain=World(), key=exported[1], settings=QUICK, progress=lambda *all: told.append(all))
    names = [*[f"{kind} training 1" for kind in ("plain", "disguised")], *[each.name for each in LIGHT], "done"]
    assert told == [(name, place, 5) for place, name in enumerate(names)]


def test_an_error_half_way_and_on_from_there(light, exported, tmp_path, monkeypatch):
    options = {"plain": World(), "key": exported[1], "settings": QUICK, "report": tmp_path / "report.html"}
    whole = audit.run(exported[0], **options)

    def stop(bench):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(_run, "CHECKS", (*LIGHT[:2], Check(LIGHT[2].name, LIGHT[2].level, LIGHT[2].reason, stop)))
        with pytest.raises(KeyboardInterrupt):
            audit.run(exported[0], **options)
    parts = tmp_path / "report.html.parts"
    kept = sorted(path.name for path in parts.iterdir())
    assert kept == ["DNNExaminer.json", "disguised-training-1.json", "metadata_scan.json", "plain-training-1.json"]
    assert parts.stat().st_mode & 0o077 == 0
    ran = []
    spied = [Check(c.name, c.level, c.reason, lambda b, c=c: (ran.append(c.name), c.run(b))[1]) for c in LIGHT]
    with monkeypatch.context() as watched:
        watched.setattr(_run, "CHECKS", tuple(spied))
        again = audit.run(exported[0], **options)
    assert ran == ["regression_attack"]
    assert without_times(again) == without_times(whole)
    assert not parts.exists()


def test_parts_of_another_audit_are_passed_over(light, exported, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    ran = []
    spied = [Check(c.name, c.level, c.reason, lambda b, c=c: (ran.append(c.name), c.run(b))[1]) for c in LIGHT]
    monkeypatch.setattr(_run, "CHECKS", tuple(spied))
    with _run.Store(_run._parts(path), "another digest") as store:
        store.save("DNNExaminer", {"attack": "forged"})
    (tmp_path / "report.html.parts" / "metadata_scan.json").write_text("{torn")
    audit.run(exported[0], plain=World(), key=exported[1], settings=QUICK, report=path)
    assert ran == [each.name for each in LIGHT]


@pytest.mark.parametrize("resume", [True, False])
def test_without_resume_it_starts_again(light, exported, tmp_path, resume, monkeypatch):
    options = {"plain": World(), "key": exported[1], "settings": QUICK, "report": tmp_path / "report.html"}
    with monkeypatch.context() as kept:
        kept.setattr(_run.Store, "remove", lambda self: None)
        audit.run(exported[0], **options)
    ran = []
    spied = [Check(c.name, c.level, c.reason, lambda b, c=c: (ran.append(c.name), c.run(b))[1]) for c in LIGHT]
    monkeypatch.setattr(_run, "CHECKS", tuple(spied))
    audit.run(exported[0], **options, resume=resume)
    assert ran == ([] if resume else [each.name for each in LIGHT])


def test_killed_and_resumed(exported, tmp_path):
    """SIGKILL while it works; the same command then gives what an undisturbed one gives."""
    keys.save(exported[1], tmp_path / "key")
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from audit_world import *; from torchprotect import keys;"
        "audit.run(sys.argv[2], plain=World(), key=keys.load(sys.argv[3]), report=sys.argv[4], settings=QUICK)"
    )
    command = [sys.executable, "-c", program, os.path.dirname(__file__), str(exported[0]), str(tmp_path / "key")]
    killed, parts = tmp_path / "killed.html", tmp_path / "killed.html.parts"
    process = subprocess.Popen([*command, str(killed)])
    deadline = time.monotonic() + 120
    while len(list(parts.glob("*.json"))) < 3 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    assert process.returncode == -signal.SIGKILL
    assert not killed.exists()
    before = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.json")}
    assert len(before) >= 3
    subprocess.run([*command, str(killed)], check=True)
    subprocess.run([*command, str(tmp_path / "whole.html")], check=True)
    reports = [audit.Report.read(tmp_path / f"{name}.json") for name in ("killed", "whole")]
    assert without_times(reports[0]) == without_times(reports[1])
    assert not parts.exists()


def test_an_attack_that_refuses_is_not_run(monkeypatch, exported):
    def refuse(bench):
        raise InputRangeError("too few pairs: 7 are needed")

    monkeypatch.setattr(_run, "CHECKS", (Check("x", Level.KNOWN_PAIRS, lambda bench: None, refuse),))
    report = audit.run(exported[0], plain=World(), key=exported[1], settings=QUICK)
    assert report.findings == ()
    reason = "refused these images: too few pairs: 7 are needed"
    assert audit.NotRun("x", Level.KNOWN_PAIRS, reason) in report.not_run
    levels = [each.level.value for each in report.not_run]
    assert levels == sorted(levels)


def test_what_a_reason_refuses_is_not_run(monkeypatch, exported):
    def refuse(bench):
        raise InputRangeError("images hold NaN")

    monkeypatch.setattr(_run, "CHECKS", (Check("x", Level.KNOWN_PAIRS, refuse, None),))
    report = audit.run(exported[0], settings=QUICK)
    assert reasons(report)["x"] == "refused these images: images hold NaN"


def test_images_with_nan_end_only_what_they_are_given_to(light):
    evidence = control("RMTDisguise", "identity", 60)
    disguised, plain = evidence.disguised.clone(), evidence.plain / 255
    disguised[:, 0, 0, 0] = plain[:, 0, 0, 0] = math.nan
    report = audit.run(replace(evidence, disguised=disguised), settings=QUICK)
    told = reasons(report)
    assert told["disguised training 1"] == "refused these images: images hold NaN or infinity"
    assert "plain training 1" not in told
    assert len(report.utility.plain) == 1
    assert report.utility.disguised == ()
    report = audit.run(replace(evidence, plain=plain), settings=QUICK)
    assert reasons(report)["plain training 1"] == "refused these images: images hold NaN or infinity"
    assert [each.level.value for each in report.not_run if "training" in each.attack] == ["L0", "L1"]


def test_no_public_image_left(monkeypatch):
    """There is none to train on; attacks that need none run."""
    none = torch.empty(0, dtype=torch.int64)
    monkeypatch.setattr(_bench, "split", lambda *given: replace(split(*given), public=none))
    report = audit.run(control("BlockPermute", "identity", 60), settings=QUICK)
    assert reasons(report)["plain training 1"] == "refused these images: no public image is left to train on"
    assert report.utility.plain == ()
    assert len(report.utility.disguised) == 1
    assert report.utility.trained == 30
    assert {"duplicate_statistics", "linkage_attack"} <= {each.attack for each in report.findings}


@pytest.mark.parametrize(("disguised", "plain", "number"), [(60, 400, 30), (400, 60, 48), (400, 400, 100)])
def test_both_kinds_of_network_are_trained_on_as_many_images(light, monkeypatch, disguised, plain, number):
    evidence, told = control("RMTDisguise", "identity"), []
    unpaired = audit.Evidence(
        evidence.disguised[:disguised],
        evidence.scheme,
        evidence.labels[:disguised],
        evidence.plain[:plain],
        evidence.plain_labels[:plain],
    )
    fit = DNNExaminer.fit
    monkeypatch.setattr(
        DNNExaminer,
        "fit",
        lambda self, images, *rest, **how: (told.append(len(images)), fit(self, images, *rest, **how))[1],
    )
    settings = replace(QUICK, trainings=2, train_images=100, epochs=1)
    report = audit.run(unpaired, settings=settings)
    public = min(100, report.facts["split"]["public"])
    examiner = [] if public == number else [public]
    assert told == [number] * 4 + examiner
    assert report.utility.trained == number


def reasons(report):
    return {each.attack: each.reason for each in report.not_run}


def test_reasons_without_plain_images(exported):
    report = audit.run(exported[0], settings=QUICK)
    told = reasons(report)
    for name in ("DNNExaminer", "row_energy_attack", "linkage_attack", "regression_attack", "recover_permutation"):
        assert "--plain" in told[name], name
    assert {each.attack for each in report.findings} == {"duplicate_statistics", "metadata_scan"}
    assert report.utility.plain == ()
    assert len(report.utility.disguised) == 1
    assert "RMTDisguise" in told["codebook_attack"]


def test_reasons_without_the_key(exported):
    report = audit.run(exported[0], plain=World(), settings=QUICK)
    told = reasons(report)
    for name in ("linkage_attack", "regression_attack", "recover_permutation", "reconstruction_attack"):
        assert "--key" in told[name], name
    assert {"DNNExaminer", "row_energy_attack"} <= {each.attack for each in report.findings}
    assert report.measured("L1")
    assert not report.measured("L2")


def test_plain_images_of_another_size(exported):
    small = torch.nn.functional.avg_pool2d(World().images.float(), 2).to(torch.uint8)
    report = audit.run(exported[0], plain=list(zip(small, World().labels.tolist(), strict=True)), settings=QUICK)
    assert "1 x 8 x 8, disguised ones 1 x 16 x 16" in reasons(report)["DNNExaminer"]


def test_plain_images_without_labels():
    evidence = control("RMTDisguise", "identity")
    bare = audit.Evidence(
        evidence.disguised, evidence.scheme, None, evidence.plain, None, evidence.pairing, evidence.order
    )
    report = audit.run(bare, settings=QUICK)
    assert "no labels" in reasons(report)["DNNExaminer"]
    assert report.utility is None
    assert report.leakage("L1") > 0.9  # linkage needs none
    rebuilt = next(each for each in report.findings if each.attack == "regression_attack")
    assert [each.metric for each in rebuilt.measures] == ["re-identification@1", "PSNR", "SSIM"]


def test_few_images_say_so_instead_of_failing():
    images, scheme = torch.randint(0, 256, (24, 1, 8, 8)).to(torch.uint8), audit.Scheme("BlockPermute", (4, 4), True)
    report = audit.run(audit.Evidence(images, scheme, plain=images, pairing=torch.arange(24)), settings=QUICK)
    assert report.facts["split"]["attacked"] == 12
    json.loads(report.to_json())


def test_bad_calls(exported, tmp_path):
    with pytest.raises(InputTypeError, match="leave plain and key out"):
        audit.run(control("RMTDisguise", "identity"), plain=World())
    with pytest.raises(ExportError, match=r"ends in \.html"):
        audit.run(exported[0], report=tmp_path / "report.pdf")
    with pytest.raises(ExportError, match="does not exist"):
        audit.run(exported[0], report=tmp_path / "no" / "report.html")
    with pytest.raises(ExportError, match="no finished export"):
        audit.run(tmp_path, report=tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["manifest.html", "report.html", "more/report.html", "../link/report.html"])
def test_no_report_inside_the_export(tmp_path, name):
    out = tmp_path / "out"
    key = export(out)
    evidence = audit.open_evidence(out)
    (out / "more").mkdir()
    (tmp_path / "link").symlink_to(out)
    before = content(tmp_path)
    with pytest.raises(ExportError, match="lies inside the export"):
        audit.run(out, plain=World(), key=key, settings=QUICK, report=out / name)
    with pytest.raises(ExportError, match="lies inside the export"):
        audit.run(evidence, settings=QUICK, report=out / name)
    assert content(tmp_path) == before


def test_files_that_no_audit_wrote_are_not_written_over(light, exported, tmp_path):
    def again():
        audit.run(exported[0], settings=QUICK, report=tmp_path / "report.html")

    page, document = tmp_path / "report.html", tmp_path / "report.json"
    document.write_text('{"format": "somebody else\'s"}')
    with pytest.raises(ExportError, match=r"report\.json would be written .* no audit wrote it"):
        again()
    document.unlink()
    page.write_text("<p>my notes</p>")
    with pytest.raises(ExportError, match=r"report\.html is there without the report\.json"):
        again()
    assert page.read_text() == "<p>my notes</p>"
    page.unlink()
    document.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ExportError, match="no audit wrote it"):
        again()
    document.unlink()
    again()
    again()  # the same audit may be repeated
    page.unlink()
    again()
    assert sorted(content(tmp_path)) == ["report.html", "report.json"]


def test_only_their_owner_reads_the_report(light, exported, tmp_path):
    before = os.umask(0)
    try:
        audit.run(exported[0], settings=QUICK, report=tmp_path / "report.html")
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "report.html": 0o600,
        "report.json": 0o600,
    }


def test_one_audit_at_a_time_writes_a_report(exported, tmp_path, monkeypatch):
    options = {"settings": QUICK, "report": tmp_path / "report.html"}

    def run_the_second(bench):
        with pytest.raises(ExportError, match=r"another audit is writing this report and has .*report\.html\.parts"):
            audit.run(exported[0], **options)
        return metadata.run(bench)

    (metadata,) = (each for each in LIGHT if each.name == "metadata_scan")
    monkeypatch.setattr(_run, "CHECKS", (replace(metadata, run=run_the_second),))
    assert audit.run(exported[0], **options).findings[0].attack == "metadata_scan"
    assert sorted(content(tmp_path)) == ["report.html", "report.json"]
    monkeypatch.setattr(_run, "CHECKS", (metadata,))
    audit.run(exported[0], **options)


@pytest.mark.parametrize("place", ["before", "after"])
def test_a_folder_that_another_audit_deletes_meanwhile(tmp_path, monkeypatch, place):
    """It ended between the making of the folder and the lock: the lock is on the folder that bears the name."""
    folder, taken = tmp_path / "parts", []

    def late(path, in_use):
        if not taken and place == "before":
            path.rmdir()
        taken.append(path)
        lock = lock_folder(path, in_use)
        if len(taken) == 1:
            path.rmdir()
        return lock

    with monkeypatch.context() as raced:
        raced.setattr(_store, "lock_folder", late)
        store = _store.Store(folder, "digest")
    assert len(taken) >= 2
    with store, pytest.raises(ExportError, match="another audit"):
        _store.Store(folder, "digest")
    with _store.Store(folder, "digest") as store:
        store.remove()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed is a whole number of at least 0, not -1"),
        ({"seed": 2**63}, "seed is a whole number below"),
        ({"trainings": 0}, "trainings is a whole number of at least 1, not 0"),
        ({"train_images": 1}, "train_images is a whole number of at least 2, not 1"),
        ({"epochs": 0}, "epochs is a whole number of at least 1, not 0"),
        ({"epochs": 2.5}, "epochs is a whole number of at least 1, not 2.5"),
        ({"epochs": True}, "epochs is a whole number of at least 1, not True"),
        ({"targets": 0}, "targets is a whole number of at least 2, not 0"),
        ({"inversion_pairs": 1}, "inversion_pairs is a whole number of at least 2, not 1"),
        ({"inversion_epochs": 0}, "inversion_epochs is a whole number of at least 1, not 0"),
        ({"pairs": ()}, r"such as \(5, 100\), not \(\)"),
        ({"pairs": (20, 5)}, r"each larger than the one before, .* not \(20, 5\)"),
        ({"pairs": (5, 5)}, r"not \(5, 5\)"),
        ({"pairs": (0, 5)}, r"whole numbers of at least 1 .* not \(0, 5\)"),
        ({"pairs": [5]}, r"in a tuple, .* not \[5\]"),
        ({"device": torch.device("cpu")}, "device is a name such as 'cpu'"),
    ],
)
def test_settings_that_cannot_be(options, message):
    with pytest.raises(InputRangeError, match=message):
        audit.Settings(**options)


@pytest.mark.parametrize("kind", ["BlockPermute", "RMTDisguise", "AESECBDisguise"])
def test_the_least_that_settings_take(kind):
    least = audit.Settings(0, 1, 2, 1, 2, (1,), 2, 1)
    report = audit.run(control(kind, "identity", 60), settings=least)
    assert not [each for each in report.not_run if each.reason.startswith("refused")]
    assert report.measured("L2")


@pytest.mark.parametrize("value", [math.nan, 60, -0.1, math.inf])
def test_a_bound_is_a_share(value):
    found = audit.Finding("x", Level.PUBLIC_DATA, "class", (audit.Measure("share", 1.0, 1.0, 1.0, 0.1, 1.0),))
    report = audit.Report((found,), (), None)
    with pytest.raises(InputRangeError, match=f"a share of 0 to 1, such as 0.5, not {value}"):
        audit.assert_leakage_below(report, level="L1", value=value)
    audit.assert_leakage_below(report, level="L1", value=1)
    with pytest.raises(AssertionError):
        audit.assert_leakage_below(report, level="L1", value=0.99)


def test_a_missing_extra_is_named(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(
        ExportError, match=re.escape('pip install jinja2, or, in a checkout of torchprotect, pip install ".[audit]"')
    ):
        audit.run(exported[0], report=tmp_path / "report.html")


def test_the_room_is_light():
    program = (
        "import sys, torchprotect.audit; heavy = {'matplotlib', 'jinja2', 'rich', 'typer', 'kornia', 'scipy'};"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
