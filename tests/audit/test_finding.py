import math
from dataclasses import replace

import pytest

from torchprotect.attacks import Level
from torchprotect.audit import Example, Finding, Measure, NotRun, Point, Report
from torchprotect.audit.report.finding import best_number, headline


def measure(value, chance=0.1, upper=0.9, metric="class accuracy"):
    return Measure(metric, value, value - 0.05, value + 0.05, chance, upper)


def finding(attack, level, value, leaks="class"):
    return Finding(attack, level, leaks, (measure(value),))


@pytest.mark.parametrize(
    ("value", "leakage"), [(0.1, 0.0), (0.9, 1.0), (0.5, 0.5), (0.02, 0.0), (0.97, 1.0), (0.3, 0.25)]
)
def test_leakage_lies_between_chance_and_plain_images(value, leakage):
    assert measure(value).leakage == pytest.approx(leakage)


def test_no_leakage_without_a_scale():
    assert measure(20.0, chance=9.0, upper=None, metric="PSNR").leakage is None
    assert measure(0.5, chance=None).leakage is None
    assert measure(0.5, chance=0.6, upper=0.6).leakage is None  # plain images teach nothing either
    assert measure(math.nan).leakage is None
    assert Finding("x", Level.PUBLIC_DATA, "class").leakage is None


def test_headline_is_what_leaks_most():
    one, other, psnr = measure(0.3), measure(0.4, upper=1.0), measure(20.0, 9.0, None)
    assert headline((psnr, one, other)) is other
    assert headline((psnr,)) is psnr
    assert headline(()) is None


def test_of_equal_headlines_the_one_that_identifies_images():
    named = measure(0.9)
    classes, found = replace(named, about="class"), replace(named, about="identity")
    assert headline((classes, found)) is headline((found, classes)) is found


def test_the_interval_of_leakage():
    found = measure(0.5)
    assert (found.leakage_low, found.leakage_high) == (pytest.approx(0.4375), pytest.approx(0.5625))
    assert (measure(0.11).leakage_low, measure(0.88).leakage_high) == (0, 1)
    fields = found.to_dict()
    assert (fields["leakage_low"], fields["leakage_high"]) == (found.leakage_low, found.leakage_high)
    bare = Measure("distance correlation", 0.5, math.nan, math.nan, 0.1, 1.0)
    assert (bare.leakage_low, bare.leakage_high) == (None, None)


def test_a_bound_alone_does_not_count():
    found = Measure("SSIM", 0.5, 0.4, 0.6, 0.1, 1.0, scaled=False)
    assert found.leakage is found.leakage_low is found.leakage_high is None
    assert found.to_dict()["upper"] == 1
    assert Measure.from_dict(found.to_dict()) == found


def test_the_best_point_of_a_curve():
    assert best_number({5: (measure(0.2),), 20: (measure(0.4),), 100: (measure(0.3),)}) == 20
    assert best_number({5: (measure(0.95),), 100: (measure(0.97),)}) == 5
    assert best_number({5: (measure(0.9, 0.6, 0.6),), 100: (measure(0.8, 0.6, 0.6),)}) == 100


def test_findings_without_a_scale_say_so():
    flat = Finding("x", Level.PUBLIC_DATA, "class", (measure(0.5, chance=0.6, upper=0.6),))
    assert (flat.without_scale, flat.counted) == (True, False)
    assert not finding("x", Level.PUBLIC_DATA, 0.4).without_scale
    assert not Finding("x", Level.PUBLIC_DATA, "equality").without_scale
    assert not Report((flat,), (), None).measured("L1")


def test_json_and_back():
    exact = Measure("PSNR", math.inf, math.nan, math.nan, 9.5)
    before = Finding(
        "codebook_attack",
        Level.KNOWN_PAIRS,
        "picture",
        (measure(0.4), measure(20.0, 9.0, None, "PSNR")),
        100,
        (Point(5, measure(0.2)), Point(100, measure(0.4))),
        (Example("worst", b"a", b"b", b"c"),),
        {"hit_rate": 0.25},
        {"pairs": 100},
        {"fallback": "zeros"},
        1.5,
        "note",
    )
    assert Finding.from_dict(before.with_pictures()) == before
    without = Finding.from_dict(before.to_dict())
    assert without.examples == ()
    assert without.measures == before.measures
    fields = before.to_dict()
    assert (fields["metric"], fields["value"], fields["level"]) == ("class accuracy", 0.4, "L2")
    assert fields["leakage"] == before.leakage
    assert exact.to_dict()["value"] is None
    assert math.isnan(Measure.from_dict(exact.to_dict()).value)


def test_a_level_includes_those_below_it():
    found = (
        finding("weak", Level.CIPHERTEXT_ONLY, 0.2),
        finding("strong", Level.PUBLIC_DATA, 0.8),
        finding("pairs", Level.KNOWN_PAIRS, 0.4),
        finding("order", Level.PUBLIC_DATA, 0.9, "key"),
        Finding("duplicates", Level.CIPHERTEXT_ONLY, "equality", facts={"images": 3}),
    )
    report = Report(found, (), None)
    assert report.worst(Level.CIPHERTEXT_ONLY).attack == "weak"
    assert report.worst(Level.KNOWN_PAIRS).attack == "strong"  # whoever has pairs has public images too
    assert report.leakage("L2") == pytest.approx(0.875)
    assert [each.attack for each in report.at(Level.KNOWN_PAIRS)] == ["strong", "pairs", "weak"]
    assert report.measured("L2")
    assert not report.measured("L3")
    empty = Report((), (NotRun("x", Level.PUBLIC_DATA, "no", "missing input"),), None)
    assert empty.leakage("L4") is None
