"""An attack of the user's own: its mistakes are told, and neither end nor change what other attacks find."""

from dataclasses import replace

import pytest
import torch
from audit_world import QUICK, control, named

from torchprotect import attacks, audit
from torchprotect.attacks import (
    Attack,
    AttackResult,
    ClassGuesses,
    Level,
    LinkageResult,
    Need,
    PermutationResult,
    Reconstruction,
    scores,
)
from torchprotect.errors import InputRangeError, InputTypeError

L1, L2 = Level.PUBLIC_DATA, Level.KNOWN_PAIRS


def own(run, score=scores.CLASSES, level=L1, finds="class", **options):
    return Attack("mine", "Mine", "does something", finds, level, run, score, **options)


@pytest.fixture(scope="module")
def evidence():
    return control("BlockPermute", "identity", 60)


def audited(evidence, *chosen):
    return audit.run(evidence, settings=replace(QUICK, targets=20), attacks=chosen)


def guesses(values, level=L1):
    return lambda seen: ClassGuesses(level, {}, values(len(seen.disguised)))


def links(shape, most):
    def run(seen):
        count = len(seen.known)
        found = torch.zeros(count, *shape, dtype=torch.int64)
        found[0] = most
        return LinkageResult(L1, {}, found, found.float())

    return run


def fail(seen, *rest):
    return 1 / 0


def multiply_in_torch(seen):
    return torch.zeros(2, 3) @ torch.zeros(2, 3)


def talk(seen):
    raise RuntimeError("much\n" * 200)


def refuse(seen):
    raise InputRangeError("too few")


def line(function):
    return f"line {function.__code__.co_firstlineno + 1} of test_own_attacks.py"


FAILURES = {
    "an exception": (own(fail), f"failed with ZeroDivisionError at {line(fail)}: division by zero", "failed"),
    "an exception in torch": (
        own(multiply_in_torch),
        f"failed with RuntimeError at {line(multiply_in_torch)}: mat1",
        "failed",
    ),
    "a long message": (own(talk), f"at {line(talk)}: {'much ' * 40} ...", "failed"),
    "a reason that fails": (own(fail, reason=fail), f"failed with ZeroDivisionError at {line(fail)}", "failed"),
    "run that takes nothing": (own(lambda: None), "failed with TypeError: <lambda>() takes 0 positional", "failed"),
    "nothing": (own(lambda seen: None), "mine must return a ClassGuesses, got None", "failed"),
    "a tensor": (own(lambda seen: torch.zeros(30)), "must return a ClassGuesses, got torch.Tensor", "failed"),
    "another result": (
        own(lambda seen: Reconstruction(L1, {}, seen.target)),
        "must return a ClassGuesses, got Reconstruction",
        "failed",
    ),
    "another level": (
        own(guesses(lambda count: torch.zeros(count, dtype=torch.int64), L2)),
        "mine is of level L1, but its result of L2",
        "failed",
    ),
    "too few guesses": (
        own(guesses(lambda count: torch.zeros(3, dtype=torch.int64))),
        r"must be [30], got [3]",
        "failed",
    ),
    "floats": (own(guesses(torch.zeros)), "must be int64, got torch.float32", "failed"),
    "no class": (
        own(guesses(lambda count: torch.full((count,), 99))),
        "must lie in 0..3, but lie in 99..99",
        "failed",
    ),
    "one picture": (
        own(lambda seen: Reconstruction(L1, {}, seen.target[:1]), scores.PICTURES, finds="picture"),
        "rebuilt images must be [20, 1, 16, 16] like the targets, got [1, 1, 16, 16]",
        "failed",
    ),
    "NaN pictures": (
        own(lambda seen: Reconstruction(L1, {}, seen.target * torch.nan), scores.PICTURES, finds="picture"),
        "rebuilt images hold NaN",
        "failed",
    ),
    "a link to nothing": (
        own(links((1,), 99), scores.KNOWN_FOUND, finds="identity"),
        "must lie in 0..29, but lie in 0..99",
        "failed",
    ),
    "links in one row": (
        own(links((), 0), scores.KNOWN_FOUND, finds="identity"),
        "must be [20, -1], got [20]",
        "failed",
    ),
    "an order of nothing": (
        own(lambda seen: PermutationResult(L1, {}, torch.zeros(3, dtype=torch.int64), torch.zeros(3)), scores.ORDER),
        "3 positions of the order are needed",
        "failed",
    ),
    "odd facts": (
        own(lambda seen: AttackResult(L1, {}), scores.NOTHING, facts=lambda result: {"x": object()}),
        "cost and facts of mine must be numbers and texts",
        "failed",
    ),
    "a single measure": (
        own(
            lambda seen: AttackResult(L1, {}),
            attacks.Score((), lambda result, truth: attacks.Measure("x", 0.5, 0.4, 0.6)),
        ),
        "the score of mine must return a tuple of measures, got Measure",
        "failed",
    ),
    "images that it refuses": (own(refuse), "refused these images: too few", "refused"),
}


@pytest.mark.parametrize(("attack", "reason", "cause"), FAILURES.values(), ids=FAILURES)
def test_a_failing_attack_is_reported_and_others_continue(evidence, attack, reason, cause):
    linkage = named("linkage_attack")
    report = audited(evidence, attack, *linkage)
    told = next(each for each in report.not_run if each.attack == "mine")
    assert reason in told.reason
    assert told.cause == cause
    assert [each.attack for each in report.findings] == ["linkage_attack"]


def test_numbers_that_json_does_not_have_are_left_out(evidence):
    attack = own(lambda seen: AttackResult(L1, {"n": 1}), scores.NOTHING, facts=lambda result: {"rate": torch.nan})
    (found,) = audited(evidence, attack).findings
    assert found.facts == {"rate": None}
    audited(evidence, attack).to_json()


def test_no_attack_can_change_what_others_see(evidence):
    def wipe(seen):
        for each in (seen.released, seen.disguised, seen.public, seen.known):
            each.zero_()
        seen.order.zero_()
        for each in seen.examiner._fitted.parameters():
            each.data.zero_()
        return AttackResult(L1, {})

    before = evidence.disguised.clone()
    others = named("jigsaw_attack", "recover_permutation_from_statistics")
    wiping = own(wipe, scores.NOTHING, needs=frozenset({Need.PUBLIC, Need.LABELS}))
    alone = audited(evidence, *others).findings
    first, *after = audited(evidence, wiping, *others).findings
    assert first.attack == "mine"
    assert torch.equal(evidence.disguised, before)
    assert len(alone) == 2
    assert [each.measures for each in after] == [each.measures for each in alone]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"level": "L1"}, InputTypeError, "level of attack 'mine' must be a Level, got str"),
        ({"needs": {Need.PUBLIC}}, InputTypeError, "needs of attack 'mine' must be a frozenset, got set"),
        ({"score": None}, InputTypeError, "score of attack 'mine' must be a Score, got NoneType"),
        ({"variants": ()}, InputRangeError, "at least one variant"),
        ({"variants": ("fast",)}, InputTypeError, "variants of attack 'mine' must be mappings of keyword.* got str"),
        ({"variants": ({"by": object()},)}, InputTypeError, "variants of attack 'mine' must hold what JSON can"),
        ({"finds": "everything"}, InputRangeError, "finds of attack 'mine' must be one of .* got 'everything'"),
        ({"holder": "Someone {odd}"}, InputRangeError, "may name nothing but {pairs}"),
        ({"title": ""}, InputTypeError, "title of an attack must be a text"),
        ({"level": Level.CIPHERTEXT_ONLY, "needs": frozenset({Need.PUBLIC})}, InputRangeError, "which L1 has"),
        ({"needs": frozenset({Need.PAIRS})}, InputRangeError, "is of level L1 but needs known pairs, which L2 has"),
    ],
)
def test_attacks_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        replace(own(fail), **options)


def test_attacks_in_any_collection(evidence):
    (linkage,) = named("linkage_attack")
    assert audited(evidence, linkage).findings
    assert audit.run(evidence, settings=QUICK, attacks=iter([linkage])).findings
    assert len(set(attacks.ATTACKS)) == len(attacks.ATTACKS)
    with pytest.raises(InputTypeError, match="attacks must be a list of"):
        audit.run(evidence, settings=QUICK, attacks=linkage)


def test_a_score_of_a_key_is_about_a_key_even_if_the_result_has_images(evidence):
    count = attacks.Measure("digits of the key", 0.9, 0.8, 1.0, 0.1, 1.0, about="key")
    score = attacks.Score((), lambda result, truth: (count,))
    attack = own(lambda seen: Reconstruction(L1, {}, seen.target), score, finds="key")
    (found,) = audited(evidence, attack).findings
    assert (found.leaks, found.measures) == ("key", (count,))
    attack = replace(attack, score=attacks.Score((), lambda result, truth: (replace(count, about="known"),)))
    (found,) = audited(evidence, attack).findings
    assert found.leaks == "identity"
    attack = own(lambda seen: Reconstruction(L1, {}, seen.target), scores.PICTURES, finds="key")
    (found,) = audited(evidence, attack).findings
    assert found.leaks == "picture"


@pytest.mark.parametrize("name", ["run", "reason", "facts"])
def test_functions_of_an_attack_are_checked_when_it_is_made(name):
    with pytest.raises(InputTypeError, match=f"{name} of attack 'mine' must be a function, got None"):
        replace(own(fail), **{name: None})


def test_scores_are_checked_when_they_are_made():
    with pytest.raises(InputRangeError, match=r"needs of a score must be among .*'order'.*, got \['ordr'\]"):
        attacks.Score(("ordr",), fail)
    for options in ({"needs": "order"}, {"measure": None}, {"align": None}):
        with pytest.raises(InputTypeError, match="needs in a tuple, and functions"):
            attacks.Score(**{"needs": (), "measure": fail, **options})


def test_fast_and_settings_are_not_both_taken(evidence):
    with pytest.raises(InputTypeError, match=r"fast and settings both .*: give one, such as settings.faster\(\)"):
        audit.run(evidence, fast=True, settings=QUICK)


@pytest.mark.parametrize("options", [{"about": "person"}, {"unit": "rank"}])
def test_measures_say_what_they_are_about(options):
    with pytest.raises(InputRangeError, match=r"unit of a measure must be one of .*, and about one of .*'key'"):
        attacks.Measure("x", 0.5, 0.4, 0.6, **options)
