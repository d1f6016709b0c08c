"""The page, in a real browser where there is one."""

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from audit_world import QUICK, World, export
from browser import find_browser, open_browser

from torchprotect import audit
from torchprotect.attacks import Level
from torchprotect.audit import Finding, Measure
from torchprotect.audit.report.page import render
from torchprotect.audit.report.pictures import png
from torchprotect.demo._measure import Row
from torchprotect.demo._page import render as render_demo

SEEN = """JSON.stringify({
    wide: document.documentElement.scrollWidth, screen: innerWidth,
    broken: [...document.images].filter(each => !each.complete || !each.naturalWidth).length,
    pictures: document.images.length,
    outside: [...document.querySelectorAll('main *')].filter(each => !each.closest('.wide')
        && each.getBoundingClientRect().right > innerWidth + 0.5).map(each => each.tagName),
    small: [...document.querySelectorAll('main *')].filter(each => each.childNodes.length
        && parseFloat(getComputedStyle(each).fontSize) < 11.5).map(each => each.tagName),
    text: document.body.innerText.length,
    title: document.title,
})"""


@pytest.fixture(scope="module", params=["AESECBDisguise", "BlockPermute"])
def page(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    key = export(folder / "out", request.param)
    report = audit.run(folder / "out", plain=World(), key=key, settings=QUICK, report=folder / "report.html")
    return folder / "report.html", report


@pytest.fixture(scope="module")
def browser():
    if find_browser() is None:
        pytest.skip("no Chromium here")
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("width", [390, 768, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser(page, browser, width, dark):
    browser.open(page[0], width, dark=dark)
    seen = json.loads(browser.evaluate(SEEN))
    assert browser.problems == []
    assert [each for each in browser.requests if not each.startswith(("data:", "file:"))] == []
    assert sum(each.startswith("file:") for each in browser.requests) == 1
    assert seen["screen"] == width
    assert seen["wide"] <= width
    assert seen["outside"] == []
    assert seen["small"] == []
    assert seen["broken"] == 0
    assert seen["pictures"] > 10
    assert seen["text"] > 3000
    assert seen["title"].startswith("Leakage audit")


def test_unfolded_at_phone_width(page, browser):
    browser.open(page[0], 390)
    browser.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true }); 1")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_demo_at_phone_width(browser, tmp_path):
    settings = "AES-128, blocks of 4 x 4, units of 16 pixels, blocks permuted"
    rows = [Row("plain", "", "", 0.8, 0.75, 0.85), Row("AESECBDisguise", settings, "aes-ecb", 0.5, 0.45, 0.55)]
    facts = dict.fromkeys(("images", "source", "size", "epochs", "train", "test", "chance"), "1")
    (tmp_path / "demo.html").write_text(render_demo(rows, png(torch.zeros(1, 8, 8)), facts))
    for width, dark in ((390, False), (390, True), (1280, False)):
        browser.open(tmp_path / "demo.html", width, dark=dark)
        seen = json.loads(browser.evaluate(SEEN))
        assert (seen["wide"] <= width, seen["outside"], seen["broken"]) == (True, [], 0)
    assert browser.problems == []


def test_contrast_in_both_schemes(page, browser):
    """Text stands out from its ground by 4.5 to 1, as WCAG asks for."""
    luminance = (
        "const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => { x /= 255;"
        "return x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4 }); return .2126*v[0] + .7152*v[1]"
        "+ .0722*v[2] };"
        "const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;"
        "if (!/rgba.*, 0\\)|transparent/.test(c)) return c } return 'rgb(255,255,255)' };"
        "Math.min(...[...document.querySelectorAll('p, td, th, dd, dt, h1, h2, figcaption, span, summary')].filter("
        "e => e.innerText).map(e => { const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];"
        "return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) }))"
    )
    for dark in (False, True):
        browser.open(page[0], 1280, dark=dark)
        assert browser.evaluate(f"(() => {{ {luminance.replace('Math.min(...', 'return Math.min(...', 1)} }})()") > 4.5


def test_page_is_one_file(page):
    text = page[0].read_text()
    outside = re.sub(r"data:image/(png|svg\+xml);base64,[^\"]+", "data:", text)
    assert not re.search(r"(src|href)=.(?!data:)|https?:|url\(|<script|@import", outside)
    assert len(outside) < 60_000


def test_page_says_what_the_report_says(page):
    text, report = page[0].read_text(), page[1]
    for level in ("L0", "L1", "L2", "L3", "L4"):
        assert f'<b class="tag">{level}</b>' in text
        if report.measured(level):
            assert f"{report.leakage(level):.1%}".replace("%", " %") in text
    plain, verdict = html.unescape(re.sub(r"</?strong>", "", text)), report.verdict
    for each in verdict.levels:
        assert each.sentence in plain
        assert all(told in plain for told in (*each.remarks, *each.not_run))
    assert all(told in plain for told in (verdict.kept, *verdict.advice))
    parts = ('class="verdict"', "What a model keeps", "What to do", "<table")
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    for each in report.not_run:
        assert each.reason.split("&")[0].split("'")[0].split("(")[0] in text
    assert "obfuscation schemes" in text
    assert "95 % interval" in text
    assert report.facts["disguise"]["key_fingerprint"] in text


def test_page_says_what_each_network_was_trained_and_tested_on(page):
    """Without the key there are other numbers of plain images than of disguised ones."""
    sizes = {**page[1].facts["split"], "clean": 48, "attacked": 1200}
    shown = render(replace(page[1], facts={**page[1].facts, "split": sizes}), page[1].verdict)
    for row in (
        "trained on plain images, tested on 48 plain ones",
        "trained on disguised images, tested on 1,200 disguised ones",
        "trained on disguised images, tested on 1,200 plain ones",
    ):
        assert f"<td>{row}</td>" in shown


def test_page_says_how_much_was_done(page):
    text = page[0].read_text()
    assert "<dd>2, 60, as far as available; " in text
    trained = f"{page[1].utility.epochs} epochs on {page[1].utility.trained} images each"
    assert f"<dd>{QUICK.trainings} of each kind, {trained}</dd>" in text
    assert page[1].utility.epochs == 4 * QUICK.epochs
    older = render(replace(page[1], utility=replace(page[1].utility, epochs=None)), page[1].verdict)
    assert f"<dd>{QUICK.trainings} of each kind, {QUICK.epochs} epochs on " in older
    assert "cut by" not in text
    facts = {**page[1].facts, "data": {**page[1].facts["data"], "images_in_export": 5000}}
    assert "240 of 5,000 (cut by <code>--limit</code>)" in render(replace(page[1], facts=facts), page[1].verdict)


def test_page_says_what_networks_were_trained_in(page):
    environment = {**page[1].facts["environment"], "training_precision": "bfloat16"}
    facts = {**page[1].facts, "environment": environment}
    assert "networks trained in bfloat16</dd>" in render(replace(page[1], facts=facts), page[1].verdict)
    del environment["training_precision"]  # as before reports said so
    assert "networks trained in float32</dd>" in render(replace(page[1], facts=facts), page[1].verdict)


def test_empty_sections_are_left_out(page):
    assert "<h2>Counts without a leakage scale</h2>" in page[0].read_text()
    measured = tuple(each for each in page[1].findings if each.measures)
    shown = render(replace(page[1], findings=measured, not_run=()), page[1].verdict)
    assert "<h2>What was counted" not in shown
    assert "<h2>Attacks that were not run" not in shown


def test_facts_without_a_value_are_left_out(page):
    """A disguise without units has no shares of them."""
    scan = Finding("scan", Level.CIPHERTEXT_ONLY, "equality", facts={"image_groups": 3, "unit_share": None, "x_y": []})
    shown = render(replace(page[1], findings=(scan,)), page[1].verdict)
    assert "<dt>groups of equal images</dt><dd>3</dd>" in shown
    assert "units that repeat" not in shown
    assert "x y" not in shown


def test_details_of_an_attack_are_in_words(page):
    measure = Measure("x", 0.4, 0.3, 0.5, 0.1, 1.0)
    facts = {"error_median": 0.5, "images_wanted": 3796, "classes_matched": None}
    found = Finding("x", Level.PUBLIC_DATA, "picture", (measure,), facts=facts, cost={"public": 1200})
    shown = render(replace(page[1], findings=(found,)), page[1].verdict)
    assert "public images: 1,200 · median pixel error due to too few images, in grey levels: 0.5 · " in shown
    assert "images of each kind needed for an error of 5 grey levels: 3,796</p>" in shown


def test_text_from_outside_is_escaped(page):
    report = page[1]
    hostile = {**report.facts, "disguise": {**report.facts["disguise"], "name": "<script>alert(1)</script>"}}
    shown = render(replace(report, facts=hostile), report.verdict)
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown


@pytest.mark.slow
def test_without_pictures(tmp_path):
    key = export(tmp_path / "out", "BlockPermute")
    settings = replace(QUICK, pictures=False)
    report = audit.run(tmp_path / "out", plain=World(), key=key, settings=settings, report=tmp_path / "report.html")
    text = Path(tmp_path / "report.html").read_text()
    assert "image/png" not in text
    assert "some plain images" not in text
    assert all(each.examples == () for each in report.findings)
