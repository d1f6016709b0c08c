import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import fsspec
import pytest
import torch
from audit_world import QUICK, World, control, export, named
from support import content

from torchprotect import attacks, audit, keys
from torchprotect._lock import lock_folder
from torchprotect.attacks import AttackResult, DNNExaminer, Level
from torchprotect.attacks.scores import NOTHING
from torchprotect.audit.bench import store as stores
from torchprotect.audit.bench.store import Store
from torchprotect.errors import ExportError, InputRangeError, InputTypeError

LIGHT = named("metadata_scan", "direct_reidentification", "regression_attack")
"""Three attacks, one of each level."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("audit") / "out"
    return out, export(out)


def own_attack(run, level=Level.CIPHERTEXT_ONLY, **options):
    """Return an attack as a user might write one."""
    return attacks.Attack("x", "X", "does something", "equality", level, run, NOTHING, **options)


def without_times(report):
    """Return the report's JSON without what differs from run to run."""
    document = json.loads(report.to_json())
    del document["started"], document["seconds"]
    for each in document["findings"]:
        del each["seconds"]
    return document


@pytest.mark.slow
def test_progress_tells_each_part(exported):
    told = []
    audit.run(
        exported[0],
        plain=World(),
        key=exported[1],
        settings=QUICK,
        attacks=LIGHT,
        progress=lambda *all: told.append(all),
    )
    names = [*[f"{kind} training 1" for kind in ("plain", "disguised")], *[each.name for each in LIGHT], "done"]
    assert told == [(name, place, 5) for place, name in enumerate(names)]


@pytest.mark.slow
def test_an_error_half_way_and_on_from_there(exported, tmp_path):
    options = {"plain": World(), "key": exported[1], "settings": QUICK, "report": tmp_path / "report.html"}
    whole = audit.run(exported[0], attacks=LIGHT, **options)

    def stop(seen):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit.run(exported[0], attacks=[*LIGHT[:2], own_attack(stop), LIGHT[2]], **options)
    parts = tmp_path / "report.html.parts"
    names = ["direct_reidentification.json", "disguised-training-1.json", "metadata_scan.json", "plain-training-1.json"]
    assert sorted(path.name for path in parts.iterdir()) == names
    assert parts.stat().st_mode & 0o077 == 0
    again = audit.run(exported[0], attacks=LIGHT, **options)
    assert without_times(again) == without_times(whole)
    assert not parts.exists()


def marked(parts, name):
    """Change what a finished part says, to see whether it is taken up."""
    document = json.loads((parts / f"{name}.json").read_text())
    document["part"]["note"] = "taken from the store"
    (parts / f"{name}.json").write_text(json.dumps(document))


def taken_up(report):
    return [each.attack for each in report.findings if each.note == "taken from the store"]


@pytest.mark.slow
def test_parts_of_another_audit_are_passed_over(exported, tmp_path):
    path = tmp_path / "report.html"
    with Store(path.with_name("report.html.parts"), "another digest") as store:
        store.save("direct_reidentification", {"attack": "forged"})
    (tmp_path / "report.html.parts" / "metadata_scan.json").write_text("{torn")
    report = audit.run(exported[0], plain=World(), key=exported[1], settings=QUICK, report=path, attacks=LIGHT)
    assert [each.attack for each in report.findings] == [each.name for each in LIGHT]


@pytest.mark.slow
@pytest.mark.parametrize("resume", [True, False])
def test_without_resume_it_starts_again(exported, tmp_path, resume, monkeypatch):
    options = {"plain": World(), "key": exported[1], "settings": QUICK, "report": tmp_path / "report.html"}
    with monkeypatch.context() as kept:
        kept.setattr(Store, "remove", lambda self: None)
        audit.run(exported[0], attacks=LIGHT, **options)
    for each in LIGHT:
        marked(tmp_path / "report.html.parts", each.name)
    report = audit.run(exported[0], attacks=LIGHT, resume=resume, **options)
    assert taken_up(report) == ([each.name for each in LIGHT] if resume else [])


def test_parts_in_another_precision_are_passed_over(exported, tmp_path, monkeypatch):
    """An audit may go on on a machine that trains in another one."""
    options = {"plain": World(), "key": exported[1], "settings": QUICK, "report": tmp_path / "report.html"}
    with monkeypatch.context() as kept:
        kept.setattr(Store, "remove", lambda self: None)
        kept.setattr("torchprotect.audit.bench.settings.fast_precision", lambda device: None)
        audit.run(exported[0], attacks=LIGHT, **options)
    for each in LIGHT:
        marked(tmp_path / "report.html.parts", each.name)
    monkeypatch.setattr("torchprotect.audit.bench.settings.fast_precision", lambda device: torch.bfloat16)
    assert taken_up(audit.run(exported[0], attacks=LIGHT, **options)) == []


def test_attacks_of_ones_own_run_anew(exported, tmp_path, monkeypatch):
    """Their code may have changed since."""
    monkeypatch.setattr(Store, "remove", lambda self: None)
    ran = []

    def run(seen):
        ran.append(seen)
        return AttackResult(Level.CIPHERTEXT_ONLY, {})

    for _ in range(2):
        audit.run(exported[0], settings=QUICK, report=tmp_path / "report.html", attacks=[own_attack(run), LIGHT[0]])
    assert len(ran) == 2
    assert "x.json" not in {path.name for path in (tmp_path / "report.html.parts").iterdir()}


@pytest.mark.slow
def test_killed_and_resumed(exported, tmp_path):
    """SIGKILL while it works; the same audit, called again, then gives what an undisturbed one gives."""
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
    options = {"plain": World(), "key": exported[1], "settings": QUICK}
    goes_on, whole = (audit.run(exported[0], report=path, **options) for path in (killed, tmp_path / "whole.html"))
    assert without_times(goes_on) == without_times(whole)
    assert not parts.exists()


@pytest.mark.slow
def test_an_attack_that_refuses_is_not_run(exported):
    def refuse(seen):
        raise InputRangeError("too few pairs: 7 are needed")

    chosen = [own_attack(refuse, Level.KNOWN_PAIRS)]
    report = audit.run(exported[0], plain=World(), key=exported[1], settings=QUICK, attacks=chosen)
    assert report.findings == ()
    assert reasons(report)["x"] == "refused these images: too few pairs: 7 are needed"
    assert reasons(report)["regression_attack"] == "not among the requested attacks"
    levels = [each.level.value for each in report.not_run]
    assert levels == sorted(levels)


def test_what_a_reason_refuses_is_not_run(exported):
    def refuse(scheme):
        raise InputRangeError("images hold NaN")

    report = audit.run(exported[0], settings=QUICK, attacks=[own_attack(refuse, reason=refuse)])
    assert reasons(report)["x"] == "refused these images: images hold NaN"


@pytest.mark.parametrize(
    ("chosen", "error", "message"),
    [
        ([], InputRangeError, "at least one attack"),
        ([LIGHT[0], LIGHT[0]], InputRangeError, "these come twice: metadata_scan"),
        (["metadata_scan"], InputTypeError, r"attacks\.Attack objects, got str"),
    ],
)
def test_attacks_that_cannot_be_chosen(exported, chosen, error, message):
    with pytest.raises(error, match=message):
        audit.run(exported[0], settings=QUICK, attacks=chosen)


def test_images_with_nan_end_only_attacks_that_use_them():
    evidence = control("RMTDisguise", "identity", 60)
    disguised, plain = evidence.disguised.clone(), evidence.plain / 255
    disguised[:, 0, 0, 0] = plain[:, 0, 0, 0] = math.nan
    report = audit.run(replace(evidence, disguised=disguised), settings=QUICK, attacks=LIGHT)
    told = reasons(report)
    assert told["disguised training 1"] == "refused these images: images hold NaN or infinity"
    assert "plain training 1" not in told
    assert len(report.utility.plain) == 1
    assert report.utility.disguised == ()
    report = audit.run(replace(evidence, plain=plain), settings=QUICK, attacks=LIGHT)
    assert reasons(report)["plain training 1"] == "refused these images: images hold NaN or infinity"
    assert [each.level.value for each in report.not_run if "training" in each.attack] == ["L0", "L1"]


@pytest.mark.parametrize(("images", "epochs"), [(20, 16), (375, 16), (750, 8), (1500, 4), (3000, 4)])
def test_few_images_are_passed_over_more_often(images, epochs):
    assert audit.Settings(epochs=4).epochs_over(images) == epochs


@pytest.mark.parametrize(("disguised", "plain", "number"), [(60, 400, 30), (400, 60, 48), (400, 400, 100)])
def test_both_kinds_of_network_are_trained_on_as_many_images(monkeypatch, disguised, plain, number):
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
    report = audit.run(unpaired, settings=settings, attacks=LIGHT)
    public = min(100, report.facts["split"]["public"])
    examiner = [] if public == number else [public]
    assert told == [number] * 4 + examiner
    assert (report.utility.trained, report.utility.epochs) == (number, 4)


def reasons(report):
    return {each.attack: each.reason for each in report.not_run}


def test_reasons_without_plain_images(exported):
    report = audit.run(exported[0], settings=QUICK)
    told = reasons(report)
    for name in (
        "direct_reidentification",
        "row_energy_attack",
        "linkage_attack",
        "regression_attack",
        "recover_permutation",
    ):
        assert "--plain" in told[name], name
    assert {each.attack for each in report.findings} == {"duplicate_statistics", "metadata_scan", "read_matrix_rows"}
    assert report.utility.plain == ()
    assert len(report.utility.disguised) == 1
    assert "RMTDisguise" in told["codebook_attack"]


@pytest.mark.slow
def test_a_folder_and_a_url_have_the_same_metadata(exported):
    fsspec.filesystem("memory").put(str(exported[0]), "/audited/out", recursive=True)
    options = {"attacks": named("metadata_scan"), "settings": QUICK}
    local, remote = (audit.run(export, **options).findings for export in (exported[0], "memory://audited/out"))
    assert len(local) == len(remote) == 1
    assert replace(remote[0], seconds=0) == replace(local[0], seconds=0)
    assert local[0].facts


@pytest.mark.slow
def test_reasons_without_the_key(exported):
    report = audit.run(exported[0], plain=World(), settings=QUICK)
    told = reasons(report)
    for name in ("linkage_attack", "regression_attack", "recover_permutation", "reconstruction_attack"):
        assert "--key" in told[name], name
    assert {"direct_reidentification", "row_energy_attack"} <= {each.attack for each in report.findings}
    assert report.measured("L1")
    assert not report.measured("L2")


@pytest.mark.slow
def test_plain_images_of_another_size(exported):
    small = torch.nn.functional.avg_pool2d(World().images.float(), 2).to(torch.uint8)
    report = audit.run(exported[0], plain=list(zip(small, World().labels.tolist(), strict=True)), settings=QUICK)
    assert "1 x 8 x 8, disguised ones 1 x 16 x 16" in reasons(report)["direct_reidentification"]


def test_plain_images_without_labels():
    evidence = control("RMTDisguise", "identity")
    bare = audit.Evidence(
        evidence.disguised, evidence.scheme, None, evidence.plain, None, evidence.pairing, evidence.order
    )
    report = audit.run(bare, settings=QUICK)
    assert "no labels" in reasons(report)["direct_reidentification"]
    assert report.utility is None
    assert report.leakage("L1") > 0.9  # linkage needs none
    rebuilt = next(each for each in report.findings if each.attack == "regression_attack")
    assert [each.metric for each in rebuilt.measures] == ["re-identification@1", "PSNR", "SSIM"]


def test_few_images_say_so_instead_of_failing():
    images, scheme = (
        torch.randint(0, 256, (24, 1, 8, 8)).to(torch.uint8),
        attacks.Scheme("BlockPermute", block_size=(4, 4), permuted=True),
    )
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
    with pytest.raises(ExportError, match="not a finished export"):
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


@pytest.mark.slow
def test_files_that_no_audit_wrote_are_not_written_over(exported, tmp_path):
    def again():
        audit.run(exported[0], settings=QUICK, attacks=LIGHT, report=tmp_path / "report.html")

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


def test_only_their_owner_reads_the_report(exported, tmp_path):
    before = os.umask(0)
    try:
        audit.run(exported[0], settings=QUICK, attacks=LIGHT, report=tmp_path / "report.html")
    finally:
        os.umask(before)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "report.html": 0o600,
        "report.json": 0o600,
    }


@pytest.mark.slow
def test_one_audit_at_a_time_writes_a_report(exported, tmp_path):
    options = {"settings": QUICK, "report": tmp_path / "report.html"}
    (metadata,) = named("metadata_scan")

    def run_the_second(seen):
        with pytest.raises(ExportError, match=r"another audit is writing this report and holds .*report\.html\.parts"):
            audit.run(exported[0], **options)
        return metadata.run(seen)

    report = audit.run(exported[0], attacks=[replace(metadata, run=run_the_second)], **options)
    assert report.findings[0].attack == "metadata_scan"
    assert sorted(content(tmp_path)) == ["report.html", "report.json"]
    audit.run(exported[0], attacks=[metadata], **options)


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
        raced.setattr(stores, "lock_folder", late)
        store = Store(folder, "digest")
    assert len(taken) >= 2
    with store, pytest.raises(ExportError, match="another audit"):
        Store(folder, "digest")
    with Store(folder, "digest") as store:
        store.remove()
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"seed": 2**63}, "seed must be an integer of at most"),
        ({"trainings": 0}, "trainings must be an integer of at least 1, got 0"),
        ({"train_images": 1}, "train_images must be an integer of at least 2, got 1"),
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": 2.5}, "epochs must be an integer of at least 1, got 2.5"),
        ({"epochs": True}, "epochs must be an integer of at least 1, got True"),
        ({"targets": 0}, "targets must be an integer of at least 2, got 0"),
        ({"inversion_pairs": 1}, "inversion_pairs must be an integer of at least 2, got 1"),
        ({"inversion_epochs": 0}, "inversion_epochs must be an integer of at least 1, got 0"),
        ({"pairs": ()}, r"such as \(5, 100\), not \(\)"),
        ({"pairs": (20, 5)}, r"each larger than the one before, .* not \(20, 5\)"),
        ({"pairs": (5, 5)}, r"not \(5, 5\)"),
        ({"pairs": (0, 5)}, r"whole numbers of at least 1 .* not \(0, 5\)"),
        ({"pairs": [5]}, r"in a tuple, .* not \[5\]"),
        ({"device": torch.device("cpu")}, "device must be a name such as 'cpu'"),
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


@pytest.mark.slow
def test_the_room_is_light():
    program = (
        "import sys, torchprotect.audit; heavy = {'matplotlib', 'jinja2', 'rich', 'typer', 'kornia', 'scipy'};"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
