"""The audit of scrambled images: pairs link, label and rebuild them; noise gives chance."""

import pytest
import torch

from torchprotect import audit, keys
from torchprotect import functional as F

SCRAMBLED = {"ridge_reidentification", "label_probe", "autoencoder_attack"}


def make_evidence(scramble):
    """Plain images of four bright corners, and what a function makes of their pixels."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (240,), generator=generator)
    plain = torch.rand(240, 1, 8, 8, generator=generator) * 0.4
    for label in range(4):
        rows, columns = slice(4 * (label // 2), 4 * (label // 2) + 4), slice(4 * (label % 2), 4 * (label % 2) + 4)
        plain[labels == label, :, rows, columns] += 0.6
    plain = (plain * 255).byte()
    scheme = audit.Scheme("OWSDScramble", described=({"name": "OWSDScramble"},))
    disguised = scramble(plain.flatten(1).float() / 255)
    everyone = torch.arange(240)
    return audit.Evidence(disguised, scheme, labels=labels, plain=plain, plain_labels=labels, pairing=everyone)


def findings(evidence):
    found = audit.run(evidence, fast=True).findings
    return {each.attack: each for each in found if each.attack in SCRAMBLED}


def test_pairs_open_scrambled_images():
    key = keys.OWSDKey.generate(embedding_size=64, image_size=(16, 16), width=8)
    found = findings(make_evidence(lambda embeddings: F.owsd_scramble(embeddings, key)))
    assert found.keys() == SCRAMBLED
    assert found["label_probe"].leakage > 0.8
    assert found["ridge_reidentification"].leakage > 0.15
    assert found["ridge_reidentification"].curve[0].measure.value <= found["ridge_reidentification"].headline.value
    assert {each.level.value for each in found.values()} == {"L2"}


def test_noise_gives_chance():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (240, 3, 16, 16), dtype=torch.uint8, generator=generator)
    found = findings(make_evidence(lambda _: noise))
    assert found["ridge_reidentification"].leakage < 0.1
    assert found["label_probe"].leakage < 0.25


def test_other_disguises_say_why_not():
    evidence = make_evidence(lambda embeddings: embeddings.reshape(-1, 1, 8, 8).mul(255).byte())
    plain = audit.Evidence(evidence.disguised, audit.Scheme("BlockPermute", block_size=(4, 4)))
    reasons = {each.attack: each.reason for each in audit.run(plain, fast=True).not_run}
    assert all("OWSDScramble" in reasons[name] for name in SCRAMBLED)


@pytest.mark.parametrize("given", ["pairing", "plain"])
def test_without_pairs(given):
    evidence = make_evidence(lambda embeddings: embeddings.reshape(-1, 1, 8, 8).mul(255).byte())
    kept = {"plain": evidence.plain, "plain_labels": evidence.plain_labels} if given == "pairing" else {}
    fewer = audit.Evidence(evidence.disguised, evidence.scheme, labels=evidence.labels, **kept)
    reasons = {each.attack: each.reason for each in audit.run(fewer, fast=True).not_run}
    assert ("--key" if given == "pairing" else "--plain") in reasons["label_probe"]
