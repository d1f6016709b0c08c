"""What a few known images open, without pairs: nobody's target is among them, and the report counts images."""

import json
import re
from dataclasses import replace

import pytest
import torch
from audit_world import QUICK, World, control, export, named

from torchprotect import audit
from torchprotect.attacks import Level, Measure, Need
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.report.finding import Finding
from torchprotect.audit.report.page import render
from torchprotect.audit.report.report import Report
from torchprotect.audit.report.sentences import sentence
from torchprotect.audit.scoring.reasons import why_not

(CHAIN,) = named("chain_from_known_images")
SETTINGS = replace(QUICK, pairs=(1, 5, 20), pictures=False, train_images=40, epochs=1)


def test_known_images_are_of_the_set_and_none_of_them_is_scored():
    """An identity disguise: a plain image is its disguised one."""
    bench = Bench(control("BlockPermute", "identity"), QUICK)
    seen = bench.seen(CHAIN, 20)
    assert seen.pairs is None
    assert (len(seen.members), seen.targets, len(seen.disguised)) == (20, 60, 200 + 20)
    same = (seen.members[:, None] == seen.disguised).flatten(2).all(2)
    assert same.any(1).all()
    assert not same[:, : seen.targets].any()
    places = same.int().argmax(1)
    assert places.tolist() != sorted(places.tolist())  # where they lie tells nothing
    assert int(places.min()) < 200
    assert torch.equal(seen.target, bench.seen(named("linkage_attack")[0], 0).target)


def test_numbers_of_known_images():
    bench = Bench(control("RMTDisguise", "identity", 60), replace(QUICK, pairs=(1, 5, 100)))
    assert bench.numbers_known(CHAIN) == [1, 5, 30]
    assert bench.numbers_known(named("linkage_attack")[0]) == [0]


def test_other_attacks_get_none():
    bench = Bench(control("RMTDisguise", "identity", 60), QUICK)
    for attack in named("linkage_attack", "regression_attack"):
        assert Need.MEMBERS not in attack.needs
        assert bench.seen(attack, 5).members is None


def test_a_report_without_the_key_says_what_is_missing():
    bench = Bench(replace(control("RMTDisguise", "identity", 60), pairing=None), QUICK)
    found = why_not(bench, CHAIN)
    assert found.cause == "missing input"
    assert "no key was given" in found.reason


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    key = export(folder / "out", "BlockPermute")
    return audit.run(
        folder / "out", plain=World(), key=key, settings=SETTINGS, attacks=[CHAIN, *named("linkage_attack")]
    )


def test_a_permuted_set_is_opened_by_one_image(report):
    (found,) = (each for each in report.findings if each.attack == CHAIN.name)
    assert (found.level, found.leaks, found.known) == (Level.PUBLIC_DATA, "picture", "image")
    assert [point.pairs for point in found.curve] == [1, 5, 20]
    assert found.facts == {"links_kept": found.pairs}
    assert found.leakage > 0.95
    told = " ".join(str(each) for each in report.verdict.to_dict()["levels"]["L1"].values())
    who = "Someone who knows 1 image of the set, but has no pairs and no key,"
    nearer = r"\d\d of them came out nearer to their own original than to any other"
    assert re.search(f"{who} rebuilt 60 other images of the set; {nearer}", told)


def test_the_page_has_a_chart_of_known_images(report):
    page = render(report, report.verdict)
    assert "What more known images reveal" in page
    assert "What more known pairs reveal" not in page
    assert re.search(r"Chain from known images.*\d known image", page, re.DOTALL)


def test_it_is_read_back_and_findings_of_before_count_pairs(report, tmp_path):
    report.write_json(tmp_path / "report.json")
    again = Report.read(tmp_path / "report.json")
    assert [each.known for each in again.findings] == [each.known for each in report.findings]
    document = json.loads((tmp_path / "report.json").read_text())
    for each in document["findings"]:
        del each["known"]  # as reports of earlier versions
    del document["utility"]["epochs"]
    (tmp_path / "old.json").write_text(json.dumps(document))
    old = Report.read(tmp_path / "old.json")
    assert {each.known for each in old.findings} == {"pair"}
    assert "known pairs reveal" in render(old, old.verdict)
    assert (again.utility, old.utility.epochs) == (report.utility, None)


def opened(pairs, level=Level.PUBLIC_DATA, known="image", holder=CHAIN.holder, right=500):
    measure = Measure("re-identification@1", right / 500, 0.98, 1.0, 1 / 500, 1.0, count=500, about="identity")
    return Finding("x", level, "picture", (measure,), pairs, holder=holder, known=known, title="X")


@pytest.mark.parametrize(("pairs", "images"), [(1, "1 image"), (5, "5 images"), (1000, "1,000 images")])
def test_the_sentence(pairs, images):
    assert sentence(opened(pairs)) == (
        f"Someone who knows {images} of the set, but has no pairs and no key, rebuilt 500 other images of the set; "
        "500 of them came out nearer to their own original than to any other (by chance: 1)."
    )
    kind = "known image" if pairs == 1 else "known images"
    assert opened(pairs).given == f"{pairs:,} {kind}"
    assert opened(pairs, known="pair").given == f"{pairs:,} {'pair' if pairs == 1 else 'pairs'}"


def test_it_is_reported_beside_a_worse_finding_of_its_level():
    moments = opened(None, holder="", known="pair")
    found = Report((moments, opened(5, right=499)), (), None, {}).verdict.levels[1]
    assert "5 images" not in found.sentence
    assert any("Someone who knows 5 images of the set" in each for each in found.remarks)
