import json
import math
import re

import pytest
from audit_world import QUICK, World, export

from torchprotect import audit, keys
from torchprotect._version import __version__
from torchprotect.audit._checks import CHECKS
from torchprotect.errors import InputRangeError, VerificationError


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """One whole audit, with its files."""
    folder = tmp_path_factory.mktemp("audit")
    key = export(folder / "out", "AESECBDisguise")
    report = audit.run(folder / "out", plain=World(), key=key, settings=QUICK, report=folder / "report.html")
    return report, key, folder


def test_what_the_json_holds(done):
    _, key, folder = done
    document = json.loads((folder / "report.json").read_text())
    assert (document["format"], document["version"]) == ("torchprotect-audit", 1)
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
    assert document["levels"]["L2"]["verdict"].startswith("No attack in this list exceeded ")
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
    assert {check.name for check in CHECKS} <= told
    ran = {each.attack for each in report.findings}
    assert {"codebook_attack", "silhouette_attack", "linkage_attack", "reconstruction_attack"} <= ran


def test_curves_have_the_headline_at_each_number_of_pairs(done):
    (codebook,) = (each for each in done[0].findings if each.attack == "codebook_attack")
    assert [point.pairs for point in codebook.curve] == [2, 60]
    assert codebook.curve[-1].measure == codebook.headline
    assert codebook.pairs == 60
    assert 0 <= codebook.facts["hit_rate"] <= 1


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
    for content in (b"", b"[]", b"{}", b'{"format": "torchprotect-audit", "version": 1}', b'{"format": "x"}'):
        (tmp_path / "x.json").write_bytes(content)
        with pytest.raises(VerificationError, match="no audit report"):
            audit.Report.read(tmp_path / "x.json")
    newer = json.loads(report.to_json()) | {"version": 2}
    (tmp_path / "x.json").write_text(json.dumps(newer))
    with pytest.raises(VerificationError, match="of version 1"):
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
    assert report.worst("L2").attack in lines[1]
    assert len(lines) == 1 + len(report.at("L2"))
    with pytest.raises(AssertionError, match="no attack was measured at L3.*\n  chosen plaintext: "):
        audit.assert_leakage_below(report, level="L3", value=1)
    with pytest.raises(InputRangeError, match="L0, L1"):
        audit.assert_leakage_below(report, level="L7", value=1)


def test_assert_leakage_below_runs_an_audit(done):
    _, key, folder = done
    with pytest.raises(AssertionError, match="codebook_attack|linkage_attack"):
        audit.assert_leakage_below(folder / "out", level="L2", value=0, plain=World(), key=key, settings=QUICK)


def test_the_same_seed_gives_the_same_numbers(done):
    report, key, folder = done
    again = audit.run(folder / "out", plain=World(), key=key, settings=QUICK)
    for one, other in zip(report.findings, again.findings, strict=True):
        assert one.measures == other.measures or any(math.isnan(each.value) for each in one.measures)


def test_a_bare_key_without_label_map(tmp_path):
    key = keys.KeyBundle(keys.RMTKey.generate(image_size=(16, 16), block_size=(4, 4)))
    export(tmp_path / "out", "RMTDisguise", key)
    report = audit.run(tmp_path / "out", plain=World(), key=key, settings=QUICK)
    assert report.facts["disguise"]["classes_renamed"] is False
    told = {each.attack: each.reason for each in report.not_run}
    assert "there is no order to recover" in told["recover_permutation"]
    assert report.leakage("L2") > 0.9
