from dataclasses import replace

import pytest
import torch
from audit_world import QUICK, control, named

from torchprotect import audit
from torchprotect.attacks import Level
from torchprotect.attacks.scores.identities import identities
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.evidence.split import split
from torchprotect.audit.scoring.truth import truth_of
from torchprotect.errors import InputRangeError


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
    assert len(parts.known) == len(parts.others) == 30
    assert not set(twice[parts.attacked].tolist()) & set(twice[parts.known].tolist())


def repeated(count, *, pairing):
    """Return evidence in which 40 % of the plain images are blank, and each other one is there twice."""
    evidence = control("RMTDisguise", "identity", count)
    plain = evidence.plain[torch.arange(count) // 2 * 2].clone()
    plain[torch.randperm(count, generator=torch.Generator().manual_seed(1))[: 2 * count // 5]] = 0
    paired = torch.arange(count) if pairing else None
    return audit.Evidence(evidence.disguised, evidence.scheme, evidence.labels, plain, evidence.plain_labels, paired)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("pairing", [True, False])
def test_equal_images_stay_together(seed, pairing):
    evidence = repeated(200, pairing=pairing)
    assert evidence.duplicates > 80
    parts, pixels = split(evidence, seed), [bytes(each.flatten().tolist()) for each in evidence.plain]
    hidden = {pixels[place] for place in parts.clean.tolist()}
    assert not hidden & {pixels[place] for place in parts.public.tolist()}
    if pairing:
        assert {pixels[place] for place in parts.attacked.tolist()} == hidden
        assert not hidden & {pixels[place] for place in parts.known.tolist()}
        assert len(parts.attacked) in (99, 100)
    assert len(parts.clean) + len(parts.public) == 200


def test_duplicates_of_attacked_images_are_never_public():
    evidence = control("RMTDisguise", "identity", 60)
    more, labels = torch.cat([evidence.plain, evidence.plain]), evidence.plain_labels.repeat(2)
    parts = split(audit.Evidence(evidence.disguised, evidence.scheme, None, more, labels, evidence.pairing), 0)
    assert len(parts.public) == 60
    assert not set((parts.public % 60).tolist()) & set(parts.attacked.tolist())


def test_a_group_of_more_than_half_is_not_attacked():
    evidence = control("RMTDisguise", "identity", 60)
    evidence.plain[:50] = 0
    parts = split(evidence, 0)
    assert sorted(parts.attacked.tolist()) == list(range(50, 60))


def test_two_halves_of_equal_images_leave_some_to_look_at():
    evidence = control("RMTDisguise", "identity", 60)
    evidence.plain[:30], evidence.plain[30:] = 0, 1
    unpaired = audit.Evidence(evidence.disguised, evidence.scheme, evidence.labels, evidence.plain)
    for parts in (split(evidence, 0), split(unpaired, 0)):
        assert len(parts.clean) == len(parts.public) == 30


@pytest.mark.parametrize("pairing", [torch.arange(60), None])
def test_images_that_are_all_equal(pairing):
    evidence = control("RMTDisguise", "identity", 60)
    blank = torch.zeros_like(evidence.plain)
    with pytest.raises(InputRangeError, match="all plain images are equal"):
        split(audit.Evidence(evidence.disguised, evidence.scheme, None, blank, None, pairing), 0)


def test_identities():
    images = torch.tensor([3.0, 0.0, 3.0, -0.0, 1.0]).reshape(5, 1, 1, 1)
    assert identities(images).tolist() == [0, 1, 0, 1, 2]
    assert identities(images.to(torch.uint8)).tolist() == [0, 1, 0, 1, 2]


def test_known_images_are_in_random_order():
    """The disguised image of each is found by the truth alone."""
    bench, (linkage,) = Bench(control("RMTDisguise", "identity", 60), QUICK), named("linkage_attack")
    seen, known = bench.seen(linkage, 0), truth_of(bench).known
    assert known.tolist() != list(range(30))
    assert torch.equal(seen.known.float(), seen.disguised[known])


@pytest.mark.parametrize("level", list(Level))
def test_attackers_see_what_their_level_gives(level):
    """An identity disguise: whoever is shown a plain image could compare."""
    bench = Bench(control("BlockPermute", "identity", 60), QUICK)
    (linkage,) = named("linkage_attack")
    seen = bench.seen(replace(linkage, level=level, needs=frozenset()), 5)
    knows_public, knows_pairs = level is not Level.CIPHERTEXT_ONLY, level.value >= "L2"
    assert [each is not None for each in (seen.public, seen.public_labels, seen.known)] == [knows_public] * 3
    assert (seen.pairs is not None) is knows_pairs
    hidden = set(bench.split.attacked.tolist())
    assert not hidden & set(bench.split.public.tolist())
    assert not hidden & set(bench.split.known.tolist())


@pytest.mark.parametrize(
    ("available", "pairs", "expected"),
    [(99, (5, 100, 1000), [5, 99]), (100, (5, 100), [5, 100]), (30, (2, 60), [2, 30]), (30, (40,), [30])],
)
def test_all_pairs_are_used_if_fewer_exist_than_requested(available, pairs, expected):
    settings, (regression,) = QUICK.__class__(pairs=pairs), named("regression_attack")
    bench = Bench(control("RMTDisguise", "identity", 2 * available), settings)
    assert bench.numbers_known(regression) == expected


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
