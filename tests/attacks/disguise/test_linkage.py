import itertools
import json
import math

import pytest
import torch
from disguised_shapes import (
    BLOCK,
    CLASSES,
    SCHEMES,
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

from torchprotect import data, functional, keys, transforms
from torchprotect.attacks import Level, Scheme, linkage_attack, neighbours, row_energy_attack, score_linkage
from torchprotect.attacks.disguise._assignment import assign, margins
from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.attacks.disguise._products import noise_energy, products, shared_coordinates
from torchprotect.attacks.neighbours import nearest
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError, InputTypeError


def mixed(count, seed=0, channels=1):
    """Images, their disguised order, and where each of them lies in it."""
    images = shapes(count, seed, channels)[0]
    places = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return images, images[places], places.argsort()


# what is compared


def test_nearest_equals_sorting_all_distances(device):
    queries, candidates = make_image(30, 7, seed=1).float(), make_image(50, 7, seed=2).float() + 1000
    indices, distances = nearest(queries.to(device), candidates.to(device), 4)
    for query, index, distance in zip(queries, indices.cpu().tolist(), distances.cpu().tolist()):
        expected = sorted((math.dist(query.tolist(), each.tolist()), n) for n, each in enumerate(candidates))[:4]
        assert index == [n for _, n in expected]
        assert distance == pytest.approx([far for far, _ in expected], rel=1e-5)


def test_nearest_is_the_same_in_parts(monkeypatch):
    queries, candidates = (make_image(40, 9, seed=seed).float() for seed in (1, 2))
    whole = nearest(queries, candidates, 3)
    monkeypatch.setattr("torchprotect.attacks.neighbours._NUMBERS_AT_ONCE", 200)
    for one, other in zip(whole, nearest(queries, candidates, 3)):
        torch.testing.assert_close(one, other)
    assert nearest(candidates, candidates, 1)[1].eq(0).all()  # no rounding: equal is at distance 0


def test_assignment_is_the_best_of_all_orders():
    costs = make_image(5, 5, seed=3).float()
    best = min(itertools.permutations(range(5)), key=lambda order: sum(costs[n, m] for n, m in enumerate(order)))
    order = assign(costs)
    assert order.tolist() == list(best)
    for place, (block, margin) in enumerate(zip(best, margins(costs, order).tolist())):
        assert margin == min(costs[place, other] for other in range(5) if other != block) - costs[place, block]
    assert margins(torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64)).tolist() == [math.inf]


@pytest.mark.parametrize("side", ["right", "left"])
def test_products_are_those_of_rows(side):
    images = make_image(2, 3, 8, 8)
    plain, _ = Reading(rmt_scheme((4, 2), side=side)).lines(images, images)
    read = products(plain)
    for n, image in enumerate(images):
        for position, block in enumerate(blocks_with_loops(image, (4, 2))):
            expected = []
            for plane in block:
                lines = plane if side == "right" else plane.T
                for i, j in itertools.combinations_with_replacement(range(len(lines)), 2):
                    expected.append(float(lines[i] @ lines[j]) * (1 if i == j else math.sqrt(2)))
            assert read[position, n].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("learned", [False, True])
def test_the_mean_of_the_noise_is_counted_in(learned):
    """Products of many noisy versions of one image have the mean that is expected of it."""
    noise, plain = 80.0, make_image(1, 1, 4, 8, seed=4)
    draws = torch.rand(40000, 1, 4, 8, generator=torch.Generator().manual_seed(0))
    reading = Reading(rmt_scheme(noise=noise))
    lines, seen = reading.lines(plain, plain + noise * draws)
    turn = torch.tensor([[2.0, 1, 0, 0], [0, 3, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]) if learned else torch.eye(4)
    variance = (noise**2 / 12 * turn.square().sum()).expand(2, 1)
    expected = products(lines @ turn) + noise_energy(lines, variance)
    torch.testing.assert_close(products(seen @ turn).mean(1), expected[:, 0], rtol=5e-3, atol=100)
    wide, norms = reading.norms(plain, plain + noise * draws)
    torch.testing.assert_close(norms.square().mean(1), wide[:, 0].square(), rtol=5e-3, atol=0)


@pytest.mark.parametrize("matrix", ["orthogonal", "uniform", "gaussian"])
def test_no_matrix_changes_products_in_shared_coordinates(matrix):
    images = (make_image(300, 2, 16, 16).float() / 2 + shapes(300, 0, 2)[0] / 2).to(torch.uint8)  # of full rank
    expected, found = (
        products(each.double() @ shared_coordinates(each)[:, None])
        for each in Reading(rmt_scheme()).lines(images, rmt(images, matrix=matrix))
    )
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2 * float(expected.std()))
    if matrix == "orthogonal":
        plain, seen = (products(each) for each in Reading(rmt_scheme()).lines(images, rmt(images)))
        torch.testing.assert_close(seen, plain, rtol=1e-3, atol=1)


def test_directions_with_only_noise_are_left_out():
    """However strong it is: neighbouring lines do not share it."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(1, 5000, 1, 1, 1, generator=generator).expand(-1, -1, -1, 4, -1)
    alone = 100 * torch.randn(1, 5000, 1, 4, 1, generator=generator)
    lines = torch.cat([shared, alone], -1)
    turn = shared_coordinates(lines)[0, 0].float()
    assert (lines[..., :1] @ turn[:1]).square().sum(-1).mean() == pytest.approx(1, rel=0.1)
    assert (lines[..., 1:] @ turn[1:]).square().sum(-1).mean() < 0.01


def test_single_lines_are_whitened():
    lines = torch.randn(2, 900, 1, 1, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 10, 100])
    turned = (lines.double() @ shared_coordinates(lines)[:, None]).flatten(1, 3)
    torch.testing.assert_close(turned.mT @ turned / 900, torch.eye(3).double().expand(2, 3, 3))


# the attack


def attack_with_loops(known, disguised):
    """Sort each pixel of the blocks over the image, compare all with all."""

    def read(image):
        return torch.stack([block.flatten() for block in blocks_with_loops(image)]).sort(0).values.flatten()

    far = [[math.dist(read(one).tolist(), read(other).tolist()) for other in disguised] for one in known]
    return torch.tensor(far).sort(1)


def test_values_as_with_loops(device):
    known, shuffled, _ = mixed(12)
    disguised = functional.block_permute(shuffled, random_order())
    expected = attack_with_loops(known, disguised)
    given = {"scheme": permute_scheme(), "rounds": 0, "k": 12}
    result = linkage_attack(known.to(device), disguised.to(device), **given)
    torch.testing.assert_close(result.distances.cpu(), expected.values.float(), rtol=1e-4, atol=1e-2)
    assert torch.equal(result.guesses[:, 0].cpu(), expected.indices[:, 0])
    assert torch.equal(result.guesses.sort(1).values.cpu(), torch.arange(12).expand(12, -1))
    single = linkage_attack(known[5:6], disguised, **given)
    torch.testing.assert_close(single.distances, result.distances[5:6].cpu())


def test_values_are_found_at_distance_0():
    known, shuffled, truth = mixed(200, channels=3)
    disguised = functional.block_permute(shuffled, random_order())
    result = linkage_attack(known, disguised, scheme=permute_scheme(), k=3)
    assert share(result.guesses[:, 0], truth) == 1
    assert result.distances[:, 0].eq(0).all()
    assert result.level is Level.PUBLIC_DATA
    assert result.cost == {"known": 200, "candidates": 200, "features": 3 * 16 * 16, "comparisons": 3 * 200 * 200}
    assert json.loads(result.to_json())["guesses"] == result.guesses.tolist()


@pytest.mark.parametrize("matrix", ["orthogonal", "uniform", "gaussian"])
@pytest.mark.parametrize(("side", "channels", "noise"), [("right", None, 0), ("left", 3, 0), ("right", 3, 40)])
def test_products_with_any_matrix_link(matrix, side, channels, noise, device):
    known, shuffled, truth = mixed(400, channels=channels or 1)
    disguised = rmt(shuffled, noise=noise, order=random_order(), matrix=matrix, side=side, channels=channels)
    scheme = rmt_scheme(side=side, noise=noise, matrix=matrix, channels=channels, permuted=True)
    result = linkage_attack(known.to(device), disguised.to(device), scheme=scheme)
    assert result.guesses.device.type == device.type
    score = score_linkage(result, truth, k=1)
    assert score.shares[0] > (0.97 if noise else 0.99)
    assert score.chance[0] == 1 / 400


def test_the_order_learned_from_links_helps():
    known, shuffled, truth = mixed(400)
    disguised = rmt(shuffled, noise=150, order=random_order())
    scheme = rmt_scheme(noise=150, permuted=True)
    shares = [share(linkage_attack(known, disguised, scheme=scheme, rounds=n).guesses[:, 0], truth) for n in (0, 1)]
    assert shares[0] + 0.03 < shares[1]


def test_few_known_images_teach_the_order(monkeypatch):
    known, shuffled, truth = mixed(400)
    disguised = rmt(shuffled, noise=150, order=random_order())
    monkeypatch.setattr("torchprotect.attacks.disguise.linkage._MOST_LEARNERS", 300)
    scheme = rmt_scheme(noise=150, permuted=True)
    result = linkage_attack(known, disguised, scheme=scheme, rounds=1)
    assert result.cost["comparisons"] == 400 * (400 + 200)  # every second one
    unlearned = linkage_attack(known, disguised, scheme=scheme, rounds=0)
    assert share(result.guesses[:, 0], truth) > share(unlearned.guesses[:, 0], truth)


def test_the_mean_of_the_noise_helps():
    known, shuffled, truth = mixed(400)
    disguised = rmt(shuffled, noise=150, order=random_order())
    shares = [
        share(linkage_attack(known, disguised, scheme=rmt_scheme(noise=n, permuted=True)).guesses[:, 0], truth)
        for n in (0, 150)
    ]
    assert shares[0] + 0.03 < shares[1]


def test_floats_and_grey_levels_are_the_same():
    known, shuffled, truth = mixed(100)
    for noise in (0.0, 30.0):
        whole = rmt(shuffled, noise=noise, order=random_order())
        scheme = rmt_scheme(noise=noise, permuted=True)
        one = linkage_attack(known, whole, scheme=scheme, k=1)
        other = linkage_attack(known / 255, whole / 255, scheme=scheme, k=1)
        assert torch.equal(one.guesses, other.guesses)
        torch.testing.assert_close(one.distances, other.distances, rtol=1e-3, atol=5)
        assert share(one.guesses[:, 0], truth) > 0.95


def test_members_are_found_among_strangers():
    """Few of the known images are in the set; the links of the others lead nowhere."""
    inside, shuffled, truth = mixed(40)
    others, strangers = shapes(360, 1)[0], shapes(360, 2)[0]
    disguised = rmt(torch.cat([shuffled, others]), order=random_order(), noise=20)
    known = torch.cat([inside, strangers])
    result = linkage_attack(known, disguised, scheme=rmt_scheme(noise=20, permuted=True), k=1)
    assert share(result.guesses[:40, 0], truth) > 0.97
    distances = result.distances[:, 0]
    assert distances[:40].median() < distances[40:].median() / 2


def test_progress_counts_known_images(monkeypatch):
    images, steps = make_image(9, 1, 8, 12), []
    monkeypatch.setattr(neighbours, "_NUMBERS_AT_ONCE", 4 * 9 * images[0].numel())
    linkage_attack(images, images, scheme=permute_scheme(), k=9, progress=lambda *step: steps.append(step))
    assert steps == [(4, 9), (8, 9), (9, 9)]


def test_equal_units_link():
    """Few grey levels, so that units repeat; the keys of each position are different."""
    images = make_image(300, 1, 4, 4, seed=1) % 3 * 100
    images = images.repeat_interleave(4, 2).repeat_interleave(4, 3)
    images[:, :, :4, :4] //= 200  # a place where most are background
    places = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    disguised = aes(images[places], order=random_order())
    scheme = aes_scheme(permuted=True)
    result = linkage_attack(images, disguised, scheme=scheme, k=1)
    plain = linkage_attack(images, images[places], scheme=scheme, k=1)
    assert torch.equal(result.guesses, plain.guesses)  # nothing is lost by the cipher
    assert share(result.guesses[:, 0], places.argsort()) > 0.5
    assert result.distances.eq(0).all()


def test_controls():
    """As they are, images are found; in fresh noise they are not."""
    known, shuffled, truth = mixed(300)
    fresh = torch.rand(300, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for preserved, scheme_of in SCHEMES.items():
        options = {"scheme": scheme_of(), "k": 1}
        noise = (255 * fresh).to(torch.uint8) if preserved == "equality" else 255 * fresh
        found = score_linkage(linkage_attack(known, noise, **options), truth, k=1)
        assert found.low[0] <= found.chance[0] <= found.high[0]
        if preserved != "equality":
            scale = shuffled.float()
            assert share(linkage_attack(known, scale, **options).guesses[:, 0], truth) == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k": 0}, InputRangeError, "k must be"),
        ({"k": 6}, InputRangeError, "k must be"),
        ({"rounds": -1}, InputRangeError, "rounds"),
        ({"scheme": rmt_scheme((5, 4))}, BlockSizeError, "do not divide"),
        ({"scheme": aes_scheme(unit_pixels=5)}, BlockSizeError, "units of 5"),
        ({"scheme": Scheme("AdversarialEncrypt")}, InputRangeError, "not under AdversarialEncrypt"),
        ({"known": torch.zeros(0, 1, 16, 16)}, InputShapeError, "at least one"),
        ({"known": torch.zeros(5, 1, 16, 12)}, InputShapeError, "one size"),
        ({"known": torch.zeros(5, 1, 16, 16, dtype=torch.int32)}, InputTypeError, "int32"),
        ({"disguised": torch.full((5, 1, 16, 16), torch.nan)}, InputRangeError, "NaN"),
    ],
)
def test_linkage_refuses(change, error, message):
    images = shapes(5, 0)[0]
    given = {"known": images, "disguised": images.float(), "scheme": rmt_scheme(), "k": 1, **change}
    with pytest.raises(error, match=message):
        linkage_attack(given.pop("known"), given.pop("disguised"), **given)


def bulk(source, count):
    return torch.stack([source[n].image for n in range(count)])


@pytest.mark.parametrize(("matrix", "least"), [("orthogonal", 0.99), ("gaussian", 0.95)])
def test_fashion_mnist_is_linked_through_noise(real, matrix, least):
    images = bulk(data.open_source(f"fashion-mnist:{real}"), 1000)
    disguised = rmt(images, noise=100, order=random_order((7, 7), (28, 28)), matrix=matrix, block_size=(7, 7))
    scheme = rmt_scheme((7, 7), noise=100, matrix=matrix, permuted=True)
    result = linkage_attack(images, disguised, scheme=scheme, k=1)
    assert share(result.guesses[:, 0], torch.arange(1000)) > least


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
@pytest.mark.parametrize(
    ("of_key", "noise"),
    [
        ({}, 0),
        ({"side": "left"}, 0),
        ({"matrix": "gaussian"}, 0),
        ({}, 50),
        ({"matrix": "gaussian", "side": "left"}, 50),
    ],
    ids=str,
)
def test_linkage_told_only_the_scheme_on_real_images_under_rmt(real, name, of_key, noise):
    images, size = real_images(real, name)
    places = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    key = keys.RMTKey.generate(image_size=size, block_size=BLOCK, **of_key)
    disguise = transforms.RMTDisguise(key, permutation=random_order(BLOCK, size), noise=noise)
    result = linkage_attack(images, disguise(images[places]), scheme=Scheme.of(disguise.describe()), k=1)
    assert share(result.guesses[:, 0], places.argsort()) >= 0.95


@pytest.mark.parametrize(
    ("name", "low", "high"), [("mnist", 0.9, 1), ("fashion-mnist", 0.5, 0.65), ("cifar10", 0.02, 0.1)]
)
def test_linkage_told_only_the_scheme_on_real_images_under_aes(real, name, low, high):
    images, size = real_images(real, name)
    places = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    key = keys.AESKey.generate(image_size=size, block_size=BLOCK)
    disguise = transforms.AESECBDisguise(key, permutation=random_order(BLOCK, size))
    result = linkage_attack(images, disguise(images[places]), scheme=Scheme.of(disguise.describe()), k=1)
    assert low <= share(result.guesses[:, 0], places.argsort()) <= high


def real_images(root, name):
    """Return 400 images and their size."""
    shards = str(root / "cifar10" / "test-000000.tar.gz")
    images = bulk(data.open_source(shards if name == "cifar10" else f"{name}:{root}"), 400)
    return images, (images.shape[-2], images.shape[-1])


@pytest.mark.parametrize("plain_white", [1, 255])
@pytest.mark.parametrize("white", [1, 255])
@pytest.mark.parametrize("name", ["RMTDisguise", "BlockPermute"])
def test_the_scale_of_disguised_images_is_deduced(name, white, plain_white):
    """Plain images in one scale, disguised ones in the other: attacks find what they find in one scale."""
    images, labels = shapes(200, 1)
    rolled = images[torch.arange(200).roll(7)]
    released = rmt(rolled) if name == "RMTDisguise" else rolled.float()
    known, disguised = images if plain_white == 255 else images / 255, released * (white / 255)
    scheme = Scheme(name, block_size=BLOCK)
    found = linkage_attack(known, disguised, scheme=scheme, k=1).guesses[:, 0]
    assert share(found, (torch.arange(200) + 7) % 200) > 0.95
    if name == "RMTDisguise":
        guessed = row_energy_attack(known, labels, disguised, classes=CLASSES, scheme=scheme).guesses
        assert share(guessed, labels.roll(7)) > 0.8
