"""What holds of every attack of the table: how it is described, what it returns, and what it refuses."""

import contextlib
import json
import re
from dataclasses import replace
from typing import get_args

import attack_table
import pytest
import torch
from seen_worlds import NAMES, exported, seen_by, world

from torchprotect import attacks
from torchprotect.attacks import ATTACKS, Level, Need, Pairs
from torchprotect.attacks.protocol import Finds
from torchprotect.errors import ProtectError

pytestmark = pytest.mark.filterwarnings("ignore::torchprotect.errors.PixelScaleWarning")
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)

# how it is described


def test_names_are_those_of_public_functions_each_once():
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names)
    for name in names:
        function, _, variant = name.partition(" ")
        assert function in attacks.__all__
        assert callable(getattr(attacks, function))
        assert not variant or (variant[0], variant[-1]) == ("(", ")")
    titles = [attack.title for attack in ATTACKS]
    assert len(set(titles)) == len(titles)


@every_attack
def test_its_description(attack):
    assert attack.title[0].isupper()
    assert attack.about[0].islower()
    assert not attack.about.endswith(".")
    assert attack.finds in get_args(Finds)
    assert isinstance(attack.level, Level)
    assert attack.needs <= set(Need)
    assert attack.variants
    if attack.level is Level.CIPHERTEXT_ONLY:
        assert not attack.needs & {Need.PUBLIC, Need.LABELS, Need.KNOWN, Need.PAIRS}
    if Need.PAIRS in attack.needs:
        assert attack.level is Level.KNOWN_PAIRS


@every_attack
def test_it_applies_to_some_disguise_and_says_why_not_to_others(attack):
    reasons = [attack.reason(world(name).scheme) for name in NAMES]
    assert None in reasons
    assert all(isinstance(reason, str) and reason for reason in reasons if reason is not None)


# what it returns


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("export") / "out")


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


def assert_sound(result, seen):
    """Numbers are numbers, guesses are indices or classes."""
    told = json.loads(result.to_json(), parse_constant=refuse_constant)
    assert told["level"] == result.level.value
    images = getattr(result, "images", None)
    if images is not None:
        assert len(images) == seen.targets
        assert bool(images.float().isfinite().all())
    guesses = getattr(result, "guesses", None)
    if guesses is not None:
        assert guesses.dtype == torch.int64
        assert 0 <= int(guesses.min()) <= int(guesses.max()) < 64


@every_attack
def test_its_result(attack, folder):
    for variant in attack.variants:
        seen = seen_by(attack, folder)
        result = attack.run(seen, **variant)
        assert result.level is attack.level
        assert result.cost
        assert all(type(name) is str and type(count) is int for name, count in result.cost.items())
        assert_sound(result, seen)
        assert len(repr(result)) < 400
        assert "tensor(" not in repr(result)
        json.dumps(attack.facts(result), allow_nan=False)


@pytest.mark.slow
@every_attack
def test_equal_seeds_give_equal_results_whatever_torch_is_seeded_with(attack, folder):
    results = []
    seen_by(attack)  # made once, before anything is seeded
    for seed in (1, 2):
        torch.manual_seed(seed)
        results.append(attack.run(seen_by(attack, folder), **attack.variants[-1]))
        after = torch.rand(())
        torch.manual_seed(seed)
        assert torch.rand(()) == after  # nothing was drawn from torch's own generator
    first, second = results
    assert first.to_json() == second.to_json()
    if hasattr(first, "images"):
        assert torch.equal(first.images, second.images)


# what it refuses

IMAGES = {
    "disguised": None,
    "public": Need.PUBLIC,
    "known": Need.KNOWN,
    "members": Need.MEMBERS,
    "plain": Need.PAIRS,
    "paired": Need.PAIRS,
}
LABELS = {"released_labels": Need.RELEASED_LABELS, "public_labels": Need.LABELS}


def with_nan(images):
    images = images.float() / (255 if images.dtype == torch.uint8 else 1)
    images[0, 0, 3, 3] = torch.nan
    return images


def halved(images):
    return (images.float() / 255 if images.dtype == torch.uint8 else images).half()


BAD_IMAGES = {
    "complex": lambda images: images.to(torch.complex64),
    "NaN": with_nan,
    "empty": lambda images: images[:0],
    "one": lambda images: images[0],
    "narrower": lambda images: images[..., :-1],
    "nowhere": lambda images: images.to("meta"),
    "array": lambda images: images.numpy(),
}
ODD_IMAGES = {"half": halved, "int64": lambda images: images.long(), "bool": lambda images: images > 99}
BAD_LABELS = {
    "float": lambda labels: labels.float(),
    "negative": lambda labels: labels - 1,
    "large": lambda labels: labels + 100,
    "short": lambda labels: labels[:-1],
    "empty": lambda labels: labels[:0],
    "nowhere": lambda labels: labels.to("meta"),
    "list": lambda labels: labels.tolist(),
}


def changed(seen, name, change):
    """Return what is seen with one tensor changed."""
    if name in ("plain", "paired"):
        pairs: Pairs = seen.pairs
        field = "plain" if name == "plain" else "disguised"
        return replace(seen, pairs=pairs._replace(**{field: change(getattr(pairs, field))}))
    return replace(seen, **{name: change(getattr(seen, name))})


UNUSED = {
    ("recover_permutation", "disguised"),  # it opens them where blocks are as they were; here they are not
    ("label_probe", "plain"),
    ("label_probe", "public_labels"),  # of the pairs, which come with them
    ("linkage_attack", "public_labels"),
}

ANY_SIZE = {"distance_correlation", "distance_correlation (embeddings)"}  # they compare images with each other


def cases(fields, changes):
    return [
        pytest.param(
            attack,
            name,
            change,
            id=f"{attack.name}-{name}-{kind}",
            marks=[pytest.mark.slow] if attack.long else [],
        )
        for attack in ATTACKS
        for name, need in fields.items()
        for kind, change in changes.items()
        if (need in attack.needs if need else attack.name != "metadata_scan")
        and (attack.name, name) not in UNUSED
        and not (kind == "narrower" and attack.name in ANY_SIZE)
    ]


@pytest.mark.parametrize(("attack", "name", "change"), [*cases(IMAGES, BAD_IMAGES), *cases(LABELS, BAD_LABELS)])
def test_bad_input_is_refused_with_a_message(attack, name, change):
    with pytest.raises(ProtectError, match=r"\w"):
        attack.run(changed(seen_by(attack), name, change), **attack.variants[0])


@pytest.mark.parametrize(("attack", "name", "change"), cases(IMAGES, ODD_IMAGES))
def test_odd_input_is_refused_or_understood(attack, name, change):
    seen = changed(seen_by(attack), name, change)
    with contextlib.suppress(ProtectError):
        assert_sound(attack.run(seen, **attack.variants[0]), seen)


@every_attack
def test_a_missing_need_is_named(attack):
    others = ((Need.FOLDER, "folder"), (Need.PRETRAINED, "pretrained"))
    for need, name in (*((need, name) for name, need in {**IMAGES, **LABELS}.items() if need), *others):
        if need not in attack.needs or (attack.name, name) in UNUSED - {("label_probe", "plain")}:
            continue
        lacking = replace(seen_by(attack), **{"pairs" if need is Need.PAIRS else name: None})
        with pytest.raises(ProtectError, match=need.value):
            attack.run(lacking, **attack.variants[0])


# what the page says


def test_the_page_has_the_table():
    assert attack_table.table() in attack_table.PAGE.read_text(), "python tests/attacks/attack_table.py writes it anew"


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_the_docstring_says_what_is_counted_as_cost(attack):
    function = getattr(attacks, attack.name.partition(" ")[0])
    assert re.search(r"\bCost: .*?\n\s*\n", function.__doc__, re.DOTALL)


def test_a_score_shows_few_measured_numbers():
    shares, low, high, chance = (0.25, 0.5), (0.2, 0.4), (0.3, 0.6), (0.01, 0.05)
    shown = repr(attacks.LinkageScore(Level.PUBLIC_DATA, {}, (1, 5), shares, low, high, chance, 300, 300))
    assert "shares=[0.25, 0.5]" in shown
    assert "k=2 entries" in shown  # whole numbers may be a part of a key
