import json
import math
import re
from dataclasses import replace

import pytest
import torch
from audit_world import QUICK, World, control, export, named

from torchprotect import attacks, audit, keys
from torchprotect._version import __version__
from torchprotect.attacks import Level
from torchprotect.attacks.results import Reconstruction
from torchprotect.audit.report.page import render
from torchprotect.audit.report.words import bound, percent
from torchprotect.errors import InputRangeError, VerificationError


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One whole audit, with its files."""
    folder = tmp_path_factory.mktemp("audit")
    key = export(folder / "out", "AESECBDisguise")
    report = audit.run(folder / "out", plain=World(), key=key, settings=QUICK, report=folder / "report.html")
    return report, key, folder


def test_what_the_json_holds(done):
    report, key, folder = done
    document = json.loads((folder / "report.json").read_text())
    assert (document["format"], document["version"]) == ("torchprotect-audit", 2)
    assert document["environment"]["torchprotect"] == document["environment"]["attacks"] == __version__
    assert document["environment"]["cpus"] >= 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", document["started"])
    assert document["seconds"] > 0
    assert document["settings"]["seed"] == 0
    assert document["settings"]["pairs"] == [2, 60]
    data = document["data"]
    assert (data["images"], data["image_size"], data["channels"], data["classes"]) == (240, [16, 16], 1, 4)
    assert data["base_rates"] == [0.25] * 4
    for name in ("sha256", "manifest_sha256", "disguised_sha256", "plain_sha256"):
        assert re.fullmatch("[0-9a-f]{64}", data[name])
    disguise = document["disguise"]
    assert (disguise["name"], disguise["block_size"], disguise["blocks_permuted"]) == ("AESECBDisguise", [4, 4], True)
    assert disguise["key_fingerprint"] == key.fingerprint
    assert disguise["stored_dtype"] == disguise["plain_dtype"] == "uint8"
    assert disguise["steps"][0]["unit_pixels"] == 16
    assert disguise["classes_renamed"] is True
    assert document["split"]["attacked"] == document["split"]["known"] == 120
    assert list(document["levels"]) == ["L0", "L1", "L2", "L3", "L4"]
    assert document["levels"]["L3"] == {"leakage": report.leakage("L3"), "measured": False}
    assert document["verdict"] == json.loads(json.dumps(report.verdict.to_dict()))
    assert list(document["verdict"]["levels"]) == list(document["levels"])
    assert set(document["utility"]["summary"]) == {"plain", "disguised", "crossed"}
    for each in document["findings"]:
        assert {"attack", "level", "metric", "value", "low", "high", "chance", "upper", "leakage", "cost"} <= set(each)
        assert each["leakage"] is None or 0 <= each["leakage"] <= 1
    assert all(each["reason"] for each in document["not_run"])
    assert "obfuscation" in document["statement"]
    assert "secure" not in json.dumps(document).lower().replace("private", "secure").replace("insecure", "")


def test_every_attack_ran_or_says_why_not(done):
    report = done[0]
    told = {each.attack for each in (*report.findings, *report.not_run)}
    assert {attack.name for attack in attacks.STANDARD_ATTACKS} <= told
    ran = {each.attack for each in report.findings}
    assert {"codebook_attack", "silhouette_attack", "linkage_attack", "reconstruction_attack"} <= ran


def test_curves_have_the_headline_at_each_number_of_pairs(done):
    (codebook,) = (each for each in done[0].findings if each.attack == "codebook_attack")
    assert [point.pairs for point in codebook.curve] == [2, 60]
    best = max(codebook.curve, key=lambda point: point.measure.leakage)
    assert (best.pairs, best.measure) == (codebook.pairs, codebook.headline)
    assert 0 <= codebook.facts["hit_rate"] <= 1


@pytest.mark.slow
def test_the_headline_is_the_best_point_with_its_own_pictures_and_facts():
    """An attack that is spoilt by more pairs."""

    def run(seen):
        images = seen.target.to(torch.uint8)  # nothing is disguised
        found = images if len(seen.pairs.plain) == 5 else torch.zeros_like(images)
        return Reconstruction(Level.KNOWN_PAIRS, {"pairs": len(seen.pairs.plain)}, found)

    (known,) = named("regression_attack")
    settings = replace(QUICK, pairs=(2, 5, 60))
    spoilt = replace(known, name="x", run=run, variants=({},), facts=lambda result: {})
    (found,) = audit.run(control("RMTDisguise", "identity"), settings=settings, attacks=[spoilt]).findings
    assert (found.pairs, found.cost, found.leakage) == (5, {"pairs": 5}, 1)
    assert [point.pairs for point in found.curve] == [2, 5, 60]
    assert found.curve[1].measure == found.headline
    assert all(each.plain == each.rebuilt for each in found.examples)
    told = {each.metric: (each.upper, each.scaled) for each in found.measures}
    assert told == {
        "examiner's class accuracy": (pytest.approx(0.95, abs=0.06), True),
        "examiner's balanced class accuracy": (pytest.approx(0.95, abs=0.06), True),
        "re-identification@1": (1, True),
        "PSNR": (None, False),
        "SSIM": (1, False),
    }
    assert bound(found.measures[3]) == "\u221e dB"


def test_the_interval_of_leakage_on_the_page_and_in_the_json(done):
    report, _, folder = done
    document, page = json.loads((folder / "report.json").read_text()), (folder / "report.html").read_text()
    for each in document["findings"]:
        if each["leakage"] is not None:
            assert 0 <= each["leakage_low"] <= each["leakage"] <= each["leakage_high"] <= 1
    worst = report.worst("L2").headline
    assert f"{percent(worst.leakage_low)} to {percent(worst.leakage_high)}" in page
    assert "\u221e dB" in page
    assert document["data"]["duplicates"] == 0
    assert "pixel by pixel" not in page
    assert document["data"]["caveats"] == []


def test_equal_images_are_reported(done):
    report = done[0]
    data = {**report.facts["data"], "duplicates": 7}
    page = render(replace(report, facts={**report.facts, "data": data}), report.verdict)
    assert "7 of 240 plain images equal another one pixel by pixel" in page


@pytest.mark.slow
def test_a_report_without_the_key_says_what_that_means(done):
    report = audit.run(done[2] / "out", plain=World(), settings=QUICK)
    told = json.loads(report.to_json())["data"]
    assert told["hmac_checked"] is False
    for part, each in zip(("renaming", "attacked ones", "HMAC was not checked"), told["caveats"], strict=True):
        assert part in each
    assert "HMAC was not checked" in render(report, report.verdict)


def test_neither_key_nor_pixels_nor_names_in_the_json(done):
    _, key, folder = done
    text = (folder / "report.json").read_text()
    for name, tensor in key.tensors().items():
        raw = bytes(tensor.flatten().view(dtype=tensor.dtype).numpy().tobytes())
        assert raw.hex() not in text, name
        assert json.dumps(tensor.flatten().tolist())[1:-1] not in text.replace("\n", " "), name
    for purpose in ("id", "order", "noise", "manifest"):
        assert key.subkey(purpose).hex() not in text
    assert "base64" not in text
    longest = max(each.count(",") for each in re.findall(r"\[[\d.,\s]*\]", text))
    assert longest < 28  # no row of pixels


def test_reading_it_back(done, tmp_path):
    report, _, folder = done
    back = audit.Report.read(folder / "report.json")
    assert back.leakage("L2") == report.leakage("L2")
    assert json.loads(back.to_json()) == json.loads(report.to_json())
    for content in (b"", b"[]", b"{}", b'{"format": "torchprotect-audit", "version": 2}', b'{"format": "x"}'):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(VerificationError, match="not an audit report"):
            audit.Report.read(tmp_path / "x.json")
    newer = json.loads(report.to_json()) | {"version": 1}
    (tmp_path / "x.json").write_text(json.dumps(newer))
    with pytest.raises(VerificationError, match="of version 2"):
        audit.Report.read(tmp_path / "x.json")


def test_nothing_else_is_left(done):
    assert sorted(path.name for path in done[2].iterdir()) == ["out", "report.html", "report.json"]


def test_assert_leakage_below(done):
    report, _, folder = done
    bound = report.leakage("L2")
    assert audit.assert_leakage_below(report, level="L2", value=bound) is report
    read = audit.assert_leakage_below(folder / "report.json", level="L1", value=1)
    assert read.leakage("L1") == report.leakage("L1")
    with pytest.raises(AssertionError) as failed:
        audit.assert_leakage_below(report, level="L2", value=bound / 2 - 1e-6)
    lines = str(failed.value).splitlines()
    assert lines[0] == f"leakage at L2 is {bound:.1%}, at most {bound / 2 - 1e-6:.1%} is allowed:"
    assert lines[1].startswith(f"  {bound:6.1%}  {report.at('L2')[0].attack} (L")
    assert len(lines) == 1 + len(report.at("L2"))
    with pytest.raises(AssertionError, match="no attack was measured at L3.*\n  Chosen plaintext: "):
        audit.assert_leakage_below(report, level="L3", value=1)
    with pytest.raises(InputRangeError, match="L0, L1"):
        audit.assert_leakage_below(report, level="L7", value=1)


@pytest.mark.slow
def test_assert_leakage_below_runs_an_audit(done):
    _, key, folder = done
    with pytest.raises(AssertionError, match="codebook_attack|linkage_attack"):
        audit.assert_leakage_below(folder / "out", level="L2", value=0, plain=World(), key=key, settings=QUICK)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(done):
    report, key, folder = done
    again = audit.run(folder / "out", plain=World(), key=key, settings=QUICK)
    for one, other in zip(report.findings, again.findings, strict=True):
        assert one.measures == other.measures or any(math.isnan(each.value) for each in one.measures)


@pytest.mark.slow
def test_a_bare_key_without_label_map(tmp_path):
    key = keys.KeyBundle(keys.RMTKey.generate(image_size=(16, 16), block_size=(4, 4)))
    export(tmp_path / "out", "RMTDisguise", key)
    report = audit.run(tmp_path / "out", plain=World(), key=key, settings=QUICK)
    assert report.facts["disguise"]["classes_renamed"] is False
    told = {each.attack: each.reason for each in report.not_run}
    assert "there is no order to recover" in told["recover_permutation"]
    assert report.leakage("L2") > 0.9
