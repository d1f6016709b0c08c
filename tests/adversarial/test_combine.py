import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchprotect.adversarial import MIX_MODES, combine, distances
from torchprotect.errors import InputRangeError, InputShapeError


def versions(k: int, n: int, height: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float64):
    """Return K versions of N images, all pixels different."""
    order = torch.randperm(k * n * 2 * height * width, generator=torch.Generator().manual_seed(seed))
    return order.reshape(k, n, 2, height, width).to(dtype) / order.numel()


def rows(*weights: list[float]) -> torch.Tensor:
    return torch.tensor(weights, dtype=torch.float32)


def exactly(weights: list[float]) -> list[Fraction]:
    """Return the exact fractions meant, such as 3/10 for 0.3, or a third."""
    return [Fraction(weight).limit_denominator(1000) for weight in weights]


def concat_by_pixel(images, weights):
    out = torch.empty_like(images[0])
    for n, row in enumerate(weights):
        width = images.shape[-1]
        for x in range(width):
            k = 0  # the first image that reaches beyond column x
            while k < len(row) - 1 and x >= math.floor(sum(exactly(row)[: k + 1]) * width):
                k += 1
            for c in range(images.shape[2]):
                for y in range(images.shape[3]):
                    out[n, c, y, x] = images[k, n, c, y, x]
    return out


def mixup_by_pixel(images, weights):
    out = torch.zeros_like(images[0])
    for n, row in enumerate(weights):
        for place in torch.cartesian_prod(*[torch.arange(size) for size in images.shape[2:]]).tolist():
            out[(n, *place)] = sum(float(s) * images[(k, n, *place)] for k, s in enumerate(exactly(row)))
    return out


def mixup_and_concat_by_pixel(images, weights):
    mixes, together = [], []
    for side in (slice(0, 2), slice(2, 4)):
        sums = [sum(exactly(row)[side]) for row in weights]
        inner = [[s / t for s in exactly(row)[side]] if t else [1, 0] for row, t in zip(weights, sums)]
        mixes.append(mixup_by_pixel(images[side], inner))
        together.append(sums)
    return concat_by_pixel(torch.stack(mixes), [list(pair) for pair in zip(*together)])


# two, three and more targets, a third, many targets, and classes with fewer than others (weights of 0 at the end)
WEIGHTS = [
    [[0.5, 0.5], [0.3, 0.7], [0.8, 0.2], [1.0, 0.0]],
    [[0.3, 0.3, 0.4], [1 / 3, 1 / 3, 1 / 3], [0.7, 0.3, 0.0], [1.0, 0.0, 0.0]],
    [[0.0, 1.0], [0.29, 0.71], [0.1, 0.9], [0.999, 0.001]],
    [[0.25] * 4, [0.1, 0.2, 0.3, 0.4], [0.6, 0.0, 0.4, 0.0], [0.0, 0.0, 0.0, 1.0]],
    [[1.0], [1.0], [1.0], [1.0]],
]


@pytest.mark.parametrize("width", [1, 5, 7, 10, 12])
@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda s: f"{len(s[0])} targets")
def test_concat(weights, width):
    images = versions(len(weights[0]), 4, 3, width)
    assert torch.equal(combine("concat", images, rows(*weights)), concat_by_pixel(images, weights))


@pytest.mark.parametrize("width", [100, 300, 1000, 10_000])
@pytest.mark.parametrize("percent", [1, 7, 29, 33, 57, 58, 99])
def test_concat_counts_columns_exactly(percent, width):
    """0.29 * 100 is 28.999999999999996 in floating point; 29 columns are meant."""
    images = torch.stack([torch.zeros(1, 1, 1, width), torch.ones(1, 1, 1, width)])
    weights = rows([percent / 100, 1 - percent / 100])
    assert int((combine("concat", images, weights) == 0).sum()) == percent * width // 100


@pytest.mark.parametrize(("width", "percents"), [(5, (1, 39, 60)), (100, (1, 4, 95)), (300, (1, 4, 95))])
def test_concat_sums_weights_exactly(width, percents):
    """In float32, 0.01 + 0.39 is less than 0.4."""
    images = torch.arange(3.0, dtype=torch.float64).reshape(3, 1, 1, 1, 1).expand(-1, -1, -1, -1, width)
    made = combine("concat", images, rows([percent / 100 for percent in percents]))
    first, second = percents[0] * width // 100, sum(percents[:2]) * width // 100
    assert made.flatten().tolist() == [0.0] * first + [1.0] * (second - first) + [2.0] * (width - second)


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda s: f"{len(s[0])} targets")
def test_mixup(weights):
    images = versions(len(weights[0]), 4, 3, 5)
    mixed = combine("mixup", images, rows(*weights))
    torch.testing.assert_close(mixed, mixup_by_pixel(images, weights), rtol=0, atol=1e-7)


def test_mixup_of_equal_images_is_that_image():
    """The image is not darkened, even if weights sum to 1 only approximately."""
    image = versions(1, 2, 4, 4, dtype=torch.float32)
    weights = rows([0.33333, 0.33333, 0.33333], [0.1, 0.2, 0.7])
    assert torch.equal(combine("mixup", image.expand(3, -1, -1, -1, -1), weights), image[0])


@pytest.mark.parametrize("width", [5, 6, 9])
@pytest.mark.parametrize(
    "weights",
    [
        [[0.2, 0.3, 0.3, 0.2], [0.25] * 4, [0.1, 0.2, 0.3, 0.4]],  # the first: 40:60 beside 60:40, as in the paper
        [[1.0, 0.0, 0.0, 0.0], [0.3, 0.7, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]],
    ],
)
def test_mixup_and_concat(weights, width):
    images = versions(4, 3, 3, width)
    made = combine("mixup-and-concat", images, rows(*weights))
    torch.testing.assert_close(made, mixup_and_concat_by_pixel(images, weights), rtol=0, atol=1e-7)


def box_of(made, images):
    """Return the half-open ranges of rows and columns from the second image; check that they form a full box."""
    second = (made == images[1]).all(1)
    assert bool((second | (made == images[0]).all(1)).all())
    found = []
    for inside in second:
        lines = [inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()]
        ranges = [(int(line[0]), int(line[-1]) + 1) if len(line) else (0, 0) for line in lines]
        assert int(inside.sum()) == math.prod(end - first for first, end in ranges)  # one full box
        found.append(ranges)
    return found


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.data())
def test_random_square(height, width, weight, at_row, data):
    at_column = data.draw(st.floats(0, 1, exclude_max=True))
    images = versions(2, 1, height, width)
    positions = torch.tensor([[at_row, at_column]], dtype=torch.float64)
    made = combine("random-square", images, rows([1 - weight, weight]), positions)
    [((top, bottom), (left, right))] = box_of(made, images)
    side = min(math.sqrt(weight * height * width), height, width)
    assert bottom - top == right - left
    assert abs(bottom - top - side) <= 0.5 + 1e-5
    if bottom > top:
        assert top == math.floor(at_row * (height - (bottom - top) + 1))
        assert left == math.floor(at_column * (width - (right - left) + 1))


def test_random_square_positions_are_uniform():
    count = 9 * 500
    positions = torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    images = versions(2, 1, 4, 4).expand(-1, count, -1, -1, -1)
    made = combine("random-square", images, rows([0.75, 0.25]).expand(count, 2), positions)
    counts = {}
    for ranges in box_of(made, images):
        key = tuple(first for first, _ in ranges)
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 9
    assert sum((n - 500) ** 2 / 500 for n in counts.values()) < 50  # 8 degrees of freedom: once in 10 million runs


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.data())
def test_cutmix(height, width, weight, at_row, data):
    at_column = data.draw(st.floats(0, 1, exclude_max=True))
    images = versions(2, 1, height, width)
    positions = torch.tensor([[at_row, at_column]], dtype=torch.float64)
    [ranges] = box_of(combine("cutmix", images, rows([1 - weight, weight]), positions), images)
    for (first, end), centre, length in zip(ranges, (at_row * height, at_column * width), (height, width)):
        half = math.sqrt(weight) * length / 2
        if end > first and ranges[0][1] > ranges[0][0]:
            assert abs(first - max(0, centre - half)) <= 0.5 + 1e-4
            assert abs(end - min(length, centre + half)) <= 0.5 + 1e-4


def test_centred_cutmix_boxes_have_the_given_area():
    positions = torch.full((4, 2), 0.5)
    images = versions(2, 4, 40, 60)
    weights = rows([0.75, 0.25], [0.0, 1.0], [1.0, 0.0], [0.36, 0.64])
    made = combine("cutmix", images, weights, positions)
    areas = [math.prod(end - first for first, end in ranges) for ranges in box_of(made, images)]
    assert areas == [600, 2400, 0, 32 * 48]


def test_concat_exceeds_the_ball_by_root_two_and_mixup_stays_inside():
    """The left half of one perturbation beside the right half of another, all of both there."""
    plain = torch.full((1, 1, 4, 8), 0.5, dtype=torch.float64)
    left, right = torch.zeros_like(plain), torch.zeros_like(plain)
    left[..., :4] = 0.5 / 4  # 16 pixels: length 0.5
    right[..., 4:] = -0.5 / 4
    parts = torch.stack([plain + left, plain + right])
    assert distances(parts[0], plain).item() == distances(parts[1], plain).item() == 0.5
    assert distances(combine("concat", parts, rows([0.5, 0.5])), plain).item() == pytest.approx(0.5 * math.sqrt(2))
    assert distances(combine("mixup", parts, rows([0.5, 0.5])), plain).item() <= 0.5


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.lists(st.floats(0.001, 1), min_size=5, max_size=5), st.integers(0, 99))
def test_bounds_on_the_distance(k, raw, seed):
    """Mixup stays within the farthest part, concat within the root of the sum of squares, pasting likewise."""
    weights = rows([s / sum(raw[:k]) for s in raw[:k]])
    images = versions(k, 1, 5, 7, seed, torch.float32)
    plain = torch.full_like(images[0], 0.5)
    parts = torch.stack([distances(image, plain) for image in images])
    mixed = combine("mixup", images, weights)
    assert float(distances(mixed, plain)) <= float(parts.max()) + 1e-6
    assert float(distances(combine("concat", images, weights), plain)) <= float(parts.square().sum().sqrt()) + 1e-6
    for mix_mode in ("cutmix", "random-square"):
        if k == 2:
            pasted = combine(mix_mode, images, weights, torch.tensor([[0.2, 0.6]]))
            assert float(distances(pasted, plain)) <= float(parts.square().sum().sqrt()) + 1e-6


@pytest.mark.parametrize("mix_mode", MIX_MODES)
def test_images_of_a_batch_do_not_mix(mix_mode):
    k = {"mixup-and-concat": 4, "cutmix": 2, "random-square": 2}.get(mix_mode, 3)
    images = versions(k, 5, 6, 7)
    weights = torch.rand(5, k, generator=torch.Generator().manual_seed(0))
    weights /= weights.sum(1, keepdim=True)
    positions = torch.rand(5, 2, generator=torch.Generator().manual_seed(1))
    together = combine(mix_mode, images, weights, positions)
    assert together.shape == images.shape[1:]
    assert together.dtype == images.dtype
    for n in range(5):
        single = combine(mix_mode, images[:, n : n + 1], weights[n : n + 1], positions[n : n + 1])
        assert torch.equal(single[0], together[n])
    assert combine(mix_mode, images[:, :0], weights[:0], positions[:0]).shape == (0, 2, 6, 7)


@pytest.mark.parametrize(
    ("mix_mode", "k", "weights", "positions", "error", "message"),
    [
        ("blend", 2, [0.5, 0.5], None, InputRangeError, "mix_mode must be one of"),
        ("concat", 2, [0.5, 0.6], None, InputRangeError, "sum to 1"),
        ("concat", 2, [1.5, -0.5], None, InputRangeError, "sum to 1"),
        ("concat", 2, [math.nan, 0.5], None, InputRangeError, "sum to 1"),
        ("concat", 3, [0.5, 0.5], None, InputShapeError, r"not \[3, 1, 2, 4, 4\], \[1, 2\]"),
        ("cutmix", 3, [0.3, 0.3, 0.4], [0.5, 0.5], InputRangeError, "mixes 2 versions, not 3"),
        ("mixup-and-concat", 2, [0.5, 0.5], None, InputRangeError, "mixes 4 versions, not 2"),
        ("cutmix", 2, [0.5, 0.5], None, InputShapeError, "needs positions"),
        ("random-square", 2, [0.5, 0.5], [0.5], InputShapeError, "needs positions"),
        ("random-square", 2, [0.5, 0.5], [0.5, 1.0], InputRangeError, r"\[0, 1\)"),
        ("cutmix", 2, [0.5, 0.5], [math.nan, 0.5], InputRangeError, r"\[0, 1\)"),
    ],
)
def test_bad_input(mix_mode, k, weights, positions, error, message):
    with pytest.raises(error, match=message):
        combine(mix_mode, versions(k, 1, 4, 4), rows(weights), None if positions is None else torch.tensor([positions]))
