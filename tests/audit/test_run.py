import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from audit_world import QUICK, World, control, export

from torchprotect import audit, keys
from torchprotect.attacks import Level
from torchprotect.audit import _run
from torchprotect.audit._checks import CHECKS, Check
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
    store = _run.Store(_run._parts(path), "another digest")
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
    assert [each.metric for each in rebuilt.measures] == ["re-identification@1", "PSNR, dB", "SSIM"]


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


def test_a_missing_extra_is_named(exported, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ExportError, match=re.escape("jinja2: pip install torchprotect[audit]")):
        audit.run(exported[0], report=tmp_path / "report.html")


def test_the_room_is_light():
    program = (
        "import sys, torchprotect.audit; heavy = {'matplotlib', 'jinja2', 'rich', 'typer', 'kornia', 'scipy'};"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
