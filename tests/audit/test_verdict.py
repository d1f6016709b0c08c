"""What a data protection officer reads first: sentences with whole numbers, and how bad it is."""

import math
import re
from dataclasses import replace

import pytest

from torchprotect.attacks import Level
from torchprotect.audit import Finding, Measure, NotRun, Report, Utility
from torchprotect.audit.report.sentences import counted, deed, hundred, sentence, whole
from torchprotect.audit.report.severity import rank, severity, severity_of

L0, L1, L2, L3 = list(Level)[:4]


def share(right, count, about, *, chance, upper=1.0, spread=0.05, metric="metric", by=None, **options):
    value = right / count
    low, high = max(0.0, value - spread), min(1.0, value + spread)
    return Measure(metric, value, low, high, chance, upper, upper_by=by, count=count, about=about, **options)


def identity(right=300, count=300, level=L1, attack="ridge_reidentification", **options):
    return Finding(attack, level, "identity", (share(right, count, "identity", chance=1 / count, **options),))


def classes(right, count=500, level=L1, *, chance=0.1, upper=0.83, by="examiner", attack="DNNExaminer", **options):
    measure = share(right, count, "class", chance=chance, upper=upper, by=by, **options)
    return Finding(attack, level, "class", (measure,))


def picture(right, count=60, level=L2, pairs=100, *others, attack="regression_attack"):
    likeness = Measure("PSNR", 21.23, 20.0, 22.0, 9.5, scaled=False, unit="dB", about="picture")
    nearest = share(right, count, "identity", chance=1 / count)
    return Finding(attack, level, "picture", (*others, nearest, likeness), pairs)


def verdict(*findings, not_run=(), utility=None, facts=None):
    return Report(findings, tuple(not_run), utility, facts or {}).verdict


def at(found, level):
    return {each.level: each for each in found.levels}[level]


def test_which_image_it_is():
    assert sentence(identity()) == (
        "Someone who holds public images of the same kind, but no key, picked the right original for 300 of 300 "
        "protected images (by chance: 1)."
    )
    found = share(1, 20, "known", chance=1 / 20, spread=0)
    who = "Someone who has some of the originals, but no key,"
    assert sentence(Finding("linkage_attack", L1, "identity", (found,), holder=who)) == (
        f"{who} did no better than chance: found the protected version of 1 of 20 originals (by chance: 1)."
    )


@pytest.mark.parametrize(
    ("right", "nearer"), [(1, "1 of them came out nearer to its own"), (2, "2 of them came out nearer to their own")]
)
def test_a_picture(right, nearer):
    told = sentence(picture(right, pairs=1))
    assert told.startswith("Someone who knows 1 pair of an original and its protected image, but no key, ")
    assert told.endswith(f"rebuilt 60 images; {nearer} original than to any other (by chance: 1).")


def test_the_sentence_on_pictures_begins_with_the_most_severe_leak():
    severe = Measure("examiner's", 0.49, 0.45, 0.53, 0.1, 0.74, upper_by="examiner", count=500, about="class")
    assert severity(severe) == "severe"
    assert deed(picture(17, 500, L2, 1, severe)) == (
        "rebuilt 500 images; a network recognised the right class for 245 of 500 (by chance: 50; on plain images: "
        "370); 17 of them came out nearer to their own original than to any other (by chance: 1)"
    )
    weak = replace(severe, upper=0.45)
    assert weak.leakage == 1
    assert deed(picture(460, 500, L2, 1, weak)).startswith("rebuilt 500 images; 460 of them came out nearer")


def test_the_sentence_on_pictures_names_the_class_if_it_leaks_more():
    balanced = Measure("examiner's", 0.45, 0.41, 0.49, 0.1, 0.84, upper_by="examiner", about="class")
    told = deed(picture(15, 60, L2, 500, balanced))
    assert "; a network recognised the right class, each class counting alike, for 45 of 100 " in told
    assert told.endswith("(by chance: 10; on plain images: 84)")
    assert "recognised" not in deed(picture(60, 60, L2, 500, balanced))


def test_the_class():
    told = "named the right class for 382 of 500 protected images (by chance: 50; on plain images: 415)"
    assert deed(classes(382)) == told


def test_full_leakage_is_qualified_if_plain_images_are_hard_to_classify():
    found = classes(35, chance=0.02, upper=0.07, spread=0.01)
    assert found.leakage == 1
    assert severity_of(found) == "partial"
    told = "(by chance: 10), as many as on plain images, of which a network gets only 7 of 100 right"
    assert deed(found).endswith(told)
    fewer = classes(20, chance=0.02, upper=0.07, spread=0.005, by="nearest neighbours")
    assert deed(fewer).endswith(", where even on plain images a comparison with public images gets only 7 of 100 right")


def test_a_network_trained_on_the_release():
    measure = Measure("accuracy", 0.43, 0.4, 0.46, 0.1, 0.48, count=1000)
    told = deed(Finding("train_and_watch", L1, "use", (measure,)))
    assert told.startswith("trained a network that classifies 430 of 1,000 plain images correctly (by chance: 100; ")
    assert told.endswith("; if trained on plain images: 480)")


def test_a_measure_without_words():
    own = Finding("my_attack", L1, "class", (Measure("gender accuracy", 0.75, 0.7, 0.8, 0.5, 1.0),))
    told = "reached 75.0 % by the measure \u201cgender accuracy\u201d (by chance: 50.0 %; on plain images: 100.0 %)"
    assert deed(own) == told


@pytest.mark.parametrize(
    ("low", "chance", "upper", "expected"),
    [
        (0.1, 0.1, 0.9, "none found"),
        (0.11, 0.1, 0.9, "partial"),
        (0.49, 0.1, 0.9, "partial"),
        (0.5, 0.1, 0.9, "severe"),
        (0.9, 0.1, 0.1, "not measured"),
    ],
)
def test_severity_is_where_the_interval_lies(low, chance, upper, expected):
    assert severity(Measure("x", 0.9, low, 0.95, chance, upper)) == expected


def test_severity_without_an_interval_or_a_finding():
    assert severity(Measure("x", 0.9, math.nan, math.nan, 0.1, 1.0)) == "severe"
    assert severity(Measure("x", 0.1, math.nan, math.nan, 0.1, 1.0)) == "none found"
    assert severity_of(None) == severity_of(Finding("x", L1, "key", (Measure("x", 1, 1, 1, 0.1, 1),))) == "not measured"


def test_ties_go_to_findings_that_identify_images():
    found = (classes(415, upper=0.83, attack="row_energy_attack"), identity(240))
    assert found[0].leakage == 1 > found[1].leakage
    for findings in (found, found[::-1]):
        told = at(verdict(*findings), L1)
        assert told.attack == "ridge_reidentification"
        assert told.remarks == (f"Severe: {sentence(found[0])}",)
        assert Report(findings, (), None).leakage("L1") == 1


def test_of_equal_findings_the_one_with_less_knowledge():
    assert rank(identity(level=L1)) > rank(identity(level=L2)) > rank(classes(415))
    assert Report((identity(level=L2), identity(level=L1)), (), None).worst("L3").level is L1


def test_findings_of_lower_levels_apply_to_higher_ones():
    found = verdict(identity(300), classes(100, level=L2))
    assert [each.severity for each in found.levels[:4]] == ["not measured", "severe", "severe", "not measured"]
    assert at(found, L2).sentence.endswith("What was found at L1 is worse, and holds here too.")
    assert at(found, L2).brief.startswith("as at L1; here: named the right class for 100 of 500")
    assert [each.severity_from for each in found.levels[:4]] == [None, None, L1, None]
    assert str(at(found, L2)).startswith("L2  severe, from L1   as at L1; here: ")
    assert found.to_dict()["levels"]["L2"]["severity_from"] == "L1"
    assert at(found, L3).sentence == "No attack of this level was measured. What was found at L1 holds here too."
    assert at(found, L0).sentence == "No attack of this level was measured."
    equal = at(verdict(identity(level=L1), classes(415, level=L2)), L2)
    assert (equal.severity, equal.severity_from) == ("severe", None)
    assert "holds here too" not in at(verdict(identity(level=L1), identity(level=L2)), L2).sentence


def test_unmeasured_attacks_are_listed_beside_their_level():
    not_run = [
        NotRun("codebook_attack", L2, "made for AESECBDisguise; these are RMTDisguise", "not applicable", "Codebook"),
        NotRun("regression_attack", L2, "no key was given (--key)", "missing input", "Regression"),
        NotRun("reconstruction_attack", L2, "no key was given (--key)", "missing input", "Inversion"),
        NotRun("linkage_attack", L1, "refused these images: NaN", "refused"),
    ]
    found = verdict(classes(300, chance=0.9, upper=0.8), not_run=not_run)
    assert at(found, L2).not_run == ("Regression; Inversion: no key was given (--key)",)
    assert at(found, L1).not_run[0] == "linkage_attack: refused these images: NaN"
    assert "DNNExaminer: no scale: " in at(found, L1).not_run[1]
    assert found.advice[0].startswith("Nothing is known about these images yet")


def test_remarks_on_findings_that_are_not_about_images():
    facts = {"image_share": 0.02, "unit_share": 0.58}
    topics = {"findings": [{"topic": "names", "severity": "medium"}, {"topic": "labels", "severity": "low"}]}
    told = verdict(
        Finding("duplicate_statistics", L0, "equality", facts=facts),
        Finding("metadata_scan", L0, "metadata", facts=topics),
        Finding(
            "jigsaw_attack",
            L0,
            "key",
            (share(15, 16, "key", chance=1 / 16, metric="blocks at their right place"),),
            title="Jigsaw",
        ),
        Finding("jigsaw_attack", L0, "key", (share(1, 16, "key", chance=1 / 16),)),
        Finding("distance_correlation", L0, "distances", (Measure("x", 0.43, 0, 1, 0.05, unit="correlation"),)),
        facts={"data": {"images": 200}},
    )
    assert at(told, L0).remarks == (
        "Without any attack: 4 of 200 protected images equal another one; 58.0 % of the cipher units repeat at their "
        "position.",
        "Metadata that reveal something: names.",
        "distance_correlation: they correlate with those between the originals by 0.43 (by chance: 0.05).",
    )
    assert at(told, L0).severity == "key partly read"
    assert at(told, L0).brief == (
        "read a part of the key: blocks at their right place, 15 of 16 (by chance: 1); 2 scans ran "
        "(duplicate_statistics, metadata_scan); they have no leakage percentage. 2 attacks measured parts of the key "
        "or distances (jigsaw_attack, distance_correlation); the attacks that use these results count"
    )


def rows_read(found=111):
    return Finding(
        "read_matrix_rows",
        L0,
        "key",
        (share(found, 112, "key", chance=0, metric="rows of the matrices"),),
        title="Rows of matrices",
        note="These rows help.",
    )


def test_reading_the_key_does_not_count_for_unmeasured_levels():
    told = verdict(rows_read())
    key = "read a part of the key: rows of the matrices, 111 of 112 (by chance: 0)"
    assert (at(told, L0).severity, at(told, L0).brief, at(told, L0).remarks) == ("key partly read", key, ())
    who = "Someone who has nothing but the protected images"
    assert at(told, L0).sentence == f"{who} {key}. These rows help."
    assert (at(told, L1).severity, at(told, L1).severity_from) == ("not measured", None)
    assert "a part of the key was read" in told.advice[0]
    assert at(verdict(rows_read(0)), L0).severity == "not measured"


def test_a_key_that_was_read_beside_findings_about_images():
    nothing = verdict(rows_read(), classes(50, level=L0), classes(50))
    assert [(each.severity, each.severity_from) for each in nothing.levels[:2]] == [
        ("key partly read", None),
        ("key partly read", L0),
    ]
    assert re.search(r"111 of 112 .*did no better than chance: named", at(nothing, L0).sentence)
    assert at(nothing, L1).sentence.endswith("What was found at L0, a part of the key, is worse, and holds here too.")
    worse = at(verdict(rows_read(), classes(415, level=L0)), L0)
    assert worse.severity == "severe"
    assert worse.remarks == (
        "Rows of matrices read a part of the key: rows of the matrices, 111 of 112 (by chance: 0). These rows help.",
    )


def test_remarks_begin_with_the_most_severe():
    own, partial = identity(300), picture(10, 60, L1)
    told = at(verdict(own, classes(415), partial), L1).remarks
    assert [each.partition(":")[0] for each in told] == ["Severe", "Partial"]


def test_a_report_on_chosen_attacks_begins_with_a_warning():
    others = [NotRun(name, L1, "not among the requested attacks", "not chosen") for name in "abc"]
    findings = identity(), Finding("metadata_scan", L0, "metadata", title="Metadata")
    told = verdict(*findings, not_run=others)
    assert told.warning == (
        "Only the requested attacks ran (1 attack and 1 scan): it is unknown what 3 others that may apply would find."
    )
    assert at(told, L0).sentence == "1 scan ran (Metadata); it has no leakage percentage."
    readable = verdict(not_run=others, facts={"disguise": {"readable": True}}).warning
    assert readable.startswith("These images are readable")
    assert readable.endswith("attacks ran (no attack): it is unknown what 3 others that may apply would find.")
    assert verdict(not_run=[NotRun("d", L1, "takes long", "not included")]).warning is None


def test_a_report_on_readable_images_begins_with_a_warning():
    told = verdict(facts={"disguise": {"readable": True}})
    assert told.warning.startswith("These images are readable as they are")
    assert (at(told, L0).severity, at(told, L0).brief) == ("severe", "the images are readable as they are")
    assert told.advice[0].startswith("Treat these images like the plain ones.")
    assert verdict().warning is None


def test_sentence_on_utility():
    whole_utility = Utility((0.48,), (0.42, 0.44), (0.12,), 0.1, 500, 100)
    assert verdict(utility=whole_utility).kept == (
        "A network trained on 500 of the protected images classifies 43 of 100 correctly, one trained on as many plain "
        "images 48 of 100 (by guessing: 10). Shown plain images, the first classifies 12 of 100 correctly."
    )
    untrained = replace(whole_utility, disguised=(0.11,), crossed=())
    guessing = " The first does no better than guessing: more images or epochs may still teach it."
    assert verdict(utility=untrained).kept.endswith(f"(by guessing: 10).{guessing}")
    assert guessing not in verdict(utility=whole_utility).kept
    alone = Utility((), (0.43,), (), None, 100, 100)
    assert (
        verdict(utility=alone).kept
        == "A network trained on 100 of the protected images classifies 43 of 100 correctly."
    )
    assert "was not measured" in verdict().kept
    assert "was not measured" in verdict(utility=Utility((0.48,), (), (), None, 100, 100)).kept


def test_advice():
    assert "without the key" in verdict(identity()).advice[0]
    assert "original and its protected image together" in verdict(picture(60), classes(60, spread=0.01)).advice[0]
    assert "disguise them more strongly" in verdict(classes(150)).advice[0]
    assert "found nothing beyond chance" in verdict(classes(50)).advice[0]
    missing = NotRun("linkage_attack", L1, "no key was given (--key)", "missing input")
    assert "lacked" in verdict(classes(50), not_run=[missing]).advice[1]
    assert all("encryption tool" in verdict(*some).advice[-1] for some in ((), (identity(),)))


@pytest.mark.parametrize(
    ("value", "of", "told"),
    [
        (1, 300, "300"),
        (0.999, 300, "299"),
        (0, 20, "0"),
        (0.01, 20, "fewer than 1"),
        (0.5, 3, "2"),
        (0.6, 2500, "1,500"),
    ],
)
def test_rounded_counts_are_none_or_all_only_if_exact(value, of, told):
    assert whole(value, of) == told


def test_counting():
    assert [counted(n, "pair") for n in (1, 2, 1000)] == ["1 pair", "2 pairs", "1,000 pairs"]
    assert hundred(0.433) == "43 of 100"


def test_no_verdict_promises_anything():
    for right in (0, 50, 300, 500):
        findings = classes(right), identity(right // 2), picture(right // 10)
        found = verdict(*findings, facts={"disguise": {"readable": True}})
        assert not re.search(r"\b(secure|private|safe)", str(found.to_dict()).lower())


def test_the_verdict_depends_on_the_report_alone(tmp_path):
    facts = {name: {} for name in ("data", "disguise", "environment", "settings", "split")}
    report = Report((identity(), classes(100)), (), None, {**facts, "started": "", "seconds": 1.0})
    report.write_json(tmp_path / "report.json")
    assert (tmp_path / "report.json").stat().st_mode & 0o077 == 0
    assert Report.read(tmp_path / "report.json").verdict == report.verdict
    assert str(at(report.verdict, L1)) == f"L1  severe            {deed(identity())}"
