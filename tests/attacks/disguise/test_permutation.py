import itertools
import json
import math

import pytest
import torch
from disguised_shapes import (
    SCHEMES,
    SIZE,
    aes,
    aes_scheme,
    blocks_with_loops,
    permute_scheme,
    random_order,
    rmt,
    rmt_scheme,
    shapes,
    share,
)
from support import make_image

from torchprotect import data, functional
from torchprotect.attacks import (
    Level,
    Scheme,
    recover_permutation,
    recover_permutation_from_statistics,
    score_permutation,
)
from torchprotect.attacks.disguise import _matching
from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError, InputTypeError

KINDS = list(SCHEMES)


def few_levels(count, seed, channels=1):
    """Images of units in two grey levels, of which each place has its own share; units repeat."""
    draws = torch.rand(count, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    shares = torch.linspace(0.05, 0.5, 16).reshape(4, 4)
    return ((draws < shares) * 200).to(torch.uint8).repeat_interleave(4, 2).repeat_interleave(4, 3)


def disguise(kind, images, **options):
    order = random_order()
    if kind == "values":
        return functional.block_permute(images, order), order.order
    return {"energies": rmt, "equality": aes}[kind](images, order=order, **options), order.order


# pairs


def costs_with_loops(kind, plain, disguised, side="right"):
    """Return what each block costs at each place, from the definition."""
    blocks = [[blocks_with_loops(image) for image in images] for images in (plain, disguised)]
    count, positions = len(plain), len(blocks[0][0])
    costs = torch.zeros(positions, positions)
    for place, block in itertools.product(range(positions), repeat=2):
        mine, theirs = ([image[at] for image in images] for images, at in zip(blocks, (block, place)))
        if kind == "values":
            costs[place, block] = sum(float((one - other).square().mean()) for one, other in zip(mine, theirs)) / count
        elif kind == "energies":
            axis = -1 if side == "right" else -2
            differences = [one.norm(dim=axis) - other.norm(dim=axis) for one, other in zip(mine, theirs)]
            costs[place, block] = sum(float(each.square().mean()) for each in differences) / count
        else:
            for channel in range(plain.shape[1]):
                last = [last_equal([image[channel] for image in images]) for images in (mine, theirs)]
                costs[place, block] += sum(one != other for one, other in zip(*last)) / count / plain.shape[1]
    return costs


def last_equal(units):
    return [max((m for m in range(n) if torch.equal(units[m], units[n])), default=n) for n in range(len(units))]


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_as_with_loops(kind, device):
    plain = few_levels(12, 0, 2) if kind == "equality" else shapes(6, 0, 2)[0]
    disguised, _ = disguise(kind, plain)
    result = recover_permutation(plain.to(device), disguised.to(device), scheme=SCHEMES[kind]())
    costs, order = costs_with_loops(kind, plain, disguised), result.guesses.cpu()
    best = costs[range(16), order]
    others = torch.tensor([min(float(row[m]) for m in range(16) if m != at) for row, at in zip(costs, order.tolist())])
    torch.testing.assert_close(result.margins.cpu(), others - best, rtol=1e-3, atol=0.05)
    assert sorted(order.tolist()) == list(range(16))
    assert float(best.sum()) < 1e-3  # nothing is lost: the best order fits exactly
    assert result.cost == {"pairs": len(plain), "assignments": 1}
    assert result.level is Level.KNOWN_PAIRS
    assert json.loads(result.to_json())["guesses"] == order.tolist()


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("matrix", ["orthogonal", "uniform", "gaussian"])
def test_pairs_tell_the_order_under_any_matrix(matrix, side):
    plain = (make_image(60, 1, *SIZE) // 2 + shapes(60, 0)[0] // 2).contiguous()
    disguised, order = disguise("energies", plain, matrix=matrix, side=side, noise=20)
    result = recover_permutation(plain, disguised, scheme=rmt_scheme(matrix=matrix, side=side, noise=20))
    score = score_permutation(result, order)
    assert score.accuracy == 1
    assert score.chance == 1 / 16


def test_more_pairs_reveal_more():
    plain = shapes(200, 3)[0]
    for kind in KINDS:
        disguised, order = disguise(kind, plain)
        shares = [
            share(recover_permutation(plain[:n], disguised[:n], scheme=SCHEMES[kind]()).guesses, order)
            for n in (2, 200)
        ]
        assert shares[0] < shares[1] > 0.85


def test_empty_blocks_are_ties():
    plain = torch.zeros(3, 1, *SIZE, dtype=torch.uint8)
    plain[:, :, :4] = make_image(3, 1, 4, 16)
    disguised, order = disguise("energies", plain)
    result = recover_permutation(plain, disguised, scheme=rmt_scheme())
    sure = result.margins > 1
    assert torch.equal(sure, order < 4)
    assert torch.equal(result.guesses[sure], order[sure])
    assert result.margins[~sure].abs().max() < 1e-3


def test_pairs_of_fresh_noise_give_chance_level():
    plain, fresh = shapes(30, 0)[0], make_image(30, 1, *SIZE, seed=9)
    right = []
    for seed in range(20):
        truth = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
        for kind in KINDS:
            right.append(share(recover_permutation(plain, fresh, scheme=SCHEMES[kind]()).guesses, truth))
    assert sum(right) / len(right) < 0.15


# statistics


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_tell_the_order(kind, device):
    """Of other images than the disguised ones."""
    public, plain = (few_levels(n, n) if kind == "equality" else shapes(n, n)[0] for n in (3000, 2500))
    if kind != "equality":
        public, plain = (each + make_image(*each.shape, seed=len(each)) // 16 for each in (public // 2, plain // 2))
    disguised, order = disguise(kind, plain)
    result = recover_permutation_from_statistics(public.to(device), disguised.to(device), scheme=SCHEMES[kind]())
    assert share(result.guesses, order) > (0.5 if kind == "equality" else 0.85)
    assert result.level is Level.PUBLIC_DATA
    assert result.cost["public"] == 3000
    assert result.cost["disguised"] == 2500
    assert result.cost["assignments"] >= 2
    assert sorted(result.guesses.tolist()) == list(range(16))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_images_reveal_the_order_disguised_or_not(kind):
    """The control: equal statistics leave no doubt but between blocks that are equal."""
    plain = few_levels(900, 1) if kind == "equality" else shapes(900, 1)[0] // 2 + make_image(900, 1, *SIZE) // 2
    given = {"scheme": SCHEMES[kind]()}
    disguised, order = disguise(kind, plain)
    assert share(recover_permutation_from_statistics(plain, disguised, **given).guesses, order) == 1
    same = recover_permutation_from_statistics(plain, plain.float() if kind == "energies" else plain, **given)
    assert share(same.guesses, torch.arange(16)) == 1


@pytest.mark.slow
def test_statistics_of_fresh_noise_give_chance_level():
    public = shapes(300, 0)[0]
    right = []
    for seed in range(20):
        fresh = make_image(300, 1, *SIZE, seed=seed)
        truth = torch.randperm(16, generator=torch.Generator().manual_seed(seed))
        for kind in KINDS:
            guesses = recover_permutation_from_statistics(public, fresh, scheme=SCHEMES[kind]()).guesses
            right.append(share(guesses, truth))
    assert sum(right) / len(right) < 0.15


def test_a_learned_scale_recovers_the_order_under_any_scales():
    public, plain = shapes(2000, 1)[0], shapes(2000, 2)[0]
    public, plain = (each // 2 + make_image(*each.shape, seed=n) // 8 for n, each in enumerate((public, plain)))
    scales = torch.logspace(-1, 1, 16).reshape(4, 4).repeat_interleave(4, 0).repeat_interleave(4, 1)
    right = []
    for _ in range(3):
        disguised, order = disguise("energies", plain)
        results = [
            recover_permutation_from_statistics(public, disguised * scales, scheme=rmt_scheme(matrix=matrix))
            for matrix in ("orthogonal", "uniform")
        ]
        right.append([share(each.guesses, order) for each in results])
    without, learned = torch.tensor(right).mean(0).tolist()
    assert without + 0.2 < learned > 0.8


def match_of(count=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(200, 4, generator=generator)
    features = [
        (base @ torch.randn(4, 2 * count, generator=generator)).reshape(200, count, 2).movedim(1, 0) for _ in range(2)
    ]
    alone = torch.cdist(*(_matching._moments(each) for each in features)).square()
    return _matching._Match(alone, *(_matching._covariances(each) for each in features)), features


def test_covariances_as_with_loops():
    _, (features, _) = match_of()
    found = _matching._covariances(features)
    values = features.double()
    for i, j, a, b in itertools.product(range(3), range(3), range(2), range(2)):
        one, other = (each - each.mean() for each in (values[i, :, a], values[j, :, b]))
        scale = math.sqrt(one.square().mean().sqrt() * other.square().mean().sqrt())
        assert float(found[i, j, a, b]) == pytest.approx(float((one * other).mean()) / scale)


def test_covariances_are_of_few_features(monkeypatch):
    _, (features, _) = match_of()
    monkeypatch.setattr(_matching, "_MOST_COUPLED", 9)
    assert _matching._covariances(features).shape == (9, 9, 1, 1)


def test_the_cost_of_a_block_beside_all_others_as_with_loops():
    match, _ = match_of()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    found = match._together(order)
    for place, block in itertools.product(range(9), repeat=2):
        expected = sum(
            float((match._theirs[place, k] - match._mine[block, block if k == place else order[k]]).square().sum())
            for k in range(9)
        )
        assert float(found[place, block]) == pytest.approx(expected)


def test_turns_exchange_mirrored_blocks():
    rows = torch.arange(12).unflatten(0, (3, 4))
    turns = _matching._turns(rows)
    for turn in turns:
        assert torch.equal(turn[turn], torch.arange(12))  # twice is once too often
    seen = [turn.unflatten(0, (3, 4)) for turn in turns]
    for side in ((0,), (1,), (0, 1)):
        assert any(torch.equal(each, rows.flip(*side)) for each in seen)
    exchanged = [int((turn != torch.arange(12)).sum()) for turn in turns]
    assert exchanged.count(2) >= 6 + 4  # pairs left and right, top and bottom
    assert max(exchanged) == 12
    assert any(torch.equal(each[0], rows[0].flip(0)) and torch.equal(each[1:], rows[1:]) for each in seen)  # a row
    assert any(torch.equal(each[:, 1], rows[:, 1].flip(0)) and torch.equal(each[:, 2:], rows[:, 2:]) for each in seen)


def test_turning_never_fits_worse():
    match, _ = match_of()
    order = torch.arange(9)
    turned = match.turn(order, _matching._turns(order.unflatten(0, (3, 3))))
    assert match.misfit(turned) <= match.misfit(order)


def test_misfits_after_exchanges_as_by_exchanging():
    match, _ = match_of()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(2))
    found = match._if_exchanged(order)
    for one, other in itertools.product(range(9), repeat=2):
        tried = order.clone()
        tried[[one, other]] = order[[other, one]]
        assert float(found[one, other]) == pytest.approx(match.misfit(tried), abs=1e-5)


def test_exchanges_mend_an_order_that_assignments_leave_wrong():
    _, (features, _) = match_of(16)
    alone = torch.zeros(16, 16)  # nothing is known of a block by itself
    match = _matching._Match(alone, *(_matching._covariances(features) for _ in range(2)))
    wrong = torch.arange(16)
    wrong[[3, 8, 11]] = wrong[[8, 11, 3]]
    assert torch.equal(match.exchange(wrong), torch.arange(16))
    assert torch.equal(match.exchange(torch.arange(16)), torch.arange(16))


def test_silhouettes_and_rarities_as_with_loops():
    plain = few_levels(20, 5, 2)
    reading = Reading(aes_scheme((4, 8), unit_pixels=16))
    silhouettes, _ = reading.silhouettes(plain, plain)
    rarities, _ = reading.rarities(plain, plain)
    assert silhouettes.shape == rarities.shape == (8, 20, 4)
    for position, channel in itertools.product(range(8), range(2)):
        blocks = [blocks_with_loops(image, (4, 8))[position][channel].flatten() for image in plain]
        for unit in range(2):
            units = [tuple(block[16 * unit : 16 * unit + 16].tolist()) for block in blocks]
            counts = [units.count(each) for each in units]
            read = silhouettes[position, :, 2 * channel + unit].tolist()
            assert read.count(0) == max(counts)
            assert len({each for each, one in zip(units, read) if not one}) == 1
            expected = [math.log(max(count / 20, 0.1)) for count in counts]
            assert rarities[position, :, 2 * channel + unit].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("attack", [recover_permutation, recover_permutation_from_statistics])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scheme": Scheme("OWSDScramble")}, InputRangeError, "not under OWSDScramble"),
        ({"scheme": permute_scheme((3, 4))}, BlockSizeError, "do not divide"),
        ({"scheme": aes_scheme(unit_pixels=3)}, BlockSizeError, "units of 3"),
        ({"plain": torch.zeros(0, 1, 16, 16)}, InputShapeError, "at least one"),
        ({"plain": torch.zeros(4, 3, 16, 16)}, InputShapeError, "one size"),
        ({"plain": torch.zeros(4, 1, 16, 16, dtype=torch.int64)}, InputTypeError, "int64"),
    ],
)
def test_refuses(attack, change, error, message):
    images = shapes(4, 0)[0]
    given = {"plain": images, "disguised": images, "scheme": permute_scheme(), **change}
    with pytest.raises(error, match=message):
        attack(given.pop("plain"), given.pop("disguised"), **given)


def test_pairs_refuse():
    images = shapes(4, 0)[0]
    with pytest.raises(InputShapeError, match="not 4 and 3"):
        recover_permutation(images, images[:3], scheme=permute_scheme())
    with pytest.raises(InputRangeError, match="at least 2 known pairs, not 1"):
        recover_permutation(images[:1], images[:1], scheme=aes_scheme())


def test_one_image_has_statistics_too():
    images = make_image(1, 1, *SIZE)
    for kind in KINDS:
        result = recover_permutation_from_statistics(images, images, scheme=SCHEMES[kind]())
        assert sorted(result.guesses.tolist()) == list(range(16))
        assert bool(result.margins.isfinite().all())


@pytest.mark.parametrize(("name", "noise"), [("mnist", 0.0), ("mnist", 100.0), ("fashion-mnist", 100.0)])
def test_real_images_tell_the_order(real, name, noise):
    source = data.open_source(f"{name}:{real}")
    public, plain = (torch.stack([source[n].image for n in range(start, start + 1000)]) for start in (0, 1000))
    order = random_order((7, 7), (28, 28))
    disguised = rmt(plain, noise=noise, order=order, block_size=(7, 7))
    result = recover_permutation_from_statistics(public, disguised, scheme=rmt_scheme((7, 7), noise=noise))
    assert share(result.guesses, order.order) > 0.9
