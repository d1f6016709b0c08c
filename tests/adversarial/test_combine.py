import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torchprotect.adversarial import WAYS, combine, distances
from torchprotect.errors import InputRangeError, InputShapeError


def versions(k: int, n: int, height: int, width: int, seed: int = 0, dtype: torch.dtype = torch.float64):
    """Return K versions of N images, all pixels different."""
    order = torch.randperm(k * n * 2 * height * width, generator=torch.Generator().manual_seed(seed))
    return order.reshape(k, n, 2, height, width).to(dtype) / order.numel()


def rows(*shares: list[float]) -> torch.Tensor:
    return torch.tensor(shares, dtype=torch.float32)


def exactly(shares: list[float]) -> list[Fraction]:
    """Return what was written, such as 3/10 for 0.3, or a third."""
    return [Fraction(share).limit_denominator(1000) for share in shares]


def concat_by_pixel(images, shares):
    out = torch.empty_like(images[0])
    for n, row in enumerate(shares):
        width = images.shape[-1]
        for x in range(width):
            k = 0  # the first image that reaches beyond column x
            while k < len(row) - 1 and x >= math.floor(sum(exactly(row)[: k + 1]) * width):
                k += 1
            for c in range(images.shape[2]):
                for y in range(images.shape[3]):
                    out[n, c, y, x] = images[k, n, c, y, x]
    return out


def mixup_by_pixel(images, shares):
    out = torch.zeros_like(images[0])
    for n, row in enumerate(shares):
        for place in torch.cartesian_prod(*[torch.arange(size) for size in images.shape[2:]]).tolist():
            out[(n, *place)] = sum(float(s) * images[(k, n, *place)] for k, s in enumerate(exactly(row)))
    return out


def mixup_and_concat_by_pixel(images, shares):
    mixes, together = [], []
    for side in (slice(0, 2), slice(2, 4)):
        sums = [sum(exactly(row)[side]) for row in shares]
        inner = [[s / t for s in exactly(row)[side]] if t else [1, 0] for row, t in zip(shares, sums)]
        mixes.append(mixup_by_pixel(images[side], inner))
        together.append(sums)
    return concat_by_pixel(torch.stack(mixes), [list(pair) for pair in zip(*together)])


# two, three and more targets, a third, many targets, and classes with fewer than others (shares of 0 at the end)
SHARES = [
    [[0.5, 0.5], [0.3, 0.7], [0.8, 0.2], [1.0, 0.0]],
    [[0.3, 0.3, 0.4], [1 / 3, 1 / 3, 1 / 3], [0.7, 0.3, 0.0], [1.0, 0.0, 0.0]],
    [[0.0, 1.0], [0.29, 0.71], [0.1, 0.9], [0.999, 0.001]],
    [[0.25] * 4, [0.1, 0.2, 0.3, 0.4], [0.6, 0.0, 0.4, 0.0], [0.0, 0.0, 0.0, 1.0]],
    [[1.0], [1.0], [1.0], [1.0]],
]


@pytest.mark.parametrize("width", [1, 5, 7, 10, 12])
@pytest.mark.parametrize("shares", SHARES, ids=lambda s: f"{len(s[0])} targets")
def test_concat(shares, width):
    images = versions(len(shares[0]), 4, 3, width)
    assert torch.equal(combine("concat", images, rows(*shares)), concat_by_pixel(images, shares))


@pytest.mark.parametrize("width", [100, 300, 1000, 10_000])
@pytest.mark.parametrize("percent", [1, 7, 29, 33, 57, 58, 99])
def test_concat_column_counts_are_decimal_exact(percent, width):
    """0.29 * 100 is 28.999999999999996 in floating point; 29 columns are meant."""
    images = torch.stack([torch.zeros(1, 1, 1, width), torch.ones(1, 1, 1, width)])
    shares = rows([percent / 100, 1 - percent / 100])
    assert int((combine("concat", images, shares) == 0).sum()) == percent * width // 100


@pytest.mark.parametrize(("width", "percents"), [(5, (1, 39, 60)), (100, (1, 4, 95)), (300, (1, 4, 95))])
def test_concat_sums_of_weights_are_decimal_exact(width, percents):
    """In float32, 0.01 + 0.39 is less than 0.4."""
    images = torch.arange(3.0, dtype=torch.float64).reshape(3, 1, 1, 1, 1).expand(-1, -1, -1, -1, width)
    made = combine("concat", images, rows([percent / 100 for percent in percents]))
    first, second = percents[0] * width // 100, sum(percents[:2]) * width // 100
    assert made.flatten().tolist() == [0.0] * first + [1.0] * (second - first) + [2.0] * (width - second)


@pytest.mark.parametrize("shares", SHARES, ids=lambda s: f"{len(s[0])} targets")
def test_mixup(shares):
    images = versions(len(shares[0]), 4, 3, 5)
    mixed = combine("mixup", images, rows(*shares))
    torch.testing.assert_close(mixed, mixup_by_pixel(images, shares), rtol=0, atol=1e-7)


def test_mixup_of_equal_images_is_that_image():
    """Also where shares sum to nearly 1 only: the image is not darkened."""
    image = versions(1, 2, 4, 4, dtype=torch.float32)
    shares = rows([0.33333, 0.33333, 0.33333], [0.1, 0.2, 0.7])
    assert torch.equal(combine("mixup", image.expand(3, -1, -1, -1, -1), shares), image[0])


@pytest.mark.parametrize("width", [5, 6, 9])
@pytest.mark.parametrize(
    "shares",
    [
        [[0.2, 0.3, 0.3, 0.2], [0.25] * 4, [0.1, 0.2, 0.3, 0.4]],  # the first: 40:60 beside 60:40, as in the paper
        [[1.0, 0.0, 0.0, 0.0], [0.3, 0.7, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]],
    ],
)
def test_mixup_and_concat(shares, width):
    images = versions(4, 3, 3, width)
    made = combine("mixup-and-concat", images, rows(*shares))
    torch.testing.assert_close(made, mixup_and_concat_by_pixel(images, shares), rtol=0, atol=1e-7)


def box_of(made, images):
    """Return rows and columns, both as half-open ranges, that are from the second image, and check that all are."""
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
def test_random_square(height, width, share, at_row, data):
    at_column = data.draw(st.floats(0, 1, exclude_max=True))
    images = versions(2, 1, height, width)
    places = torch.tensor([[at_row, at_column]], dtype=torch.float64)
    made = combine("random-square", images, rows([1 - share, share]), places)
    [((top, bottom), (left, right))] = box_of(made, images)
    side = min(math.sqrt(share * height * width), height, width)
    assert bottom - top == right - left
    assert abs(bottom - top - side) <= 0.5 + 1e-5
    if bottom > top:
        assert top == math.floor(at_row * (height - (bottom - top) + 1))
        assert left == math.floor(at_column * (width - (right - left) + 1))


def test_random_square_positions_are_uniform():
    count = 9 * 500
    places = torch.rand(count, 2, generator=torch.Generator().manual_seed(0))
    images = versions(2, 1, 4, 4).expand(-1, count, -1, -1, -1)
    made = combine("random-square", images, rows([0.75, 0.25]).expand(count, 2), places)
    counts = {}
    for ranges in box_of(made, images):
        key = tuple(first for first, _ in ranges)
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 9
    assert sum((n - 500) ** 2 / 500 for n in counts.values()) < 50  # 8 degrees of freedom: once in 10 million runs


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 12), st.integers(1, 12), st.floats(0, 1), st.floats(0, 1, exclude_max=True), st.data())
def test_cutmix(height, width, share, at_row, data):
    at_column = data.draw(st.floats(0, 1, exclude_max=True))
    images = versions(2, 1, height, width)
    places = torch.tensor([[at_row, at_column]], dtype=torch.float64)
    [ranges] = box_of(combine("cutmix", images, rows([1 - share, share]), places), images)
    for (first, end), centre, length in zip(ranges, (at_row * height, at_column * width), (height, width)):
        half = math.sqrt(share) * length / 2
        if end > first and ranges[0][1] > ranges[0][0]:
            assert abs(first - max(0, centre - half)) <= 0.5 + 1e-4
            assert abs(end - min(length, centre + half)) <= 0.5 + 1e-4


def test_cutmix_box_has_the_area_asked_for():
    places = torch.full((4, 2), 0.5)
    images = versions(2, 4, 40, 60)
    shares = rows([0.75, 0.25], [0.0, 1.0], [1.0, 0.0], [0.36, 0.64])
    made = combine("cutmix", images, shares, places)
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
    shares = rows([s / sum(raw[:k]) for s in raw[:k]])
    images = versions(k, 1, 5, 7, seed, torch.float32)
    plain = torch.full_like(images[0], 0.5)
    parts = torch.stack([distances(image, plain) for image in images])
    mixed = combine("mixup", images, shares)
    assert float(distances(mixed, plain)) <= float(parts.max()) + 1e-6
    assert float(distances(combine("concat", images, shares), plain)) <= float(parts.square().sum().sqrt()) + 1e-6
    for way in ("cutmix", "random-square"):
        if k == 2:
            pasted = combine(way, images, shares, torch.tensor([[0.2, 0.6]]))
            assert float(distances(pasted, plain)) <= float(parts.square().sum().sqrt()) + 1e-6


@pytest.mark.parametrize("way", WAYS)
def test_images_of_a_batch_do_not_mix(way):
    k = {"mixup-and-concat": 4, "cutmix": 2, "random-square": 2}.get(way, 3)
    images = versions(k, 5, 6, 7)
    shares = torch.rand(5, k, generator=torch.Generator().manual_seed(0))
    shares /= shares.sum(1, keepdim=True)
    places = torch.rand(5, 2, generator=torch.Generator().manual_seed(1))
    together = combine(way, images, shares, places)
    assert together.shape == images.shape[1:]
    assert together.dtype == images.dtype
    for n in range(5):
        single = combine(way, images[:, n : n + 1], shares[n : n + 1], places[n : n + 1])
        assert torch.equal(single[0], together[n])
    assert combine(way, images[:, :0], shares[:0], places[:0]).shape == (0, 2, 6, 7)


@pytest.mark.parametrize(
    ("way", "k", "shares", "places", "error", "message"),
    [
        ("blend", 2, [0.5, 0.5], None, InputRangeError, "way is one of"),
        ("concat", 2, [0.5, 0.6], None, InputRangeError, "sum to 1"),
        ("concat", 2, [1.5, -0.5], None, InputRangeError, "sum to 1"),
        ("concat", 2, [math.nan, 0.5], None, InputRangeError, "sum to 1"),
        ("concat", 3, [0.5, 0.5], None, InputShapeError, r"not \[3, 1, 2, 4, 4\], \[1, 2\]"),
        ("cutmix", 3, [0.3, 0.3, 0.4], [0.5, 0.5], InputRangeError, "combines 2 images, not 3"),
        ("mixup-and-concat", 2, [0.5, 0.5], None, InputRangeError, "combines 4 images, not 2"),
        ("cutmix", 2, [0.5, 0.5], None, InputShapeError, "needs places"),
        ("random-square", 2, [0.5, 0.5], [0.5], InputShapeError, "needs places"),
        ("random-square", 2, [0.5, 0.5], [0.5, 1.0], InputRangeError, r"\[0, 1\)"),
        ("cutmix", 2, [0.5, 0.5], [math.nan, 0.5], InputRangeError, r"\[0, 1\)"),
    ],
)
def test_bad_input(way, k, shares, places, error, message):
    with pytest.raises(error, match=message):
        combine(way, versions(k, 1, 4, 4), rows(shares), None if places is None else torch.tensor([places]))
