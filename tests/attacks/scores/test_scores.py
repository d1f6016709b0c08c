import json
import math
from dataclasses import replace

import pytest
import torch
from support import make_image

from torchprotect import attacks
from torchprotect.attacks import Level, score_balanced_classes
from torchprotect.attacks.results import (
    ClassGuesses,
    LinkageResult,
    PermutationResult,
    Reconstruction,
    StatisticsResult,
)
from torchprotect.attacks.scores.intervals import around_mean, wilson
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError

COST = {"comparisons": 7}


def rebuilt(images):
    return Reconstruction(Level.KNOWN_PAIRS, COST, images)


def guessed(guesses):
    return ClassGuesses(Level.PUBLIC_DATA, COST, guesses)


def linked(guesses):
    return LinkageResult(Level.PUBLIC_DATA, COST, guesses, torch.zeros(guesses.shape))


def ordered(guesses):
    return PermutationResult(Level.CIPHERTEXT_ONLY, COST, guesses, torch.zeros(len(guesses)))


def rmse_with_loops(image, truth):
    differences = [(a - b) ** 2 for a, b in zip(image.flatten().tolist(), truth.flatten().tolist(), strict=True)]
    return math.sqrt(sum(differences) / len(differences))


# reconstructions


def test_reconstruction():
    truth, images = make_image(6, 1, 8, 8, seed=1), make_image(6, 1, 8, 8, seed=2)
    images[4] = truth[4]
    score = attacks.score_reconstruction(rebuilt(images), truth)
    assert (score.level, score.cost) == (Level.KNOWN_PAIRS, COST)
    expected = [rmse_with_loops(*pair) for pair in zip(images, truth, strict=True)]
    assert score.rmse.tolist() == pytest.approx(expected, rel=1e-5)
    assert score.mean_rmse == pytest.approx(sum(expected) / 6, rel=1e-5)
    assert score.rmse_interval == around_mean(score.rmse)
    assert score.rmse_interval[0] < score.mean_rmse < score.rmse_interval[1]
    assert torch.equal(score.psnr, attacks.psnr(images, truth))
    assert torch.equal(score.ssim, attacks.ssim(images, truth))
    assert score.mean_ssim == pytest.approx(float(score.ssim.mean()))
    assert score.exact == pytest.approx(1 / 6)
    told = json.loads(score.to_json())
    assert told["psnr"][4] is None
    assert told["mean_psnr"] is None
    assert len(told["rmse"]) == 6


def test_chance_of_a_reconstruction_is_the_mean_of_the_others():
    truth = make_image(5, 2, 8, 8)
    score = attacks.score_reconstruction(rebuilt(truth), truth)
    errors = []
    for n in range(5):
        others = [truth[m].double() for m in range(5) if m != n]
        errors.append(rmse_with_loops(sum(others) / 4, truth[n].double()))
    assert score.rmse_chance == pytest.approx(sum(errors) / 5, rel=1e-4)
    floats = attacks.score_reconstruction(rebuilt(truth / 255), truth.float() / 255)
    assert floats.rmse_chance == pytest.approx(score.rmse_chance, rel=1e-4)
    assert floats.ssim_chance == pytest.approx(score.ssim_chance, abs=1e-4)
    guess = truth.double().mean(0).round().to(torch.uint8).expand_as(truth)
    mean_image = attacks.score_reconstruction(rebuilt(guess), truth)  # it was told the image itself, too
    assert mean_image.mean_rmse == pytest.approx(score.rmse_chance * 4 / 5, rel=0.01)


def test_an_exact_reconstruction_and_noise():
    truth = make_image(20, 1, 8, 8, seed=1)
    exact = attacks.score_reconstruction(rebuilt(truth), truth)
    assert exact.exact == exact.mean_ssim == 1
    assert exact.mean_rmse == 0
    assert exact.mean_psnr == math.inf
    assert math.isnan(exact.psnr_interval[0])
    noise = attacks.score_reconstruction(rebuilt(make_image(20, 1, 8, 8, seed=2)), truth)
    assert noise.mean_rmse > noise.rmse_chance
    assert noise.mean_psnr < noise.psnr_chance
    assert noise.exact == 0


def test_a_single_reconstruction():
    truth = torch.zeros(1, 1, 8, 8)
    score = attacks.score_reconstruction(rebuilt(torch.ones(1, 1, 8, 8)), truth)
    assert score.rmse_interval == (255, 255)
    assert score.rmse_chance == pytest.approx(127.5)


def test_results_without_images():
    with pytest.raises(InputTypeError, match="ClassGuesses has none"):
        attacks.score_reconstruction(guessed(torch.zeros(3)), torch.zeros(3, 1, 8, 8))


# classes and orders


def test_classes():
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3])
    score = attacks.score_classes(guessed(torch.tensor([0, 0, 1, 1, 1, 2, 3, 0])), labels)
    assert score.accuracy == 6 / 8
    assert (score.low, score.high) == wilson(6 / 8, 8)
    assert score.chance == 3 / 8
    assert score.count == 8
    assert (score.level, score.cost) == (Level.PUBLIC_DATA, COST)
    assert json.loads(score.to_json())["accuracy"] == 0.75


def test_balanced_classes():
    labels = torch.tensor([0, 0, 0, 0, 0, 0, 2, 2])
    score = score_balanced_classes(guessed(torch.tensor([0, 0, 0, 0, 0, 1, 2, 0])), labels)
    assert score.accuracy == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert (score.chance, score.count) == (1 / 2, 8)
    assert (score.low, score.high) == wilson(score.accuracy, 6)  # 4 / (1/6 + 1/2)
    always = score_balanced_classes(guessed(torch.zeros(8, dtype=torch.int64)), labels)
    assert always.accuracy == always.chance
    even = torch.arange(40) % 4
    exact = score_balanced_classes(guessed(even), even)
    assert (exact.accuracy, exact.low) == (1, attacks.score_classes(guessed(even), even).low)
    with pytest.raises(InputShapeError, match="8 labels"):
        score_balanced_classes(guessed(labels), labels[:7])


def test_guesses_at_random_come_out_at_chance():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2000) % 10
    score = attacks.score_classes(guessed(torch.randint(10, (2000,), generator=generator)), labels)
    assert score.low < score.chance < score.high
    order = torch.randperm(500, generator=generator)
    places = attacks.score_permutation(ordered(torch.randperm(500, generator=generator)), order)
    assert places.low <= places.chance <= places.high


def test_permutation():
    order = torch.tensor([2, 0, 1, 3])
    score = attacks.score_permutation(ordered(torch.tensor([2, 1, 0, 3])), order)
    assert (score.accuracy, score.chance, score.count) == (0.5, 0.25, 4)
    assert attacks.score_permutation(ordered(order), order).accuracy == 1


def test_an_order_from_statistics_counts_up_to_a_mirror_image():
    generator = torch.Generator().manual_seed(0)
    order, mirrored = (torch.randperm(49, generator=generator) for _ in range(2))
    result = StatisticsResult(Level.PUBLIC_DATA, COST, mirrored, torch.zeros(49), order)
    score = attacks.score_permutation(result, order)
    assert (
        score.accuracy == attacks.score_permutation(replace(result, guesses=order, mirrored=mirrored), order).accuracy
    )
    assert score.accuracy == 1
    drawn = [torch.randperm(49, generator=generator) for _ in range(4000)]
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    guesses = [attacks.score_permutation(replace(result, guesses=a, mirrored=b), order) for a, b in pairs]
    assert sum(each.accuracy for each in guesses) / len(guesses) == pytest.approx(score.chance, rel=0.05)
    symmetric = replace(result, guesses=order, mirrored=order)
    assert attacks.score_permutation(symmetric, order).chance == 1 / 49


def test_an_order_is_scored_without_images():
    order = torch.tensor([2, 0, 1, 3])
    truth = attacks.Truth(generator=None, order=order, images=make_image(2, 1, 8, 8))
    (share,) = attacks.scores.ORDER.measure(ordered(order), truth)
    assert (share.metric, share.value, share.about) == ("blocks at their right position", 1.0, "key")
    with pytest.raises(InputShapeError, match="rebuilt images cannot be scored: the truth has no identities"):
        attacks.scores.PICTURES.measure(rebuilt(make_image(2, 1, 8, 8)), truth)


@pytest.mark.parametrize("length", [0, 3, 5])
def test_truth_of_another_length(length):
    truth = torch.zeros(length, dtype=torch.int64)
    with pytest.raises(InputShapeError, match="4 labels"):
        attacks.score_classes(guessed(torch.zeros(4, dtype=torch.int64)), truth)
    with pytest.raises(InputShapeError, match="4 positions"):
        attacks.score_permutation(ordered(torch.arange(4)), truth)
    with pytest.raises(InputShapeError, match="4 known images"):
        attacks.score_linkage(linked(torch.zeros(4, 3, dtype=torch.int64)), truth)


# linkage


def linkage_with_loops(guesses, truth, k):
    return sum(right in row[:k] for row, right in zip(guesses.tolist(), truth.tolist(), strict=True)) / len(truth)


def test_linkage():
    generator = torch.Generator().manual_seed(1)
    guesses = torch.stack([torch.randperm(30, generator=generator)[:10] for _ in range(30)])
    truth = torch.randperm(30, generator=generator)
    score = attacks.score_linkage(linked(guesses), truth)
    assert score.k == (1, 5, 10)
    assert score.shares == tuple(linkage_with_loops(guesses, truth, k) for k in (1, 5, 10))
    assert score.chance == (1 / 30, 5 / 30, 10 / 30)
    assert (score.low[1], score.high[1]) == wilson(score.shares[1], 30)
    assert all(low <= chance <= high for low, chance, high in zip(score.low, score.chance, score.high))
    assert (score.count, score.candidates) == (30, 30)
    assert (score.level, score.cost) == (Level.PUBLIC_DATA, COST)
    assert json.loads(score.to_json())["k"] == [1, 5, 10]


def test_linkage_without_error():
    truth = torch.tensor([5, 1, 3])
    score = attacks.score_linkage(linked(truth[:, None]), truth, k=1)
    assert score.shares == (1,)
    assert score.candidates == 6  # an index 5 was seen
    assert attacks.score_linkage(linked(truth[:, None]), truth, candidates=5000).chance == (1 / 5000,)
    assert attacks.score_linkage(linked(torch.tensor([[0, 5], [0, 2], [3, 0]])), truth, k=[2, 1]).shares == (
        2 / 3,
        1 / 3,
    )


def test_linkage_to_any_image_that_is_the_same():
    """Candidates 0, 1 and 4 are equal, so are 2 and 3."""
    same = torch.tensor([7, 7, 2, 2, 7, 5])
    guesses, truth = torch.tensor([[4, 0], [3, 5], [0, 5], [5, 2]]), torch.tensor([0, 2, 5, 1])
    score = attacks.score_linkage(linked(guesses), truth, (1, 2), candidates=6, identities=same)
    assert score.shares == (2 / 4, 3 / 4)
    assert score.chance == (3 / 6, 5 / 6)
    whole = attacks.score_linkage(linked(guesses.repeat(1, 3)[:, :5]), truth, 5, candidates=6, identities=same)
    assert whole.chance == (1,)
    each = attacks.score_linkage(linked(guesses), truth, (1, 2), candidates=6, identities=torch.arange(6))
    assert each.shares == attacks.score_linkage(linked(guesses), truth, (1, 2), candidates=6).shares
    assert each.chance == (1 / 6, 2 / 6)
    with pytest.raises(InputShapeError, match="each of 6 candidates"):
        attacks.score_linkage(linked(guesses), truth, 1, candidates=6, identities=same[:5])


@pytest.mark.parametrize("k", [0, 4, (1, 4), (), True, (1, -1)])
def test_linkage_at_impossible_k(k):
    with pytest.raises(InputRangeError, match="k must be"):
        attacks.score_linkage(linked(torch.zeros(2, 3, dtype=torch.int64)), torch.tensor([0, 1]), k)


def test_linkage_among_too_few():
    with pytest.raises(InputRangeError, match="candidates=7 is too small: the largest index is 7"):
        attacks.score_linkage(linked(torch.tensor([[7]])), torch.tensor([0]), candidates=7)


# intervals


@pytest.mark.parametrize(("share", "count"), [(0.0, 10), (1.0, 10), (0.3, 10), (0.5, 1000), (1 / 3, 3)])
def test_wilson_solves_its_equation(share, count):
    """The ends are the probabilities from which the share is 1.96 standard deviations away."""
    for end in wilson(share, count):
        assert (share - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / count, abs=1e-9)
    assert wilson(share, count)[0] <= share <= wilson(share, count)[1]
