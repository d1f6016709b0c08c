"""A disguise that does nothing leaks about everything, one that leaves nothing leaks about nothing: in every attack."""

from dataclasses import replace

import pytest
import torch
from audit_world import LEARNED, QUICK, control, named, pictures

from torchprotect import attacks, audit
from torchprotect.attacks import Level
from torchprotect.attacks.results import ClassGuesses, Reconstruction
from torchprotect.attacks.scores.classes import class_measures
from torchprotect.attacks.scores.identities import identities, most_frequent
from torchprotect.attacks.scores.pictures import picture_measures
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.report.page import render
from torchprotect.audit.scoring.truth import truth_of

pytestmark = pytest.mark.slow

LEAST = {
    "codebook_attack": 0.5,  # a book of 60 images does not hold the texture of others
    "read_matrix_rows": 0.1,  # these pictures hold few single grey levels
    "chain_from_known_images": 0.8,  # nor does one of 60 links
    "recover_permutation_from_statistics": 0.6,  # some places look the same in all statistics
    "rarity_regression": 0.85,  # rarities tell what kind of image it is, and which one only in part
}
LOOK = named("direct_reidentification")
SCHEMES = ("BlockPermute", "RMTDisguise", "AESECBDisguise")


@pytest.fixture(scope="module", params=SCHEMES)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def identity(kind):
    return audit.run(control(kind, "identity"), settings=LEARNED)


@pytest.fixture(scope="module")
def noise(kind):
    return audit.run(control(kind, "noise"), settings=LEARNED)


def test_every_attack_that_applies_ran(kind, identity, noise):
    for report in (identity, noise):
        ran, told = {each.attack for each in report.findings}, {each.attack: each.reason for each in report.not_run}
        for attack in attacks.STANDARD_ATTACKS:
            expected = {"metadata_scan": "no folder"}.get(attack.name, "made for ")
            assert attack.name in ran or expected in told[attack.name], told.get(attack.name)
    assert len(ran) >= 7


def test_identity_leaks_about_everything(kind, identity):
    assert identity.utility.plain[0] > 0.9
    for each in identity.findings:
        if each.leakage is not None:
            assert each.leakage > LEAST.get(each.attack, 0.85), (each.attack, each.measures)
    assert identity.leakage("L1") > 0.97
    assert identity.leakage("L2") > 0.97


def test_noise_leaks_about_nothing(kind, noise):
    for each in noise.findings:
        for measure in each.measures:
            if measure.leakage is not None:
                assert measure.low <= measure.chance + 0.02, (each.attack, measure)
    assert noise.leakage("L2") < 0.25  # the worst of many, over 60 images


def test_a_readable_release_is_called_readable():
    images, labels = pictures()
    moved = (images.int() + torch.randint(-3, 4, images.shape)).clamp(0, 255).to(torch.uint8)
    scheme = attacks.Scheme("AdversarialEncrypt")
    evidence = audit.Evidence(moved, scheme, labels, images, labels, torch.arange(len(images)))
    report = audit.run(evidence, settings=LEARNED)
    told = {each.attack: each.reason for each in report.not_run}
    assert {each.attack for each in report.findings} == {"direct_reidentification", "duplicate_statistics"}
    assert report.leakage("L1") > 0.9
    assert told["linkage_attack"] == "the images are readable as they are"
    assert report.utility.crossed[0] > 0.9


def test_only_disguise_agnostic_attacks_apply_to_compositions():
    evidence = control("BlockPermute", "identity")
    scheme = attacks.Scheme("BlockPermute", block_size=(4, 4), permuted=True, other=("RMTDisguise",))
    composed = audit.Evidence(
        evidence.disguised, scheme, evidence.labels, evidence.plain, evidence.plain_labels, evidence.pairing
    )
    report = audit.run(composed, settings=QUICK)
    ran = {each.attack for each in report.findings}
    assert ran == {"direct_reidentification", "duplicate_statistics", "reconstruction_attack"}
    told = {each.attack: each.reason for each in report.not_run}
    assert told["jigsaw_attack"].startswith("RMTDisguise and BlockPermute are composed")


def test_renamed_classes_are_scored_after_the_best_renaming():
    """Without the key nobody says which class is which."""
    evidence = control("RMTDisguise", "identity")
    renamed = torch.tensor([2, 0, 3, 1])[evidence.labels]
    unpaired = audit.Evidence(evidence.disguised, evidence.scheme, renamed, evidence.plain, evidence.plain_labels)
    report = audit.run(unpaired, settings=LEARNED, attacks=LOOK)
    (looked,) = (each for each in report.findings if each.attack == "direct_reidentification")
    assert looked.leakage > 0.9


def repeated(kind, how):
    """Return a control in which 40 % of the plain images are blank, and each other one is there four times."""
    evidence = control(kind, how)
    place = torch.arange(400)
    plain = evidence.plain[place // 16 * 16 + place % 4].clone()  # of the same class
    plain[torch.randperm(400, generator=torch.Generator().manual_seed(2))[:160]] = 0
    disguised = plain.to(evidence.disguised.dtype) if how == "identity" else evidence.disguised
    return replace(evidence, disguised=disguised, plain=plain)


def test_equal_images_of_noise_leak_about_nothing(kind):
    report = audit.run(repeated(kind, "noise"), settings=LEARNED)
    for each in report.findings:
        for measure in each.measures:
            if measure.leakage is not None:
                assert measure.low <= measure.chance + 0.02, (each.attack, measure)
    assert report.leakage("L2") < 0.25


def test_equal_images_are_found_in_the_open(kind):
    report = audit.run(repeated(kind, "identity"), settings=QUICK)
    assert report.facts["data"]["duplicates"] > 300
    assert report.leakage("L2") > 0.97
    for each in report.findings:
        found = {measure.metric: measure for measure in each.measures}.get("re-identification@1")
        few = each.attack == "reconstruction_attack"  # learns nothing from the few images that differ
        if each.leaks == "picture" and found is not None and each.attack not in LEAST and not few:
            assert found.leakage > 0.9, (each.attack, found)


def test_linkage_of_equal_images():
    bench = Bench(repeated("BlockPermute", "identity"), QUICK)
    (linkage,), truth = named("linkage_attack"), truth_of(bench)
    found = linkage.score.measure(linkage.run(bench.seen(linkage, 0)), truth)[0]
    assert found.leakage == 1
    assert found.chance == most_frequent(truth.identities) > 3 / 200


@pytest.mark.parametrize(
    ("rebuilt", "value"),
    [
        ([0, 0, 0, 0, 0], 2 / 5),  # nothing: right for the blank ones, as is the best blind guess
        ([0, 0, 10, 20, 30], 1),  # exact
        ([0, 0, 15, 20, 30], 4.5 / 5),  # between two: half
        ([0, 0, 20, 20, 20], 3 / 5),
    ],
)
def test_ties_share_the_credit(rebuilt, value):
    truth, images = (torch.tensor(each).reshape(5, 1, 1, 1) for each in ([0, 0, 10, 20, 30], rebuilt))
    truth, images = (each.expand(5, 1, 8, 8).to(torch.uint8) for each in (truth, images))
    for scale in (1, 255):
        rebuilt = Reconstruction(Level.KNOWN_PAIRS, {}, images if scale == 1 else images / 255)
        plain = truth if scale == 1 else truth / 255
        told = attacks.Truth(torch.Generator, images=plain, identities=identities(truth))
        found = picture_measures(rebuilt, told)[0]
        assert (found.metric, found.value, found.chance) == ("re-identification@1", pytest.approx(value), 2 / 5)


def rare(how):
    """Return a control with one image of a class to ten of another."""
    evidence = control("RMTDisguise", how, 800)
    chosen = (evidence.labels % 2 == 0) | (torch.arange(800) % 20 == 1)
    labels = (evidence.labels[chosen] == 1).long()
    return replace(
        evidence,
        disguised=evidence.disguised[chosen],
        plain=evidence.plain[chosen],
        labels=labels,
        plain_labels=labels,
        pairing=torch.arange(int(chosen.sum())),
    )


def test_a_rare_class_is_not_lost_in_the_most_frequent_one():
    for how, least, most in (("identity", 0.7, 1), ("noise", 0, 0.3)):
        report = audit.run(rare(how), settings=replace(LEARNED, epochs=20, targets=20), attacks=LOOK)
        found = next(each for each in report.findings if each.attack == "direct_reidentification")
        accuracy, balanced = found.measures
        assert accuracy.chance > 0.85
        assert balanced.chance == 0.5
        assert least <= found.leakage <= most


def test_no_advice_if_plain_images_teach_nothing():
    evidence = control("AESECBDisguise", "noise")
    drawn = torch.randint(0, 256, evidence.plain.shape, generator=torch.Generator().manual_seed(5))
    labels = torch.zeros(400, dtype=torch.int64)
    labels[::100] = 1  # too few to learn from, in images of noise
    blind = replace(evidence, plain=drawn.to(torch.uint8), plain_labels=labels, labels=labels)
    report = audit.run(blind, settings=LEARNED, attacks=LOOK)
    looked = next(each for each in report.findings if each.attack == "direct_reidentification")
    assert (looked.leakage, looked.without_scale, looked.counted) == (None, True, False)
    page = render(report, report.verdict)
    assert "no scale: models on plain images do no better than guessing; give more images" in page


def test_the_upper_bound_is_the_best_of_two():
    """Distances tell these classes apart, a network of one epoch does not."""
    settings = replace(QUICK, train_images=20)
    report = audit.run(control("RMTDisguise", "identity"), settings=settings, attacks=LOOK)
    looked = next(each for each in report.findings if each.attack == "direct_reidentification")
    assert looked.measures[0].upper > looked.measures[0].value
    assert {each.upper_by for each in looked.measures} == {"nearest neighbours"}
    assert "nearest neighbours" in render(report, report.verdict)


def test_chance_without_a_key_knows_of_the_renaming():
    evidence = control("RMTDisguise", "noise")
    unpaired = replace(evidence, pairing=None)
    report = audit.run(unpaired, settings=LEARNED, attacks=LOOK)
    looked = next(each for each in report.findings if each.attack == "direct_reidentification")
    for each in looked.measures:
        assert each.low <= each.chance <= each.high
    bench = Bench(unpaired, LEARNED)
    drawn = torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(3))
    accuracy, _ = class_measures(ClassGuesses(Level.PUBLIC_DATA, {}, drawn), truth_of(bench))
    assert accuracy.chance > 0.27 > 0.25
    page, told = render(report, report.verdict), report.facts["data"]["caveats"]
    assert len(told) == 2
    assert "under the renaming of classes that suits the guesses best" in page
    assert "public images may include the attacked ones" in page
    assert audit.run(evidence, settings=QUICK, attacks=LOOK).facts["data"]["caveats"] == []
