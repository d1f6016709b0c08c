import torch
from audit_world import control

from torchprotect import audit
from torchprotect.audit._split import split


def test_nothing_that_is_attacked_is_public_or_known():
    evidence = control("RMTDisguise", "identity", 101)
    shuffled = torch.randperm(101, generator=torch.Generator().manual_seed(3))
    evidence = audit.Evidence(
        evidence.disguised, evidence.scheme, evidence.labels, evidence.plain, evidence.plain_labels, shuffled
    )
    parts = split(evidence, 0)
    hidden = set(shuffled[parts.attacked].tolist())
    assert len(parts.attacked) == 50
    assert sorted([*parts.attacked.tolist(), *parts.others.tolist()]) == list(range(101))
    assert not hidden & set(parts.public.tolist())
    assert not hidden & set(shuffled[parts.known].tolist())
    assert set(parts.clean.tolist()) == hidden
    assert len(parts.public) == len(parts.known) == 51


def test_plain_images_that_were_not_exported_are_public_too():
    evidence = control("RMTDisguise", "identity", 60)
    more = torch.cat([evidence.plain, evidence.plain[:10] // 2])
    labels = torch.cat([evidence.plain_labels, evidence.plain_labels[:10]])
    parts = split(audit.Evidence(evidence.disguised, evidence.scheme, None, more, labels, evidence.pairing), 0)
    assert len(parts.public) == 40
    assert set(range(60, 70)) <= set(parts.public.tolist())


def test_an_image_disguised_twice_is_no_known_pair_of_itself():
    evidence = control("RMTDisguise", "identity", 60)
    twice = torch.arange(60) // 2
    parts = split(audit.Evidence(evidence.disguised, evidence.scheme, plain=evidence.plain, pairing=twice), 0)
    assert len(parts.known) < len(parts.others)
    assert not set(twice[parts.attacked].tolist()) & set(twice[parts.known].tolist())


def test_same_seed_same_split():
    evidence = control("RMTDisguise", "identity", 60)
    assert torch.equal(split(evidence, 0).attacked, split(evidence, 0).attacked)
    assert not torch.equal(split(evidence, 0).attacked, split(evidence, 1).attacked)


def test_without_pairs_some_plain_images_are_held_out():
    evidence = control("RMTDisguise", "identity", 60)
    parts = split(audit.Evidence(evidence.disguised, evidence.scheme, evidence.labels, evidence.plain), 0)
    assert len(parts.known) == 0
    assert len(parts.clean) == 12
    assert sorted([*parts.public.tolist(), *parts.clean.tolist()]) == list(range(60))
    assert len(split(audit.Evidence(evidence.disguised, evidence.scheme), 0).public) == 0
