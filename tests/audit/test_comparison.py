"""Settings compared on a small world, and what is refused before the work begins."""

import itertools
import json
import os
import re
import sys
from dataclasses import replace

import pytest
import torch
from audit_world import BLOCK, LEARNED, SIZE, World, named
from browser import find_browser, open_browser
from support import Pictures, content
from test_page import SEEN

from torchprotect import audit
from torchprotect.attacks import Level
from torchprotect.audit import Comparison, Setting
from torchprotect.audit.comparison import page
from torchprotect.audit.comparison import run as room
from torchprotect.audit.comparison.chart import draw_panel
from torchprotect.audit.comparison.compared import Compared, Share
from torchprotect.audit.comparison.disguised import Cost
from torchprotect.audit.comparison.reading import as_json
from torchprotect.audit.report.finding import Finding
from torchprotect.audit.report.outcome import Outcome
from torchprotect.errors import (
    BlockSizeError,
    ExportError,
    InputRangeError,
    InputTypeError,
    LabelError,
    SourceError,
    VerificationError,
)

LIGHT = named("jigsaw_attack", "linkage_attack", "regression_attack")
EFFORT = replace(LEARNED, epochs=1, targets=40, pairs=(2, 40), pictures=False)
THREE = (
    Setting(scheme="block-permute", block_size=BLOCK),
    Setting(scheme="rmt", block_size=BLOCK, noise=50),
    Setting(scheme="aes-ecb", block_size=BLOCK, permute=False),
)


@pytest.fixture(autouse=True)
def _few_attacks(monkeypatch):
    monkeypatch.setattr(room, "STANDARD_ATTACKS", LIGHT)


def compare(source=None, **options):
    options = {"settings": THREE, "effort": EFFORT, "probe": False, **options}
    return audit.compare(World() if source is None else source, **options)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A comparison with its files."""
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "STANDARD_ATTACKS", LIGHT)
        return compare(report=folder / "page.html"), folder


def test_what_a_comparison_tells(done):
    found, folder = done
    assert sorted(content(folder)) == ["page.html", "page.json"]
    assert [each.setting for each in found.settings] == list(THREE)
    permuted, noisy, cipher = found.settings
    assert permuted.leakage(Level.CIPHERTEXT_ONLY) == 1.0
    assert permuted.worst(Level.CIPHERTEXT_ONLY).attack == "jigsaw_attack"
    assert noisy.leakage(Level.CIPHERTEXT_ONLY) is None
    assert noisy.leakage(Level.PUBLIC_DATA) == noisy.worst(Level.PUBLIC_DATA).leakage > 0.5
    assert noisy.cost.bytes == 4
    assert cipher.cost.bytes == 1
    assert found.plain.value > 2 * found.chance
    assert found.kept(permuted).value == permuted.accuracy.value / found.plain.value
    assert all(each.accuracy.low < each.accuracy.value < each.accuracy.high for each in found.settings)
    assert {each["attack"] for each in found.to_dict()["settings"][1]["findings"]} == {
        "linkage_attack",
        "regression_attack",
    }


def test_the_same_images_are_attacked_in_every_setting_and_plain_networks_are_trained_once(monkeypatch):
    fitted = []
    fit = room.Measuring.measure_plain

    def counted(self):
        fitted.append(self.bench.split.attacked.tolist())
        return fit(self)

    trained = []
    train = audit.comparison.shared.Bench.train
    monkeypatch.setattr(
        audit.comparison.shared.Bench,
        "train",
        lambda self, number, images, labels: trained.append(images.dtype) or train(self, number, images, labels),
    )
    monkeypatch.setattr(room.Measuring, "measure_plain", counted)
    compare()
    assert len(fitted) == 1
    assert trained == [torch.uint8, torch.uint8, torch.float32, torch.uint8]  # plain once, then each setting


def test_json_has_neither_pixels_nor_keys_and_comes_back(done):
    found, folder = done
    text = (folder / "page.json").read_text()
    document = json.loads(text)
    assert (document["format"], document["version"]) == ("torchprotect-comparison", 1)
    assert document["data"]["images"] == 240
    assert len(document["data"]["sha256"]) == 64
    assert document["effort"]["seed"] == 0
    assert {"torchprotect", "torch", "python", "machine", "cpus"} <= document["environment"].keys()
    assert "base64" not in text
    assert not re.search(r'"(root|matrices|keys|order|labels|fingerprint)":', text)
    long = [each for each in walk(document) if isinstance(each, list) and len(each) > 50]
    assert long == []
    again = Comparison.read(folder / "page.json")
    assert json.loads(json.dumps(again.to_dict())) == document
    assert again.advice == found.advice


@pytest.mark.parametrize("damage", ["{", "[]", '{"format": "torchprotect-audit", "version": 2}', None])
def test_damaged_comparisons_are_refused(done, tmp_path, damage):
    document = json.loads((done[1] / "page.json").read_text())
    del document["settings"][0]["cost"]
    (tmp_path / "page.json").write_text(json.dumps(document) if damage is None else damage)
    with pytest.raises(VerificationError, match="not a comparison"):
        Comparison.read(tmp_path / "page.json")


def walk(value):
    yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from walk(each)


def test_every_comparison_draws_other_keys():
    images = room.read_images(World(), labels_from=None, prepare=None, limit=240, seed=0)
    for setting in THREE:
        first, second = (audit.comparison.disguised.disguise(setting, images)[0] for _ in range(2))
        assert not torch.equal(first.disguised, second.disguised)
        assert torch.equal(first.plain, second.plain)
        assert first.about == {}


def test_the_page_has_alternative_text_and_asks_for_nothing(done):
    page = (done[1] / "page.html").read_text()
    charts = re.findall(r'<svg class="chart"[^>]*role="img" aria-label="([^"]+)"', page)
    assert len(charts) == 2
    for text in charts:
        assert "1, Block permutation 4 x 4: keeps" in text
        assert "on the frontier" in text
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<script" not in page
    assert len(re.findall(r'class="point', page)) >= 5
    assert "None of them provides confidentiality" in page
    text = re.sub(r"<blockquote>.*?</blockquote>", "", page, flags=re.DOTALL).lower()
    assert not re.search(r"\bsafe|\bsecure|\bprivate\b", text)


@pytest.fixture(scope="module")
def browser():
    if find_browser() is None:
        pytest.skip("no Chromium here")
    with open_browser() as opened:
        yield opened


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_in_a_browser(done, browser, width, dark):
    browser.open(done[1] / "page.html", width, dark=dark)
    seen = json.loads(browser.evaluate(SEEN))
    assert browser.problems == []
    assert sum(not each.startswith("data:") for each in browser.requests) == 1
    assert seen["wide"] <= width
    assert seen["outside"] == []
    assert seen["small"] == []
    numbers = """[...document.querySelectorAll('.chart text.no')].map(each => each.getBoundingClientRect())
        .map(each => [each.left, each.right, each.top, each.bottom])"""
    boxes = json.loads(browser.evaluate(f"JSON.stringify({numbers})"))
    assert len(boxes) == 6
    for one, other in itertools.combinations(boxes, 2):
        across = min(one[1], other[1]) - max(one[0], other[0])
        up = min(one[3], other[3]) - max(one[2], other[2])
        assert across <= 1 or up <= 1  # no number covers another


def test_the_table_of_every_attack_scrolls_sideways_beside_its_first_column(done, browser):
    browser.open(done[1] / "page.html", 390)
    found = json.loads(
        browser.evaluate("""(() => {
            const table = document.querySelector('.frozen'), wide = table.parentElement;
            wide.scrollLeft = 1000;
            const [left, name] = [wide, table.querySelector('tbody th')].map(each => each.getBoundingClientRect().left);
            return JSON.stringify([wide.scrollLeft, name - left]);
        })()""")
    )
    assert found[0] > 50
    assert 0 <= found[1] <= 2


def test_sizes_in_words(done):
    assert [page._row(done[0], each)["size"] for each in done[0].settings] == ["the same", "4 times", "the same"]


def compared(accuracy, leaks, setting=THREE[0]):
    """Return a setting of a certain accuracy, and what leaks at L1 and L2; of 200 trials."""
    levels = (Level.PUBLIC_DATA, Level.KNOWN_PAIRS)
    findings = tuple(
        Finding(f"attack at {level.value}", level, "class", (measure(leakage),))
        for level, leakage in zip(levels, leaks)
        if leakage is not None
    )
    return with_findings(*findings, accuracy=accuracy, setting=setting)


def with_findings(*findings, accuracy=0.8, setting=THREE[0]):
    return Compared(setting, Share.of(accuracy, 200), None, Outcome(findings, (), None), Cost(0.1, 1.0), 1.0)


def measure(leakage):
    low, high = max(0.0, leakage - 0.05), min(1.0, leakage + 0.05)
    return audit.Measure("class accuracy", leakage, low, high, 0.0, 1.0, about="class")


def comparison(*settings, plain=0.8):
    return Comparison(settings, Share.of(plain, 200), None, 0.1)


def test_advice_takes_the_least_leakage_among_those_of_use():
    found = comparison(compared(0.79, (0.9, 1.0)), compared(0.74, (0.3, 1.0)), compared(0.5, (0.05, 0.2)))
    useful, with_pairs, least, most = found.advice
    assert (useful.setting, with_pairs.setting, least.setting, most.setting) == (2, 1, 3, 1)
    assert (
        "keeps 92.5 % of plain accuracy (guessing alone: 12.5 %) and leaks 30.0 % at L1 (attack at L1)"
        in useful.sentence
    )
    assert "more than half" not in useful.sentence
    assert with_pairs.sentence == (
        "Both settings that keep at least 90 % of plain accuracy (no. 1 and 2) leak everything at L2: none hides "
        "anything from such an attacker. Of these Block permutation 4 x 4 (no. 1) keeps 98.8 % of plain accuracy "
        "(guessing alone: 12.5 %), the most"
    )
    assert "intervals" not in least.sentence
    found = comparison(compared(0.7, (0.1, 0.32)), compared(0.6, (0.2, 0.3)), compared(0.5, (0.2, 0.9)))
    assert found.advice[2].setting == 2
    assert found.advice[2].sentence.endswith("The intervals do not separate no. 2 from no. 1")
    found = comparison(*(compared(0.79 - each / 100, (0.6 + each / 100, 1.0)) for each in range(4)))
    assert "it hides little" in found.advice[0].sentence
    assert found.advice[0].sentence.endswith("The intervals do not separate no. 1 from the other 3")
    assert found.advice[1].sentence.startswith("All 4 settings that keep at least 90 % of plain accuracy (no. 1 to 4)")
    assert found.advice[2].sentence.startswith("All 4 settings (no. 1 to 4) leak everything at L2")


def test_what_the_advice_names_is_on_the_frontier():
    """Of settings that leak the same, the one that keeps the most is named, as on the charts."""
    found = comparison(*(compared(each, (leaks, 1.0)) for each, leaks in ((0.75, 0.4), (0.79, 0.4), (0.5, 0.1))))
    for each, level in zip(found.advice, ("L1", "L2", "L2")):
        assert each.setting - 1 in found.frontier(level)
    assert found.advice[0].setting == 2


def test_advice_names_the_lowest_level_that_suffices():
    findings = [
        Finding("regression", Level.KNOWN_PAIRS, "picture", (measure(1.0),)),
        Finding("linkage", Level.PUBLIC_DATA, "identity", (measure(1.0),), pairs=5, known="image"),
    ]
    some = (compared(0.7, (0.9, 1.0)), with_findings(*findings))
    assert "leaks 100.0 % already at L1 (linkage with 5 known images). That" in comparison(*some).advice[3].sentence
    assert page._leak(some[1], Level.KNOWN_PAIRS)[2] == "linkage, 5 known images, already at L1"
    findings.append(Finding("jigsaw", Level.CIPHERTEXT_ONLY, "picture", (measure(1.0),)))
    told = comparison(some[0], with_findings(*findings)).advice[3].sentence
    assert "leaks 100.0 % already at L0 (jigsaw): to anyone who has the images. That is as much as plain" in told
    assert "it hides nothing" in told


def part_of_key(attack, level, found, count):
    share = found / count
    found = audit.Measure("parts", share, share, share, 0.0, 1.0, count=count, about="key")
    return Finding(attack, level, "key", (found,))


def order_found(blocks):
    return part_of_key("recover_permutation_from_statistics", Level.PUBLIC_DATA, blocks, 49)


def test_little_leakage_without_the_order_comes_with_a_warning():
    little, much = (Finding("rarity", Level.PUBLIC_DATA, "class", (measure(each),)) for each in (0.1, 0.95))
    found = comparison(with_findings(little, order_found(2)))
    for each in found.advice:
        assert each.sentence.endswith(
            "Without pairs, the order of its blocks was recovered for 2 of 49 blocks only, and attacks that use the "
            "order find less for it. An attacker who gets the whole order, for example from a few pairs, may find more"
        )
    assert [each[-1] for each in page._row(found, found.settings[0])["leaks"]] == [
        None,
        "order: only 2 of 49 blocks",
        None,
    ]
    for findings in ((little, order_found(45)), (much, order_found(2)), (little,)):
        assert "order" not in comparison(with_findings(*findings)).advice[0].sentence


def test_key_rows_are_listed_where_no_finding_counts():
    found = comparison(
        with_findings(
            part_of_key("read_matrix_rows", Level.CIPHERTEXT_ONLY, 111, 112),
            Finding("linkage", Level.PUBLIC_DATA, "identity", (measure(1.0),)),
        )
    )
    told = page._row(found, found.settings[0])["leaks"]
    assert told[0] == ("L0", None, "", "not measured", "key: 111 of 112 rows")
    assert told[1][-1] is None
    nothing = with_findings(part_of_key("read_matrix_rows", Level.CIPHERTEXT_ONLY, 0, 112))
    assert page._row(found, nothing)["leaks"][0][-1] is None


def test_known_images_are_not_called_pairs():
    findings = [Finding("linkage", Level.PUBLIC_DATA, "picture", (measure(0.6),), pairs=5, known="image")]
    found = comparison(with_findings(*findings))
    assert "(linkage with 5 known images)" in found.advice[0].sentence
    assert page._leak(found.settings[0], Level.PUBLIC_DATA)[2] == "linkage, 5 known images"


def test_advice_says_where_nothing_is_of_use():
    found = comparison(compared(0.6, (0.9, 1.0)), compared(0.11, (0.0, 0.0)))
    assert found.advice[0].setting is None
    assert found.advice[0].sentence == (
        "None of the compared settings does. The most, 75.0 % (95 % interval 66.4 to 83.2 %), is kept under "
        "Block permutation 4 x 4"
    )
    assert "learns nothing from it that guessing would not give" in found.advice[2].sentence
    nothing = comparison(compared(0.1, (0.9, 1.0)), plain=0.11)
    assert [each.setting for each in nothing.advice] == [None]
    assert "no better than guessing" in nothing.advice[0].sentence
    assert "No attack was measured at L1" in comparison(compared(0.8, (None, 0.5))).advice[0].sentence


def test_a_network_that_gets_no_plain_image_right_keeps_nothing():
    found = comparison(compared(0.1, (0.9, 1.0)), plain=0.0)
    assert found.kept(found.settings[0]) == (0, 0, 0)
    assert "no better than guessing" in found.advice[0].sentence
    assert ">guessing<" not in draw_panel(found, Level.PUBLIC_DATA)
    assert ">guessing<" in draw_panel(comparison(compared(0.1, (0.9, 1.0))), Level.PUBLIC_DATA)


def test_shares_come_back_from_json_as_they_were():
    share = Share.of(59 / 71, 71)
    assert Share(*json.loads(json.dumps(share))) == share
    document = comparison(compared(59 / 71, (0.5, 0.5)), plain=2 / 3).to_dict()
    assert document["plain"] == [round(each, 6) for each in document["plain"]]


def test_the_frontier_is_what_no_other_setting_beats():
    found = comparison(*(compared(*each) for each in ((0.8, (1, 1)), (0.7, (0.5, 1)), (0.6, (0.6, 1)), (0.5, (0, 0)))))
    assert found.frontier("L1") == (0, 1, 3)
    assert found.frontier("L2") == (0, 3)
    assert comparison(compared(0.8, (0.5, 0.5)), compared(0.8, (0.5, 0.5))).frontier("L1") == (0, 1)
    assert comparison(compared(0.8, (None, 0.5))).frontier("L1") == ()


@pytest.mark.parametrize("size", [(28, 28), (32, 32), (16, 16), (30, 40), (224, 224), (96, 64), (9, 15), (22, 6)])
def test_defaults_fit_images_of_any_size(size):
    for fast in (False, True):
        found = audit.default_settings(size, fast=fast)
        assert {each.scheme for each in found.settings} >= {"block-permute", "rmt"}
        assert len(set(found.settings)) == len(found.settings)
        for each in found.settings:
            each.require_fits(size)
        assert ("aes-ecb" in {each.scheme for each in found.settings}) != ("AES" in dict(found.skipped))
    assert len(audit.default_settings(size, fast=True).settings) <= 9


def test_defaults_say_what_does_not_fit():
    assert dict(audit.default_settings((28, 28)).skipped) == {
        "AES 7 x 7": "such blocks do not hold whole units of 16 pixels"
    }
    assert "holds whole units" in dict(audit.default_settings((9, 15)).skipped)["AES"]
    with pytest.raises(BlockSizeError, match="images of 29 x 31 cannot be cut into blocks; resize"):
        audit.default_settings((29, 31))


HOSTILE = {
    "[]": "must hold 'settings'",
    "{": "is not JSON",
    '{"settings": []}': "1 to 200 settings, not 0",
    '{"settings": [], "seed": 1}': "and nothing else",
    '{"settings": {"scheme": "rmt"}}': "must hold 'settings', a list",
    '{"settings": [7]}': "setting 1: a setting must have named fields",
    '{"settings": [{"block_size": [4, 4]}]}': "setting 1: scheme is missing",
    '{"settings": [{"scheme": "rmt"}]}': "setting 1: block_size is missing",
    '{"settings": [{"scheme": "des", "block_size": [4, 4]}]}': "scheme must be block-permute, aes-ecb or rmt",
    '{"settings": [{"scheme": ["rmt"], "block_size": [4, 4]}]}': "setting 1: scheme must be",
    '{"settings": [{"scheme": "rmt", "block_size": 4}]}': "setting 1: block_size must be two whole numbers",
    '{"settings": [{"scheme": "rmt", "block_size": [4, -4]}]}': "setting 1: block_size must be",
    '{"settings": [{"scheme": "rmt", "block_size": [4, true]}]}': "setting 1: block_size must be",
    '{"settings": [{"scheme": "rmt", "block_size": [4, 4], "noise": -1}]}': "setting 1: noise must be",
    '{"settings": [{"scheme": "rmt", "block_size": [4, 4], "noise": "50"}]}': "setting 1: noise must be",
    '{"settings": [{"scheme": "rmt", "block_size": [4, 4], "noise": 1e999}]}': "is not JSON",
    '{"settings": [{"scheme": "rmt", "block_size": [4, 4], "permute": 1}]}': "setting 1: permute must be true or false",
    '{"settings": [{"scheme": "rmt", "block_size": [4, 4], "unit_pixels": 8}]}': "unit_pixels belongs to aes-ecb",
    '{"settings": [{"scheme": "aes-ecb", "block_size": [4, 4], "noise": 5}]}': "noise belongs to rmt, not to aes-ecb",
    '{"settings": [{"scheme": "aes-ecb", "block_size": [4, 4], "unit_pixels": 16.0}]}': "unit_pixels must be",
    '{"settings": [{"scheme": "aes-ecb", "block_size": [2, 2]}]}': "block_size 2 x 2 does not hold whole",
    '{"settings": [{"scheme": "rmt", "block_size": [4, 4], "key": "x"}]}': "there is no field 'key'; the fields are",
    '{"settings": [{"scheme": "rmt", "block_size": [4, 4]}, {"scheme": "rmt", "block_size": [4, 4]}]}': "2 equals",
    "\x00": "is not JSON",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_settings_files(tmp_path, text):
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises((InputRangeError, InputTypeError, BlockSizeError), match=HOSTILE[text].replace("[", r"\[")):
        audit.read_settings(tmp_path / "mine.json")


def test_invalid_settings_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        audit.read_settings(tmp_path / "none.json")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputRangeError, match="not a regular file"):
        audit.read_settings(tmp_path / "pipe.json")
    with pytest.raises(InputTypeError, match="settings must be a list"):
        compare(settings=7)
    with pytest.raises(InputTypeError, match="settings, setting 1: a setting must have named fields"):
        compare(settings=["rmt"])


def test_settings_come_back_from_json_and_toml(tmp_path):
    many = (*audit.default_settings((32, 32)).settings, Setting(scheme="rmt", block_size=(8, 4), matrix="uniform"))
    (tmp_path / "mine.json").write_text(as_json(many))
    assert audit.read_settings(tmp_path / "mine.json") == many
    (tmp_path / "mine.toml").write_text(
        '[[settings]]\nscheme = "rmt"\nblock_size = [8, 4]\nmatrix = "uniform"\n\n'
        '[[settings]]\nscheme = "aes-ecb"\nblock_size = [4, 4]\nshared = true\n'
    )
    if sys.version_info >= (3, 11):
        assert [each.shared for each in audit.read_settings(tmp_path / "mine.toml")] == [False, True]
        (tmp_path / "mine.toml").write_text("settings = \x00")
        with pytest.raises(InputRangeError, match="is not TOML"):
            audit.read_settings(tmp_path / "mine.toml")


class Odd(Pictures):
    """Pictures of which some are not like the others."""

    def __init__(self, how: str):
        super().__init__(120, size=SIZE)
        self.how = how

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        if self.how == "sizes" and index % 3 == 0:
            return image[:, :8], label
        if self.how == "floats":
            return image / 255, label
        return image, {"one class": 4, "unlabelled": None}.get(self.how, label)


@pytest.mark.parametrize(
    ("how", "error", "told"),
    [
        ("sizes", SourceError, r"2 shapes \(80 of 1 x 16 x 16, 40 of 1 x 8 x 16\): prepare them .*--resize"),
        ("one class", LabelError, "all images are of one class"),
        ("unlabelled", LabelError, "no labels: .*--labels-from"),
        ("floats", InputTypeError, "must be 8-bit"),
    ],
)
def test_images_that_cannot_be_compared(how, error, told):
    with pytest.raises(error, match=told):
        compare(Odd(how))


def test_too_few_images_and_blocks_that_do_not_fit(tmp_path):
    with pytest.raises(InputRangeError, match="at least 100 images are needed .* the source has 60"):
        compare(World(60))
    with pytest.raises(InputRangeError, match="limit"):
        compare(limit=20)
    with pytest.raises(BlockSizeError, match="setting 2: block_size 5 x 5 does not divide .* 1, 2, 4, 8, 16"):
        compare(settings=[THREE[0], Setting(scheme="rmt", block_size=(5, 5))])
    (tmp_path / "page.json").write_text('{"format": "torchprotect-audit"}')
    with pytest.raises(ExportError, match="it is there and no comparison wrote it"):
        compare(report=tmp_path / "page.html")


def test_progress_tells_each_step():
    told = []
    compare(settings=THREE[1:2], progress=lambda *all: told.append(all))
    assert [done for _, done, _ in told] == [0, 1, 1, 2, 3, 4, 5, 6]
    assert {total for _, _, total in told} == {6}
    name = THREE[1].name
    assert [name for name, _, _ in told] == [
        "plain images: plain training 1",
        name,
        *(f"{name}: {each}" for each in ("plain training 1", "disguised training 1")),
        *(f"{name}: {each.title}" for each in LIGHT),
        "done",
    ]


def test_an_interrupted_comparison_goes_on(tmp_path):
    done = []

    def stop(name, *counts):
        done.append(name)
        if name == f"{THREE[2].name}: disguised training 1":
            raise KeyboardInterrupt

    page = tmp_path / "page.html"
    with pytest.raises(KeyboardInterrupt):
        compare(report=page, progress=stop)
    parts = tmp_path / "page.html.parts"
    assert len(list(parts.glob("setting-*.json"))) == 2
    assert parts.stat().st_mode & 0o077 == 0
    kept = {path.name: json.loads(path.read_bytes())["part"] for path in parts.glob("setting-*.json")}
    told = []
    found = compare(report=page, progress=lambda name, *counts: told.append(name))
    assert not any(name.startswith((THREE[0].name + ":", THREE[1].name + ":")) for name in told)
    assert f"{THREE[2].name}: disguised training 1" in told
    first = [each.to_dict() for each in found.settings[:2]]
    assert all(each in kept.values() for each in first)
    assert not parts.exists()


@pytest.mark.slow
def test_a_pretrained_network_learns_from_plain_images():
    if not audit.bench.pretrained.is_installed():
        pytest.skip("EfficientNet-Lite0 is not installed")
    found = compare(settings=THREE[2:], probe=True)
    assert found.plain_probe.value > 0.8
    assert found.settings[0].probe.value < found.plain_probe.value
    assert found.to_dict()["probe"]["network"] == "EfficientNet-Lite0"


def test_without_a_pretrained_network_the_page_says_so(monkeypatch):
    monkeypatch.setattr(audit.bench.pretrained, "PACKAGES", ("no_such_package",))
    found = compare(settings=THREE[:1], probe=True)
    assert found.plain_probe is None
    assert "pip install no-such-package" in dict(map(tuple, found.facts["not_compared"]))["a pretrained network"]
