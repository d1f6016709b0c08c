"""Audits of perturbed images: attacks that train networks run when they are asked for."""

from dataclasses import replace

import pytest
import torch
from audit_world import CLASSES, QUICK, World, named

from torchprotect import attacks, audit, data, keys, training, transforms

NAMES = (
    "read_correspondence_from_data",
    "read_correspondence_from_victim",
    "recover_correspondence",
    "hypothesis_accuracy",
    "train_and_watch",
    "squeeze_bits",
)


@pytest.fixture(scope="module")
def perturbed(tmp_path_factory):
    """Return an export and its key: images led to one target by a network of the owner's."""
    out = tmp_path_factory.mktemp("perturbed") / "out"
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
    own = World(400, seed=7)
    training.fit(network, (own.images / 255, own.labels), epochs=10)
    key = keys.CorrespondenceKey.generate(classes=CLASSES)
    transform = transforms.AdversarialEncrypt(network, key, eps=2.0, step_size=0.4, steps=8)
    data.export(World(), out, transform=transform, key=key)
    return out, key


@pytest.mark.slow
def test_attacks_that_train_networks(perturbed, tmp_path):
    out, key = perturbed
    settings = replace(QUICK, inversion_epochs=6)
    report = audit.run(out, plain=World(), key=key, attacks=named(*NAMES), settings=settings)
    found = {each.attack: each for each in report.findings}
    assert set(found) == set(NAMES)
    for name in NAMES[:3]:
        assert found[name].leaks == "key"
        assert found[name].measures[0].metric == "classes whose targets were found"
        assert found[name].measures[0].count == CLASSES
    assert [each.scaled for each in found["hypothesis_accuracy"].measures] == [False, False]
    for name in NAMES[4:]:
        best, last = found[name].measures
        assert found[name].leaks == "use"
        assert best.value >= last.value
        assert best.upper is not None
    report.write_html(tmp_path / "report.html")
    assert "what a network learns" in (tmp_path / "report.html").read_text()


@pytest.mark.slow
def test_they_are_left_out_unless_they_are_asked_for(perturbed):
    out, key = perturbed
    report = audit.run(out, plain=World(), key=key, attacks=named("duplicate_statistics"), settings=QUICK)
    told = {each.attack: each.reason for each in report.not_run}
    long = {attack.name for attack in attacks.ATTACKS if attack.long}
    assert {name for name, reason in told.items() if reason.startswith("trains networks")} == long


@pytest.mark.slow
def test_without_the_key_the_true_correspondence_is_not_known(perturbed):
    out, _ = perturbed
    report = audit.run(out, plain=World(), attacks=named("read_correspondence_from_data"), settings=QUICK)
    assert not report.findings
    told = {each.attack: each.reason for each in report.not_run}
    assert "the true correspondence is not known" in told["read_correspondence_from_data"]
