import itertools
import json
import math

import numpy as np
import pytest
import torch
from disguised_shapes import permute_scheme
from support import make_image, permute_with_loops

from torchprotect import data, functional, keys
from torchprotect.attacks import Level, jigsaw_attack, score_permutation
from torchprotect.attacks.disguise import jigsaw
from torchprotect.attacks.disguise._puzzle import solve
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError

SIZE, BLOCK = (24, 32), (4, 8)


def smooth(count, size=SIZE, channels=1, seed=0):
    """Noise, blurred: edges that touch are alike."""
    noise = torch.rand(count, channels, size[0] + 12, size[1] + 12, generator=torch.Generator().manual_seed(seed))
    for _ in range(3):
        noise = torch.nn.functional.avg_pool2d(noise, 5, 1)
    low, high = noise.aminmax()
    return ((noise - low) / (high - low) * 255).byte()


def permuted(images, block=BLOCK, seed=0):
    positions = (images.shape[-2] // block[0]) * (images.shape[-1] // block[1])
    order = torch.randperm(positions, generator=torch.Generator().manual_seed(seed))
    return permute_with_loops(images, order, block), order


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("block", [(4, 8), (8, 4), (6, 8), (24, 8), (4, 32), (12, 16)])
def test_smooth_images_are_put_back(channels, block, device):
    images = smooth(40, channels=channels)
    disguised, order = permuted(images, block)
    result = jigsaw_attack(disguised.to(device), scheme=permute_scheme(block))
    assert torch.equal(result.guesses.cpu(), order)
    assert torch.equal(result.images.cpu(), images)
    assert bool((result.margins > 0).all())
    assert result.level is Level.CIPHERTEXT_ONLY
    assert (result.guesses.device.type, result.images.device.type) == (device.type, device.type)
    assert score_permutation(result, order.to(device)).accuracy == 1
    count = len(order)
    assert result.cost == {"images": 40, "pairs": 2 * count * (count - 1), "starts": count}
    assert set(json.loads(result.to_json())) == {"level", "cost", "guesses", "margins"}


def test_blocks_permuted_by_a_key():
    key, images = keys.PermutationKey.generate(image_size=SIZE, block_size=BLOCK), smooth(40)
    result = jigsaw_attack(functional.block_permute(images, key), scheme=permute_scheme(BLOCK))
    assert torch.equal(result.guesses, key.order)


@pytest.mark.slow
def test_every_image_is_evidence():
    images = smooth(60)
    disguised, order = permuted(images, (4, 2))
    rights = [
        score_permutation(jigsaw_attack(disguised[:count], scheme=permute_scheme((4, 2))), order).accuracy
        for count in (1, 60)
    ]
    assert rights[0] < 0.5
    assert rights[1] > 0.95


def test_scale_type_and_repetition_make_no_difference(monkeypatch):
    disguised, _ = permuted(smooth(10))
    result = jigsaw_attack(disguised, scheme=permute_scheme(BLOCK))
    for same in (disguised / 255, disguised.double() * -3 + 7, disguised.int(), torch.cat([disguised, disguised])):
        other = jigsaw_attack(same, scheme=permute_scheme(BLOCK))
        assert torch.equal(other.guesses, result.guesses)
        assert other.images.dtype == same.dtype
        torch.testing.assert_close(other.margins, result.margins)
    monkeypatch.setattr(jigsaw, "_PAIRS_AT_ONCE", 2000)
    torch.testing.assert_close(jigsaw_attack(disguised, scheme=permute_scheme(BLOCK)).margins, result.margins)


def test_blocks_one_pixel_wide():
    images = smooth(200, (4, 16))
    disguised, order = permuted(images, (4, 1))
    found = jigsaw_attack(disguised, scheme=permute_scheme((4, 1))).guesses
    assert torch.equal(found, order) or torch.equal(found, 15 - order)  # such blocks cannot tell left from right


def evidence_with_loops(images, block):
    """Edges drawn on by half a pixel, ranked both ways."""
    height, width = block
    cells = [(y, x) for y in range(0, images.shape[-2], height) for x in range(0, images.shape[-1], width)]
    count = len(cells)
    totals = np.zeros((2, count, count))
    for image in images.double():
        cuts = [image[:, y : y + height, x : x + width] for y, x in cells]
        for direction in (0, 1):
            ends, begins = [], []
            for piece in cuts:
                turned = piece if direction == 0 else piece.mT
                ends.append(turned[..., -1] + (turned[..., -1] - turned[..., -2]) / 2)
                begins.append(turned[..., 0] + (turned[..., 0] - turned[..., 1]) / 2)
            far = [[float((end - begin).square().sum()) for begin in begins] for end in ends]
            for a, b in itertools.permutations(range(count), 2):
                row = sum(far[a][c] <= far[a][b] for c in range(count) if c != a)
                column = sum(far[c][b] <= far[a][b] for c in range(count) if c != b)
                totals[direction, a, b] += (math.log(row / (count - 1)) + math.log(column / (count - 1))) / 2
    return totals / len(images)


@pytest.mark.parametrize("block", [(4, 8), (8, 4)])
def test_evidence_equals_a_reference_with_loops(block):
    images = torch.cat([smooth(2, channels=2), make_image(2, 2, *SIZE) % 2])  # the last ones have ties
    expected = evidence_with_loops(images, block)
    for found, wanted in zip(jigsaw._evidence(images, block), expected):
        off = ~np.eye(len(found), dtype=bool)
        np.testing.assert_allclose(found[off], wanted[off], atol=1e-9)
        assert bool((np.diagonal(found) > found[off].max()).all())


def test_margins_compare_with_the_best_other_block():
    disguised, _ = permuted(smooth(5))
    result = jigsaw_attack(disguised, scheme=permute_scheme(BLOCK))
    right, below = jigsaw._evidence(disguised, BLOCK)
    grid = result.guesses.argsort().reshape(6, 4).tolist()
    for y, x in itertools.product(range(6), range(4)):
        costs = [0.0] * 24
        for block in range(24):
            costs[block] += right[grid[y][x - 1], block] if x else 0
            costs[block] += right[block, grid[y][x + 1]] if x < 3 else 0
            costs[block] += below[grid[y - 1][x], block] if y else 0
            costs[block] += below[block, grid[y + 1][x]] if y < 5 else 0
        own = costs.pop(grid[y][x])
        assert float(result.margins[grid[y][x]]) == pytest.approx(min(costs) - own, rel=1e-5)


def test_the_search_finds_the_best_of_all_layouts():
    random = np.random.default_rng(0)
    for _ in range(20):
        right, below = random.random((2, 6, 6))
        for costs in (right, below):
            np.fill_diagonal(costs, 2)
        every = [np.array(p).reshape(2, 3) for p in itertools.permutations(range(6))]

        def cost(grid, right=right, below=below):
            return right[grid[:, :-1], grid[:, 1:]].sum() + below[grid[:-1], grid[1:]].sum()

        found, starts = solve(right, below, (2, 3))
        assert starts == 6
        assert sorted(found.reshape(-1).tolist()) == list(range(6))
        ranked = sorted(map(cost, every))
        assert cost(found) <= ranked[7]  # random costs are harder than those of pictures: the best hundredth


# controls


def test_blocks_that_were_not_permuted():
    assert jigsaw_attack(smooth(40), scheme=permute_scheme(BLOCK)).guesses.tolist() == list(range(24))


def test_noise_reveals_nothing():
    shares = []
    for seed in range(8):
        disguised, order = permuted(make_image(20, 1, *SIZE, seed=seed), seed=seed)
        shares.append(score_permutation(jigsaw_attack(disguised, scheme=permute_scheme(BLOCK)), order).accuracy)
    assert sum(shares) / len(shares) < 3 / 24


def test_constant_blocks_tie():
    result = jigsaw_attack(torch.full((3, 1, *SIZE), 0.3), scheme=permute_scheme(BLOCK))
    assert sorted(result.guesses.tolist()) == list(range(24))
    assert not bool(result.margins.any())


def test_progress_counts_starts():
    steps = []
    result = jigsaw_attack(
        make_image(5, 1, 8, 12), scheme=permute_scheme((4, 4)), progress=lambda *step: steps.append(step)
    )
    assert steps == [(done + 1, result.cost["starts"]) for done in range(result.cost["starts"])]
    assert len(steps) > 1


def test_one_block():
    images = smooth(2)
    result = jigsaw_attack(images, scheme=permute_scheme(SIZE))
    assert result.guesses.tolist() == [0]
    assert torch.equal(result.images, images)
    assert json.loads(result.to_json())["margins"] == [None]


@pytest.mark.parametrize(
    ("images", "block", "error", "message"),
    [
        (torch.zeros(1, 24, 32), BLOCK, InputShapeError, r"\[1, 24, 32\]"),
        (torch.zeros(0, 1, 24, 32), BLOCK, InputShapeError, "at least one"),
        (torch.full((1, 1, 24, 32), torch.inf), BLOCK, InputRangeError, "infinity"),
        (torch.zeros(1, 1, 24, 32), (5, 8), BlockSizeError, "5 x 8"),
    ],
)
def test_refusals(images, block, error, message):
    with pytest.raises(error, match=message):
        jigsaw_attack(images, scheme=permute_scheme(block))


# real clothes


@pytest.mark.parametrize(("block", "count", "least"), [((7, 7), 100, 1.0), ((4, 4), 300, 0.75)])
def test_clothes(real, block, count, least):
    source = data.open_source(f"fashion-mnist:{real}:test")
    disguised, order = permuted(torch.stack([source[n][0] for n in range(count)]), block)
    assert score_permutation(jigsaw_attack(disguised, scheme=permute_scheme(block)), order).accuracy >= least
