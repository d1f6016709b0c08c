"""A disguise that does nothing leaks about everything, one that leaves nothing leaks about nothing: in every attack."""

import pytest
import torch
from audit_world import QUICK, control, pictures

from torchprotect import audit
from torchprotect.audit._checks import CHECKS

LEAST = {
    "codebook_attack": 0.5,  # a book of 60 images does not hold the texture of others
    "recover_permutation_from_statistics": 0.6,  # some places look the same in all statistics
}
SCHEMES = ("BlockPermute", "RMTDisguise", "AESECBDisguise")


@pytest.fixture(scope="module", params=SCHEMES)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def identity(kind):
    return audit.run(control(kind, "identity"), settings=QUICK)


@pytest.fixture(scope="module")
def noise(kind):
    return audit.run(control(kind, "noise"), settings=QUICK)


def test_every_attack_that_applies_ran(kind, identity, noise):
    for report in (identity, noise):
        ran, told = {each.attack for each in report.findings}, {each.attack: each.reason for each in report.not_run}
        for check in CHECKS:
            expected = {"metadata_scan": "no folder"}.get(check.name, "made for ")
            assert check.name in ran or expected in told[check.name], told.get(check.name)
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
    scheme = audit.Scheme("AdversarialEncrypt")
    evidence = audit.Evidence(moved, scheme, labels, images, labels, torch.arange(len(images)))
    report = audit.run(evidence, settings=QUICK)
    told = {each.attack: each.reason for each in report.not_run}
    assert {each.attack for each in report.findings} == {"DNNExaminer", "duplicate_statistics"}
    assert report.leakage("L1") > 0.9
    assert told["linkage_attack"] == "the images are readable as they are"
    assert "run it by itself" in told["recover_correspondence"]
    assert report.utility.crossed[0] > 0.9


def test_a_composition_is_left_to_attacks_that_know_no_disguise():
    evidence = control("BlockPermute", "identity")
    scheme = audit.Scheme("BlockPermute", (4, 4), True, other=("RMTDisguise",))
    composed = audit.Evidence(
        evidence.disguised, scheme, evidence.labels, evidence.plain, evidence.plain_labels, evidence.pairing
    )
    report = audit.run(composed, settings=QUICK)
    ran = {each.attack for each in report.findings}
    assert ran == {"DNNExaminer", "duplicate_statistics", "reconstruction_attack"}
    told = {each.attack: each.reason for each in report.not_run}
    assert told["jigsaw_attack"].startswith("RMTDisguise and BlockPermute are composed")


def test_renamed_classes_are_scored_after_the_best_renaming():
    """Without the key nobody says which class is which."""
    evidence = control("RMTDisguise", "identity")
    renamed = torch.tensor([2, 0, 3, 1])[evidence.labels]
    unpaired = audit.Evidence(evidence.disguised, evidence.scheme, renamed, evidence.plain, evidence.plain_labels)
    report = audit.run(unpaired, settings=QUICK)
    (looked,) = (each for each in report.findings if each.attack == "DNNExaminer")
    assert looked.leakage > 0.9
