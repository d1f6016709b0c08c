import json

import numpy as np
import pytest
import torch
from disguised_shapes import rmt_scheme
from support import block_slices, make_image, real_data

from torchprotect import data, functional, keys
from torchprotect.attacks import Level, Scheme, regression_attack
from torchprotect.attacks.disguise import regression
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError, InputTypeError

SIZE, BLOCK = (8, 12), (4, 3)


def rmt(**options):
    return keys.RMTKey.generate(image_size=SIZE, block_size=BLOCK, **options)


def disguise(images, key, noise=0.0, permutation=None, seed=0):
    drawn = torch.rand(images.shape, generator=torch.Generator().manual_seed(seed)) * noise
    return functional.rmt_disguise(images, key, drawn, permutation)


def pictures(count, seed=0, channels=2):
    return make_image(count, channels, *SIZE, seed=seed)


def rmse(images, truth):
    return float((images.double() - truth.double()).square().mean().sqrt())


def attack_with_loops(plain, disguised, target, side, intercept, solve_for, by_channel):
    """One position, and one channel, at a time, by numpy's least squares."""

    def rows(images, channels, place):
        blocks = images[:, channels][(..., *place)].double()
        return (blocks if side == "right" else blocks.mT).flatten(0, -2).numpy()

    rebuilt = torch.zeros(target.shape, dtype=torch.float64)
    ranks = []
    for place in block_slices(plain.shape[-2:], BLOCK):
        for channels in [[n] for n in range(plain.shape[1])] if by_channel else [list(range(plain.shape[1]))]:
            x, y, wanted = (rows(images, channels, place) for images in (plain, disguised, target))
            x_mean, y_mean = (each.mean(0) if intercept else np.zeros(each.shape[1]) for each in (x, y))
            forward, _, rank, _ = np.linalg.lstsq(x - x_mean, y - y_mean, rcond=1e-5)
            back = np.linalg.lstsq(y - y_mean, x - x_mean, rcond=1e-5)[0]
            if solve_for == "matrix":
                back = np.linalg.pinv(forward, rcond=1e-5)
            lines = torch.from_numpy((wanted - y_mean) @ back + x_mean)
            blocks = lines.reshape(len(target), len(channels), *(BLOCK if side == "right" else BLOCK[::-1]))
            for n, channel in enumerate(channels):
                block = blocks[:, n] if side == "right" else blocks[:, n].mT
                rebuilt[:, channel][(..., *place)] = block
            ranks.append(int(rank))
    return rebuilt.round().clamp(0, 255).byte(), ranks


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("solve_for", ["plain", "matrix"])
@pytest.mark.parametrize("by_channel", [True, False])
def test_the_same_as_one_position_at_a_time(side, intercept, solve_for, by_channel, device):
    key = rmt(side=side, channels=2 if by_channel else None)
    plain, target = pictures(6), pictures(5, seed=1)
    plain[:, :, :5] = 90  # constant blocks above, nearly constant ones below
    known, wanted = (disguise(images, key, 20, seed=n) for n, images in enumerate((plain, target)))
    images, ranks = attack_with_loops(plain, known, wanted, side, intercept, solve_for, by_channel)
    scheme = rmt_scheme(BLOCK, side=side, channels=2 if by_channel else None)
    given = [x.to(device) for x in (plain, known, wanted)]
    result = regression_attack(*given, scheme=scheme, intercept=intercept, solve_for=solve_for)
    assert (result.images.cpu().int() - images.int()).abs().max() <= 1  # rounding
    assert float((result.images.cpu() == images).double().mean()) > 0.99
    assert result.rank.flatten().tolist() == ranks
    assert list(result.rank.shape) == [8, 2 if by_channel else 1]
    assert len(set(ranks)) > 1
    length = BLOCK[1] if side == "right" else BLOCK[0]
    equations = 6 * 12 // length * (1 if by_channel else 2)
    assert result.cost == {"pairs": 6, "equations": equations, "solutions": len(ranks)}
    assert result.level is Level.KNOWN_PAIRS


@pytest.mark.parametrize("matrix", ["orthogonal", "uniform", "gaussian"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("solve_for", ["plain", "matrix"])
def test_without_noise_everything_comes_back(matrix, side, solve_for):
    key = rmt(matrix=matrix, side=side)
    plain, target = pictures(4), pictures(9, seed=1)
    for scale in (1, 255):
        given = [plain, target] if scale == 1 else [plain / 255, target / 255]
        known, wanted = (disguise(images, key) for images in given)
        for intercept in (True, False):
            options = {"scheme": rmt_scheme(BLOCK, side=side), "solve_for": solve_for, "intercept": intercept}
            result = regression_attack(given[0], known, wanted, **options)
            assert result.images.dtype == given[0].dtype
            assert rmse(result.images * scale, target) < 0.1
            assert bool((result.rank == (3 if side == "right" else 4)).all())


def test_permuted_blocks():
    key, permutation = rmt(), keys.PermutationKey.generate(image_size=SIZE, block_size=BLOCK)
    plain, target = pictures(4), pictures(9, seed=1)
    known, wanted = (disguise(images, key, permutation=permutation) for images in (plain, target))
    for order in (permutation.order, None):  # told, and recovered from the pairs
        result = regression_attack(plain, known, wanted, scheme=rmt_scheme(BLOCK, permuted=True), order=order)
        assert rmse(result.images, target) < 0.1


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("key_channels", [None, 2])
def test_a_secret_that_all_positions_share(side, key_channels):
    """It is as if each block were an image of its own: all together give the equations of one map."""
    plain, target = pictures(2), pictures(5, seed=1)
    block_key = keys.RMTKey.generate(image_size=BLOCK, block_size=BLOCK, side=side, channels=key_channels)

    def blocks_of(images):
        return torch.cat([images[:, :, rows, columns] for rows, columns in block_slices(SIZE, BLOCK)])

    def whole_of(blocks, count):
        images = torch.empty(count, 2, *SIZE)
        for (rows, columns), block in zip(block_slices(SIZE, BLOCK), blocks.split(count), strict=True):
            images[:, :, rows, columns] = block
        return images

    known, wanted = (disguise(blocks_of(each), block_key, 20, seed=n) for n, each in enumerate((plain, target)))
    given = {"solve_for": "matrix"}  # a map to plain pixels also holds what blocks at a position look like
    expected = regression_attack(
        blocks_of(plain), known, wanted, scheme=rmt_scheme(BLOCK, side=side, channels=key_channels), **given
    )
    scheme = rmt_scheme(BLOCK, side=side, channels=key_channels, shared=True)
    result = regression_attack(plain, whole_of(known, 2), whole_of(wanted, 5), scheme=scheme, **given)
    torch.testing.assert_close(result.images.float(), whole_of(expected.images, 5), rtol=0, atol=1)  # rounding
    assert torch.equal(result.rank, expected.rank)
    assert result.cost == {**expected.cost, "pairs": 2}


def test_directions_that_no_pair_shows():
    """With one pair whose blocks are constant, grey levels are known to one direction: their mean."""
    plain, target = torch.full((1, 1, *SIZE), 100, dtype=torch.uint8), pictures(3, channels=1)
    plain[..., :3] = 0
    key = rmt()
    given = plain, disguise(plain, key), disguise(target, key)
    result = regression_attack(*given, scheme=rmt_scheme(BLOCK), intercept=False)
    ranks = result.rank[:, 0].unflatten(0, (2, 4))
    assert ranks.tolist() == [[0, 1, 1, 1]] * 2
    means = target.double().unflatten(-1, (4, 3)).mean(-1, keepdim=True).expand(-1, -1, -1, -1, 3).flatten(-2)
    means[..., :3] = 0
    assert float((result.images - means).abs().max()) <= 0.51
    constant = regression_attack(*given, scheme=rmt_scheme(BLOCK))
    assert not bool(constant.rank.any())
    assert torch.equal(constant.images, plain.expand(3, -1, -1, -1))


def test_an_intercept_takes_out_the_mean_of_the_noise():
    key, plain, target = rmt(), pictures(200), pictures(100, seed=1)
    known, wanted = (disguise(images, key, 60, seed=n) for n, images in enumerate((plain, target)))
    errors = {
        (solve_for, intercept): rmse(
            regression_attack(
                plain, known, wanted, scheme=rmt_scheme(BLOCK), intercept=intercept, solve_for=solve_for
            ).images,
            target,
        )
        for solve_for in ("plain", "matrix")
        for intercept in (True, False)
    }
    assert errors["plain", True] < errors["plain", False]
    assert errors["matrix", True] < errors["matrix", False]
    assert errors["plain", True] < errors["matrix", True] < 60 / 12**0.5 + 1  # the noise itself


def test_parts_and_single_images_give_the_same(monkeypatch):
    key, plain, target = rmt(), pictures(20), pictures(9, seed=1)
    known, wanted = (disguise(images, key, 50, seed=n) for n, images in enumerate((plain, target)))
    whole = regression_attack(plain, known, wanted, scheme=rmt_scheme(BLOCK))
    single = regression_attack(plain, known, wanted[4:5], scheme=rmt_scheme(BLOCK))
    assert torch.equal(single.images, whole.images[4:5])
    monkeypatch.setattr(regression, "_PIXELS_AT_ONCE", 400)
    assert torch.equal(regression_attack(plain, known, wanted, scheme=rmt_scheme(BLOCK)).images, whole.images)
    assert set(json.loads(whole.to_json())) == {"level", "cost", "rank"}


def test_no_disguise_and_noise():
    plain, target = pictures(300), pictures(100, seed=1)
    same = regression_attack(plain, plain, target, scheme=rmt_scheme(BLOCK))
    assert torch.equal(same.images, target)
    noise = [
        torch.rand(x.shape, generator=torch.Generator().manual_seed(n)) * 255 for n, x in enumerate((plain, target))
    ]
    nothing = regression_attack(plain, *noise, scheme=rmt_scheme(BLOCK))
    chance = rmse(plain.double().mean(0), target)
    assert rmse(nothing.images, target) > 0.99 * chance


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"plain": torch.zeros(3, 2, *SIZE)}, InputShapeError, "3 and 2"),
        ({"plain": torch.zeros(0, 2, *SIZE), "disguised": torch.zeros(0, 2, *SIZE)}, InputShapeError, "at least one"),
        ({"target": torch.zeros(2, 1, *SIZE)}, InputShapeError, r"\[1, 8, 12\]"),
        ({"target": torch.zeros(2, 2, *SIZE, dtype=torch.float64)}, InputTypeError, "float64"),
        ({"disguised": torch.full((2, 2, *SIZE), torch.nan)}, InputRangeError, "NaN"),
        ({"plain": torch.zeros(2, 2, *SIZE, dtype=torch.int64)}, InputTypeError, "int64"),
        ({"scheme": rmt_scheme((4, 5))}, BlockSizeError, "4 x 5"),
        ({"scheme": Scheme("BlockPermute", block_size=BLOCK)}, InputRangeError, "RMTDisguise alone"),
        ({"solve_for": "key"}, InputRangeError, "'key'"),
        ({"scheme": rmt_scheme(BLOCK, channels=3)}, InputRangeError, "images' 2"),
        ({"order": torch.arange(7)}, BlockSizeError, "8 blocks"),
        ({"order": torch.arange(8.0)}, BlockSizeError, "int64"),
        ({"plain": torch.full((2, 2, *SIZE), 200.0)}, InputRangeError, r"0\.\.1, but lie in 200\.\.200"),
        ({"plain": torch.zeros(2, 2, *SIZE).numpy()}, InputTypeError, "ndarray"),
        ({"disguised": torch.zeros(2, 2, *SIZE, dtype=torch.complex64)}, InputTypeError, "complex64"),
    ],
)
def test_refusals(change, error, message):
    images = torch.zeros(2, 2, *SIZE)
    given = {"plain": images, "disguised": images, "target": images, "scheme": rmt_scheme(BLOCK), **change}
    with pytest.raises(error, match=message):
        regression_attack(given.pop("plain"), given.pop("disguised"), given.pop("target"), **given)


# real digits


@pytest.fixture(scope="module")
def digits():
    root = real_data()
    if root is None:
        pytest.skip("TORCHPROTECT_DATA is not set: no real data sets here")
    train, test = (data.open_source(f"mnist:{root}:{split}") for split in ("train", "test"))
    return [torch.stack([source[n][0] for n in range(count)]) for source, count in ((train, 200), (test, 1000))]


def errors_on(digits, noise, pairs, **options):
    key = keys.RMTKey.generate(image_size=(28, 28), block_size=(7, 7))
    plain, target = digits[0][:pairs], digits[1]
    given = plain, disguise(plain, key, noise, seed=0), disguise(target, key, noise, seed=1)
    return rmse(regression_attack(*given, scheme=rmt_scheme((7, 7)), **options).images, target)


def test_errors_on_digits(digits):
    """What the paper's way gave before: 35 without an intercept, 20 with one, at noise up to 100 and 20 pairs."""
    assert errors_on(digits, 100, 20, solve_for="matrix", intercept=False) == pytest.approx(35, abs=5)
    assert errors_on(digits, 100, 20, solve_for="matrix") == pytest.approx(20, abs=4)
    assert errors_on(digits, 100, 20) == pytest.approx(19, abs=1.5)
    assert errors_on(digits, 0, 20) < 8
    by_noise = [errors_on(digits, noise, 20) for noise in (0, 25, 50, 100, 200)]
    by_pairs = [errors_on(digits, 100, pairs) for pairs in (200, 20, 5, 2, 1)]
    assert by_noise == sorted(by_noise)
    assert by_pairs == sorted(by_pairs)
