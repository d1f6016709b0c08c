"""What attacks gain where all positions share one secret, beside secrets of their own, on the same images."""

import math
from collections import Counter

import pytest
import torch
from disguised_shapes import BLOCK, CLASSES, SIZE, aes, aes_scheme, random_order, rmt, rmt_scheme, shapes, share
from support import block_slices, make_image

from torchprotect.attacks import (
    codebook_attack,
    duplicate_statistics,
    linkage_attack,
    recover_permutation,
    recover_permutation_from_statistics,
    regression_attack,
    row_energy_attack,
    score_classes,
    silhouette_attack,
)
from torchprotect.attacks.disguise._alignment import aligned
from torchprotect.attacks.disguise._blocks import cut
from torchprotect.attacks.disguise._preserved import Reading, _count_in_image, _occurrences, number_units

OWN_OR_SHARED = (False, True)


def tiles(count, seed, channels=1):
    """Images of few different blocks, some frequent and some rare, that come at any position."""
    generator = torch.Generator().manual_seed(seed)
    patterns = make_image(40, *BLOCK, seed=99)
    frequent = torch.rand(count, channels, 4, 4, generator=generator).square()
    chosen = patterns[(40 * frequent).long()]  # [N, C, rows, columns, h, w]
    return chosen.movedim(-2, -3).reshape(count, channels, *SIZE)


def textured(count, seed, channels=1):
    """Bars on a dim texture: rows in every direction at every position."""
    bars, labels = shapes(count, seed, channels)
    return bars // 2 + make_image(*bars.shape, seed=1000 + seed) // 4, labels


def rmse(images, truth):
    return float((images.double() - truth.double()).square().mean().sqrt())


# AES


def units_of(images):
    """Yield image, channel, position and bytes of each unit of 16 pixels."""
    for n, image in enumerate(images):
        for channel, plane in enumerate(image):
            for position, place in enumerate(block_slices(SIZE, BLOCK)):
                yield n, channel, position, tuple(plane[place].flatten().tolist())


@pytest.mark.parametrize("channels", [None, 2])
def test_units_are_numbered_over_all_positions(channels):
    images = tiles(30, 0, 2)
    numbers = number_units(images, aes_scheme(shared=True, channels=channels))
    names = {}
    for n, channel, position, unit in units_of(images):
        group = 0 if channels is None else channel
        assert (
            names.setdefault((group, unit), int(numbers[position, channel, 0, n])) == numbers[position, channel, 0, n]
        )
    assert len(set(names.values())) == len(names) == int(numbers.max()) + 1


@pytest.mark.parametrize("channels", [None, 2])
def test_duplicates_as_with_counters(channels):
    images = torch.cat([tiles(20, 1, 2), make_image(20, 2, *SIZE)])
    counts = Counter((channels and channel, unit) for _, channel, _, unit in units_of(images))
    seen = [[] for _ in range(16)]
    for _, channel, position, unit in units_of(images):
        seen[position].append(counts[channels and channel, unit] > 1)
    most = [
        max(n for (group, _), n in counts.items() if group == each) for each in ([None] if not channels else [0, 1])
    ]
    disguised = aes(images, shared=True, channels=channels)
    result = duplicate_statistics(disguised, scheme=aes_scheme(shared=True, channels=channels))
    assert result.unit_share_by_position.tolist() == pytest.approx([sum(each) / len(each) for each in seen])
    assert result.background_share == pytest.approx(sum(most) / (40 * 2 * 16))
    own = duplicate_statistics(aes(images, channels=channels), scheme=aes_scheme(channels=channels))
    assert result.unit_share > own.unit_share


def test_a_code_word_is_read_at_another_position():
    plain, target = (tiles(count, seed) for count, seed in ((1, 2), (100, 3)))
    hits = {}
    for shared in OWN_OR_SHARED:
        order = random_order()
        seed = torch.Generator().manual_seed(0)
        disguised = aes(torch.cat([plain, target]), shared=shared, order=order)
        result = codebook_attack(
            disguised=disguised[:1],
            plain=plain,
            target=disguised[1:],
            scheme=aes_scheme(shared=shared, permuted=True),
            order=order.order,
            generator=seed,
        )
        assert torch.equal(result.images[result.known], target[result.known])
        hits[shared] = result.hit_rate
    assert hits[False] < 0.25
    assert hits[True] > 2 * hits[False]


def test_how_often_a_unit_comes_in_an_image_as_with_counters():
    images = tiles(25, 4, 2)
    numbers = number_units(images, aes_scheme(shared=True))
    counts = Counter((n, unit) for n, _, _, unit in units_of(images))
    read = _count_in_image(numbers)
    for n, channel, position, unit in units_of(images):
        assert int(read[position, channel, 0, n]) == counts[n, unit]
    first, second = Reading(aes_scheme(shared=True)).repeats(images, aes(images, shared=True))
    assert torch.equal(first, second)  # the cipher changes neither number
    total = Counter(unit for *_, unit in units_of(images))
    for n, channel, position, unit in units_of(images):
        wanted = [math.log(max(total[unit], 2) / 800), math.log(counts[n, unit])]
        assert first[position, n, [channel, 2 + channel]].tolist() == pytest.approx(wanted, abs=1e-5)


def test_units_of_equal_occurrences_have_equal_numbers():
    images = tiles(12, 5)
    occurrences = _occurrences(number_units(images, aes_scheme(shared=True)))
    where = {}
    for n, _, _, unit in units_of(images):
        where.setdefault(unit, Counter())[n] += 1
    names = {}
    for n, channel, position, unit in units_of(images):
        key = frozenset(where[unit].items())
        assert names.setdefault(key, int(occurrences[position, channel, 0, n])) == occurrences[position, channel, 0, n]
    assert len(set(names.values())) == len(names) > 10


@pytest.mark.parametrize("pairs", [2, 6])
def test_pairs_tell_the_order_sooner_under_one_key(pairs):
    right = {shared: [] for shared in OWN_OR_SHARED}
    for seed in range(5):
        plain = tiles(pairs, 10 + seed)
        for shared in OWN_OR_SHARED:
            order = random_order()
            disguised = aes(plain, shared=shared, order=order)
            result = recover_permutation(plain, disguised, scheme=aes_scheme(shared=shared, permuted=True))
            right[shared].append(share(result.guesses, order.order))
    own, shared = (sum(right[each]) / 5 for each in OWN_OR_SHARED)
    assert shared > own + 0.3


def test_public_images_tell_the_order_under_one_key():
    """Where no unit is the background of its position, silhouettes say little, but units are rare or frequent."""
    generator = torch.Generator().manual_seed(0)
    patterns, ranges = make_image(60, *BLOCK, seed=99), 4 * torch.randperm(16, generator=generator)

    def drawn(count, seed):
        chosen = torch.rand(count, 16, generator=torch.Generator().manual_seed(seed)) * ranges
        return patterns[chosen.long()].unflatten(1, (1, 4, 4)).movedim(-2, -3).reshape(count, 1, *SIZE)

    right = {}
    for shared in OWN_OR_SHARED:
        order = random_order()
        disguised = aes(drawn(1500, 2), shared=shared, order=order)
        scheme = aes_scheme(shared=shared, permuted=True)
        right[shared] = share(
            recover_permutation_from_statistics(drawn(1500, 1), disguised, scheme=scheme).guesses, order.order
        )
    assert right[True] > right[False]
    assert right[True] > 0.6


def test_known_images_are_found_by_units_that_come_anywhere():
    plain, public = tiles(300, 6), tiles(300, 7)
    found = {}
    for shared in OWN_OR_SHARED:
        places = torch.randperm(300, generator=torch.Generator().manual_seed(1))
        disguised = aes(plain[places], shared=shared, order=random_order())
        known = torch.cat([plain[:50], public])
        links = linkage_attack(known, disguised, scheme=aes_scheme(shared=shared, permuted=True), k=1)
        found[shared] = share(links.guesses[:50, 0], places.argsort()[:50])
    assert found[True] > found[False]
    assert found[True] > 0.7


def test_rarity_reveals_classes():
    """Classes with the same silhouette: the foreground is drawn from frequent patterns, or from rare ones."""

    def drawn(count, seed):
        draws = torch.Generator().manual_seed(seed)
        labels = torch.randint(2, (count,), generator=draws)
        images = torch.full((count, 1, *SIZE), 255, dtype=torch.uint8)
        patterns, chosen = make_image(400, *BLOCK, seed=99), torch.randint(10, (count, 4), generator=draws)
        chosen[labels == 1] = torch.randint(10, 400, (int(labels.sum()), 4), generator=draws)
        for n, (place, row) in enumerate(zip(torch.randint(13, (count,), generator=draws).tolist(), chosen)):
            for k, pattern in enumerate(row):
                rows, columns = block_slices(SIZE, BLOCK)[place + k]
                images[n, 0, rows, columns] = patterns[pattern]
        return images, labels

    (public, labels), (plain, truth) = drawn(500, 1), drawn(500, 2)
    right = {}
    for shared in OWN_OR_SHARED:
        disguised = aes(plain, shared=shared)
        result = silhouette_attack(public, labels, disguised, classes=2, scheme=aes_scheme(shared=shared))
        right[shared] = score_classes(result, truth).accuracy
    assert right[False] < 0.65
    assert right[True] > 0.9


# RMT


@pytest.mark.parametrize("matrix", ["orthogonal", "gaussian"])
def test_one_pair_gives_a_shared_matrix_away(matrix):
    plain, target = textured(1, 1)[0], textured(50, 2)[0]
    plain[:, :, :4] = 0  # the upper blocks of the pair tell nothing
    errors = {}
    for shared in OWN_OR_SHARED:
        disguised = rmt(torch.cat([plain, target]), shared=shared, matrix=matrix)
        scheme = rmt_scheme(shared=shared, matrix=matrix)
        result = regression_attack(plain, disguised[:1], disguised[1:], scheme=scheme)
        errors[shared] = rmse(result.images, target)
        assert len(result.rank) == (1 if shared else 16)
        assert result.cost["solutions"] == 16
    assert errors[True] < 0.1
    assert errors[False] > 10


@pytest.mark.parametrize("channels", [None, 2])
@pytest.mark.parametrize("side", ["right", "left"])
def test_under_noise_a_position_still_counts_its_own_rows_more(channels, side):
    """With one pair all positions help each other; with many, none is worse off for it."""
    plain, target = textured(300, 3, 2)[0], textured(100, 4, 2)[0]
    plain[:, :, :4], target[:, :, :4] = 20, 20  # blocks that always look alike
    errors = {}
    for shared in OWN_OR_SHARED:
        options = {"shared": shared, "channels": channels, "side": side}
        disguised = rmt(torch.cat([plain, target]), noise=60, **options)
        scheme = rmt_scheme(noise=60.0, **options)
        for pairs in (1, 300):
            result = regression_attack(plain[:pairs], disguised[:pairs], disguised[300:], scheme=scheme)
            errors[shared, pairs] = rmse(result.images, target)
    assert errors[True, 1] < 0.7 * errors[False, 1]
    assert errors[True, 300] < 1.02 * errors[False, 300]
    pooled = regression_attack(plain, disguised[:300], disguised[300:], scheme=scheme, solve_for="matrix")
    assert errors[True, 300] < rmse(pooled.images, target)


@pytest.mark.parametrize(("matrix", "noise"), [("orthogonal", 110.0), ("uniform", 90.0)])
@pytest.mark.parametrize("channels", [None, 2])
def test_noisy_pairs_tell_the_order_sooner_under_one_matrix(matrix, noise, channels):
    right = {shared: [] for shared in OWN_OR_SHARED}
    for seed in range(4):
        plain = make_image(2, 2, *SIZE, seed=seed) // 4
        for shared in OWN_OR_SHARED:
            order, options = random_order(), {"shared": shared, "matrix": matrix, "channels": channels}
            disguised = rmt(plain, noise=noise, seed=seed, order=order, **options)
            result = recover_permutation(plain, disguised, scheme=rmt_scheme(noise=noise, permuted=True, **options))
            right[shared].append(share(result.guesses, order.order))
            assert result.cost["assignments"] > 1 if shared else result.cost["assignments"] == 1
    own, shared = (sum(right[each]) / 4 for each in OWN_OR_SHARED)
    assert shared > own
    assert shared > 0.8


def test_a_shared_scale_keeps_relative_brightness():
    levels = torch.linspace(0.2, 1, 16)[torch.randperm(16, generator=torch.Generator().manual_seed(0))]
    levels = levels.reshape(4, 4).repeat_interleave(4, 0).repeat_interleave(4, 1)
    public, plain = (make_image(400, 1, *SIZE, seed=seed).float().mul(levels).to(torch.uint8) for seed in (1, 2))
    right = {}
    for shared in OWN_OR_SHARED:
        order, options = random_order(), {"shared": shared, "matrix": "gaussian"}
        disguised = rmt(plain, order=order, **options)
        result = recover_permutation_from_statistics(public, disguised, scheme=rmt_scheme(permuted=True, **options))
        right[shared] = share(result.guesses, order.order)
    assert right[True] > 0.9
    assert right[False] < 0.5


@pytest.mark.parametrize("matrix", ["orthogonal", "gaussian"])
@pytest.mark.parametrize(("channels", "side"), [(None, "right"), (2, "right"), (None, "left")])
def test_public_images_give_a_shared_matrix_away(matrix, channels, side):
    public, plain = shapes(3000, 1, 2)[0], shapes(3000, 2, 2)[0]
    options = {"shared": True, "matrix": matrix, "channels": channels, "side": side}
    reading = Reading(rmt_scheme(**options))
    mine, theirs = reading.lines(public, rmt(plain, **options))
    truth = reading.lines(plain, plain.float())[0]
    back = aligned(mine, theirs, reading.scheme)
    assert back.shape == truth.shape
    assert rmse(back, truth) < 0.2 * rmse(truth.mean(1, keepdim=True).expand_as(truth), truth)


def test_long_lines_are_aligned_too():
    """By their means, and then their covariances: the equations for both at once would be too many."""
    size, block = (48, 48), (4, 48)
    public, plain = (
        torch.nn.functional.interpolate(shapes(1500, seed)[0].float(), size, mode="bilinear").to(torch.uint8)
        for seed in (1, 2)
    )
    reading = Reading(rmt_scheme(block, shared=True))
    mine, theirs = reading.lines(public, rmt(plain, block_size=block, shared=True))
    truth = cut(plain.float(), block)
    assert rmse(aligned(mine, theirs, reading.scheme), truth) < rmse(
        truth.mean(1, keepdim=True).expand_as(truth), truth
    )


@pytest.mark.parametrize("noise", [0.0, 60.0])
def test_rows_reveal_classes_under_a_shared_matrix(noise):
    """Classes that differ in the direction of rows, not in their norms."""

    shades = 0.4 * torch.rand(SIZE, generator=torch.Generator().manual_seed(0))

    def drawn(count, seed):
        labels = torch.randint(CLASSES, (count,), generator=torch.Generator().manual_seed(seed))
        images = (make_image(count, 1, *SIZE, seed=seed) * shades).to(torch.uint8)
        for image, label in zip(images, labels.tolist()):
            image[:, :, label::4] += 12
        return images, labels

    (public, labels), (plain, truth) = drawn(1000, 1), drawn(1000, 2)
    right = {}
    for shared in OWN_OR_SHARED:
        disguised = rmt(plain, noise=noise, shared=shared)
        scheme = rmt_scheme(noise=noise, shared=shared)
        result = row_energy_attack(public, labels, disguised, classes=CLASSES, scheme=scheme)
        right[shared] = score_classes(result, truth).accuracy
    assert right[True] > right[False] + 0.1
