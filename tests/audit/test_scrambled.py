"""The audit of scrambled images: pairs link, label and rebuild them; noise gives chance; the encoder helps."""

import json
import re
from dataclasses import replace

import pytest
import torch
from audit_world import QUICK, World, control, named
from torch import nn

from torchprotect import attacks, audit, data, keys, transforms
from torchprotect import functional as F
from torchprotect.audit.bench.store import Store
from torchprotect.errors import InputTypeError, ModelError

BY_PIXELS = {"distance_correlation", "ridge_reidentification"}
BY_EMBEDDINGS = {*(f"{name} (embeddings)" for name in BY_PIXELS), "feature_inversion"}
SCRAMBLED = BY_PIXELS | {"label_probe", "autoencoder_attack"}


class Folding(nn.Module):
    """An encoder whose embeddings no linear map leads back from to pixels: how far each is from a drawn plane."""

    def __init__(self, inputs=64, seed=0):
        super().__init__()
        drawn = torch.randn(48, inputs, generator=torch.Generator().manual_seed(seed)) / inputs**0.5
        self.planes, self.mean, self.seen = nn.Parameter(drawn), 0.35, 0

    def forward(self, images):
        self.seen += len(images)
        return 3 * ((images.flatten(1) - self.mean) @ self.planes.T).abs()


def encoder(**options):
    return Folding(**options).eval()


@pytest.fixture(scope="module")
def folded():
    """Evidence of images that went through an encoder, without classes."""
    key = keys.OWSDKey.generate(embedding_size=48, image_size=(32, 32), width=8)
    plain = torch.randint(0, 256, (400, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    disguised = transforms.OWSDScramble(encoder(), key)(plain)
    scheme = attacks.Scheme("OWSDScramble", steps=({"name": "OWSDScramble"},))
    return audit.Evidence(disguised, scheme, plain=plain, pairing=torch.arange(400))


def make_evidence(scramble):
    """Plain images of four bright corners, and what a function makes of their pixels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (240,), generator=generator)
    plain = torch.rand(240, 1, 8, 8, generator=generator) * 0.4
    for label in range(4):
        rows, columns = slice(4 * (label // 2), 4 * (label // 2) + 4), slice(4 * (label % 2), 4 * (label % 2) + 4)
        plain[labels == label, :, rows, columns] += 0.6
    plain = (plain * 255).byte()
    scheme = attacks.Scheme("OWSDScramble", steps=({"name": "OWSDScramble"},))
    disguised = scramble(plain.flatten(1).float() / 255)
    everyone = torch.arange(240)
    return audit.Evidence(disguised, scheme, labels=labels, plain=plain, plain_labels=labels, pairing=everyone)


def findings(evidence):
    found = audit.run(evidence, fast=True).findings
    return {each.attack: each for each in found if each.attack in SCRAMBLED}


@pytest.mark.slow
def test_pairs_open_scrambled_images():
    key = keys.OWSDKey.generate(embedding_size=64, image_size=(16, 16), width=8)
    found = findings(make_evidence(lambda embeddings: F.owsd_scramble(embeddings, key)))
    assert found.keys() == SCRAMBLED
    assert found["label_probe"].leakage > 0.8
    assert found["ridge_reidentification"].leakage > 0.15
    assert found["ridge_reidentification"].curve[0].measure.value <= found["ridge_reidentification"].headline.value
    assert {each.level.value for name, each in found.items() if name != "distance_correlation"} == {"L2"}


@pytest.mark.slow
def test_noise_gives_chance():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (240, 3, 16, 16), dtype=torch.uint8, generator=generator)
    found = findings(make_evidence(lambda _: noise))
    assert found["ridge_reidentification"].leakage < 0.1
    assert found["label_probe"].leakage < 0.25
    for each in found["distance_correlation"].measures:
        assert each.value == pytest.approx(each.chance, abs=0.1)


@pytest.mark.slow
def test_distances_are_reported_but_do_not_count():
    key = keys.OWSDKey.generate(embedding_size=64, image_size=(16, 16), width=8)
    evidence = make_evidence(lambda embeddings: F.owsd_scramble(embeddings, key))
    report = audit.run(evidence, settings=QUICK)
    (found,) = (each for each in report.findings if each.attack == "distance_correlation")
    correlation, pearson, neighbours = found.measures
    assert correlation.value > 0.7 > 0.5 > correlation.chance
    assert pearson.value > 0.6 > 0.2 > abs(pearson.chance)
    assert neighbours.low < neighbours.value < neighbours.high
    assert neighbours.chance == 1 / (QUICK.targets - 1)
    assert found.cost == {"comparisons": 2 * QUICK.targets**2}
    assert (found.level.value, found.leaks, found.leakage, found.counted) == ("L0", "distances", None, False)
    assert not report.measured("L0")
    back = audit.Finding.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False)))
    assert back.to_dict() == found.to_dict()


@pytest.mark.slow
def test_embeddings_link_better_than_pixels(folded):
    report = audit.run(folded, fast=True, encoder=encoder())
    found = {each.attack: each for each in report.findings}
    assert found.keys() > BY_PIXELS | BY_EMBEDDINGS
    pixels, embeddings = (found[f"ridge_reidentification{by}"] for by in ("", " (embeddings)"))
    assert embeddings.headline.value > 0.7 > 0.5 > pixels.headline.value
    assert report.worst("L2") is embeddings
    assert (embeddings.level.value, embeddings.leaks) == ("L2", "identity")
    for each in (embeddings, pixels):
        best = max(each.curve, key=lambda point: point.measure.leakage)
        assert (each.pairs, each.headline.value) == (best.pairs, best.measure.value)
    assert embeddings.cost == {"pairs": embeddings.pairs, "comparisons": 200 * 200}
    assert [point.pairs for point in embeddings.curve] == [point.pairs for point in pixels.curve] == [5, 100, 200]
    assert embeddings.headline.chance == 1 / 200
    near, far = (found[f"distance_correlation{by}"].measures for by in (" (embeddings)", ""))
    assert near[0].value > far[0].value + 0.1
    assert near[1].value > far[1].value + 0.1


def test_each_image_is_embedded_once_and_nothing_is_changed(folded):
    given = encoder()
    before = given.planes.detach().clone()
    audit.run(folded, settings=QUICK, encoder=given)
    others = len(folded.plain) // 2  # the public images; pairs are some of them
    assert given.seen == QUICK.targets + others + 1  # one to see whether it takes them
    assert torch.equal(given.planes, before)
    assert given.planes.grad is None


def test_without_the_encoder_the_report_says_how_to_give_it(folded):
    report = audit.run(folded, settings=QUICK)
    reasons = {each.attack: each.reason for each in report.not_run}
    for name in BY_EMBEDDINGS:
        assert "need the encoder" in reasons[name]
        assert "--model package.module:factory" in reasons[name]
        assert "encoder=" in reasons[name]


@pytest.mark.slow
def test_pairs_and_the_encoder_open_pictures(folded):
    """Beside the mean image; of fresh noise nothing but that is drawn."""
    generator = torch.Generator().manual_seed(2)
    noise = torch.randint(0, 256, folded.disguised.shape, dtype=torch.uint8, generator=generator)
    chosen = named("feature_inversion")
    found, blind = (
        audit.run(each, fast=True, encoder=encoder(), attacks=chosen).findings[0]
        for each in (folded, replace(folded, disguised=noise))
    )
    assert (found.level.value, found.leaks, found.counted) == ("L2", "picture", True)
    assert found.facts["embeddings_explained"] > 0.5 > 0.1 > blind.facts["embeddings_explained"]
    assert blind.leakage < 0.05


def test_fisher_information_needs_encoder_and_key(folded):
    report = audit.run(folded, settings=QUICK, encoder=encoder())
    (told,) = (each for each in report.not_run if each.attack == "diagonal_fisher_leakage")
    assert "--key" in told.reason
    assert (told.level.value, report.facts["disguise"]["fisher"]) == ("L4", None)
    other = audit.run(control("BlockPermute", "identity"), settings=QUICK)
    assert "diagonal_fisher_leakage" not in {each.attack for each in other.not_run}


def test_the_true_reasons_of_what_is_never_run(folded):
    told = {each.attack: each for each in audit.run(folded, settings=QUICK).not_run}
    seeds, cloud = told["small_seed_search"], told["label_probe (the cloud's answers)"]
    assert "entropy" in seeds.reason
    assert "holds no answers of a cloud" in cloud.reason
    assert seeds.level.value == cloud.level.value == "L2"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (Folding, ModelError, "training mode"),
        (lambda: encoder(inputs=49), ModelError, r"cannot take images \[1, 1, 8, 8\]"),
        (lambda: nn.Identity().eval(), ModelError, "must return embeddings"),
        (lambda: encoder().forward, InputTypeError, "encoder must be a torch.nn.Module, not method"),
    ],
)
def test_encoders_that_cannot_be(folded, tmp_path, given, error, message):
    """They are refused before the work begins."""
    with pytest.raises(error, match=message):
        audit.run(folded, settings=QUICK, encoder=given(), report=tmp_path / "report.html")
    assert not (tmp_path / "report.html.parts").exists()


@pytest.mark.parametrize("broken", [1, 400])
def test_plain_images_with_nan_end_only_attacks_that_use_them(folded, broken):
    plain = folded.plain / 255
    plain[:broken, 0, 0, 0] = torch.nan
    report = audit.run(replace(folded, plain=plain), settings=QUICK, encoder=encoder())
    refused = {each.attack for each in report.not_run if each.reason.startswith("refused these images: ")}
    assert refused >= (BY_EMBEDDINGS if broken > 1 else set())
    assert "duplicate_statistics" in {each.attack for each in report.findings}


def test_an_encoder_for_another_disguise_is_refused():
    with pytest.raises(InputTypeError, match=r"belongs to OWSDScramble, .* went through BlockPermute: leave encoder"):
        audit.run(control("BlockPermute", "identity"), encoder=encoder())


@pytest.mark.slow
def test_a_killed_audit_goes_on_with_the_same_encoder_only(folded, tmp_path, monkeypatch):
    """Embeddings are made anew for another encoder, and only then."""
    chosen = named(*BY_PIXELS, *BY_EMBEDDINGS)
    monkeypatch.setattr(Store, "remove", lambda self: None)  # as if killed before the report was written

    def embedded(given):
        given.seen = 0
        audit.run(folded, settings=QUICK, encoder=given, attacks=chosen, report=tmp_path / "report.html")
        return given.seen - 1  # one to see whether it takes the images

    brighter, everyone = encoder(), QUICK.targets + len(folded.plain) // 2
    brighter.mean = 0.5  # neither a weight nor in its repr
    assert embedded(encoder()) == everyone
    assert embedded(encoder()) == 0
    assert embedded(brighter) == everyone
    assert embedded(encoder(seed=1)) == everyone
    assert embedded(encoder()) == everyone


def test_an_export_and_its_page(tmp_path):
    world, key = World(60), keys.OWSDKey.generate(embedding_size=48, image_size=(16, 16), width=8)
    given = encoder(inputs=256)
    data.export(world, tmp_path / "out", transform=transforms.OWSDScramble(given, key), key=key)
    path = tmp_path / "report.html"
    report = audit.run(tmp_path / "out", plain=world, key=key, encoder=given, settings=QUICK, report=path)
    assert {each.attack for each in report.findings} > BY_PIXELS | BY_EMBEDDINGS
    page = path.read_text()
    assert "Ridge re-identification, with the encoder" in page
    assert "attacks.ridge_reidentification</code>" in page
    assert "(embeddings)" not in page
    assert "Folding" not in page + path.with_suffix(".json").read_text()  # which encoder it was stays inside
    fisher = report.facts["disguise"]["fisher"]
    assert 0 < fisher["mean_standard_error"] < fisher["mean_dfil"]
    assert fisher["mean_rmse_bound"] > 0
    assert "Fisher information (dFIL)" in page
    assert "diagonal_fisher_leakage" not in {each.attack for each in report.not_run}
    assert "nan" not in re.sub(r"base64,[^\"]+", "", page)


def test_other_disguises_say_why_not():
    evidence = make_evidence(lambda embeddings: embeddings.reshape(-1, 1, 8, 8).mul(255).byte())
    plain = audit.Evidence(evidence.disguised, attacks.Scheme("BlockPermute", block_size=(4, 4)))
    reasons = {each.attack: each.reason for each in audit.run(plain, settings=QUICK).not_run}
    assert all("OWSDScramble" in reasons[name] for name in SCRAMBLED)


@pytest.mark.parametrize("given", ["pairing", "plain"])
def test_without_pairs(given):
    evidence = make_evidence(lambda embeddings: embeddings.reshape(-1, 1, 8, 8).mul(255).byte())
    kept = {"plain": evidence.plain, "plain_labels": evidence.plain_labels} if given == "pairing" else {}
    fewer = audit.Evidence(evidence.disguised, evidence.scheme, labels=evidence.labels, **kept)
    reasons = {each.attack: each.reason for each in audit.run(fewer, settings=QUICK).not_run}
    assert ("--key" if given == "pairing" else "--plain") in reasons["label_probe"]
