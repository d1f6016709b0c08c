import json
import math
from collections import Counter, defaultdict

import pytest
import torch
from disguised_shapes import aes_scheme
from support import block_slices, make_image, real_data

from torchprotect import data, functional, keys
from torchprotect.attacks import Level, codebook_attack
from torchprotect.attacks.disguise import codebook
from torchprotect.attacks.disguise._lookup import RowBook, most_frequent
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError, InputTypeError

SIZE, BLOCK = (8, 16), (4, 8)


def pictures(count, seed, channels=1, levels=2):
    """Images in few grey levels, constant along rows of four: their units repeat."""
    drawn = make_image(count, channels, SIZE[0], SIZE[1] // 4, seed=seed) % levels * (255 // max(1, levels - 1))
    drawn[:, :, ::2] = 0
    return drawn.repeat_interleave(4, -1)


def aes(channels=None):
    return keys.AESKey.generate(image_size=SIZE, block_size=BLOCK, channels=channels)


def units_with_loops(image, unit, by_channel):
    """Yield group, place (channel, rows, columns) and bytes of each unit of an image."""
    for position, (rows, columns) in enumerate(block_slices(image.shape[-2:], BLOCK)):
        for channel, plane in enumerate(image):
            pixels = plane[rows, columns].flatten().tolist()
            for start in range(0, len(pixels), unit):
                group = (position, channel) if by_channel else position
                yield group, (channel, rows, columns, start), tuple(pixels[start : start + unit])


def attack_with_loops(plain, disguised, target, unit, by_channel):
    book = defaultdict(Counter)
    for one, other in zip(plain, disguised):
        pairs = zip(units_with_loops(one, unit, by_channel), units_with_loops(other, unit, by_channel))
        for (group, _, pixels), (_, _, code) in pairs:
            book[group, code][pixels] += 1
    images, known = torch.zeros_like(target), torch.zeros_like(target, dtype=torch.bool)
    tally = Counter()
    for n, image in enumerate(target):
        for group, (channel, rows, columns, start), code in units_with_loops(image, unit, by_channel):
            tally["units"] += 1
            if (group, code) not in book:
                continue
            (pixels, _), *others = book[group, code].most_common()
            tally["hits"] += 1
            tally["constant"] += len(set(pixels)) == 1
            tally["one"] += not others
            for k, value in enumerate(pixels):
                y, x = divmod(start + k, BLOCK[1])
                images[n, channel, rows, columns][y, x] = value
                known[n, channel, rows, columns][y, x] = True
    left = tally["units"] - tally["constant"]
    apart = (tally["hits"] - tally["constant"]) / left if left else math.nan
    return images, known, (tally["hits"] / tally["units"], apart, tally["one"] / tally["units"]), len(book)


def rates_of(result):
    return result.hit_rate, result.hit_rate_non_constant, result.one_to_one_rate


@pytest.mark.parametrize(("channels", "key_channels"), [(1, None), (3, None), (3, 3)])
def test_the_same_as_dictionaries(channels, key_channels, device, monkeypatch):
    key, plain, target = aes(key_channels), pictures(3, 0, channels, 3), pictures(20, 1, channels, 3)
    disguised, wanted = (functional.aes_ecb_disguise(x, key) for x in (plain, target))
    images, known, rates, entries = attack_with_loops(plain, disguised, wanted, 16, key_channels is not None)
    given = [x.to(device) for x in (plain, disguised, wanted)]
    for at_once in (2**21, 40):  # all images in one go, and few at a time
        monkeypatch.setattr(codebook, "_UNITS_AT_ONCE", at_once)
        result = codebook_attack(*given, scheme=aes_scheme(BLOCK, channels=key_channels))
        assert torch.equal(result.images.cpu(), images)
        assert torch.equal(result.known.cpu(), known)
        assert rates_of(result) == pytest.approx(rates, nan_ok=True)
        assert result.cost == {"pairs": 3, "entries": entries, "lookups": 20 * channels * 8}
    assert 0.2 < result.hit_rate < 1
    assert torch.equal(images[known], target[known])


def test_channels_on_one_key_help_each_other():
    """What the red plane shows is found again in the blue one, if both have the same key."""
    key, plain, target = aes(), pictures(3, 0, 3), pictures(20, 1, 3)
    given = plain, functional.aes_ecb_disguise(plain, key), functional.aes_ecb_disguise(target, key)
    pooled, apart = (codebook_attack(*given, scheme=aes_scheme(BLOCK, channels=n)) for n in (None, 3))
    assert bool((pooled.known | ~apart.known).all())
    assert pooled.hit_rate > apart.hit_rate


@pytest.mark.parametrize("unit", [16, 8, 4, 2, 1, 32])
def test_any_unit(unit):
    plain, target = (make_image(4, 1, *SIZE, seed=n) % 2 * 9 for n in (0, 1))
    images, known, rates, _ = attack_with_loops(plain, 255 - plain, 255 - target, unit, False)
    result = codebook_attack(plain, 255 - plain, 255 - target, scheme=aes_scheme(BLOCK, unit_pixels=unit))
    assert torch.equal(result.images, images)
    assert torch.equal(result.known, known)
    assert rates_of(result) == pytest.approx(rates, nan_ok=True)


@pytest.mark.parametrize("unit", [8, 4, 2])
def test_known_images_come_back_from_small_units(unit):
    """Also after scaling down; there the code words of neighbours mix, and one may stand for several plain units."""
    key, plain = aes(), make_image(6, 1, *SIZE)
    disguised = functional.aes_ecb_disguise(plain, key, None, unit)
    result = codebook_attack(plain, disguised, disguised, scheme=aes_scheme(BLOCK, unit_pixels=unit))
    assert result.hit_rate == 1
    assert float((result.images == plain).double().mean()) > 0.95


def test_the_most_frequent_plain_unit_is_taken():
    plain = torch.tensor([10, 20, 20, 30, 20, 10], dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)
    disguised = torch.zeros_like(plain)
    disguised[3] = 7
    target = torch.tensor([0, 7, 9], dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4)
    result = codebook_attack(plain, disguised, target, scheme=aes_scheme((4, 4)))
    assert result.images[:, 0, 0, 0].tolist() == [20, 30, 0]
    assert (result.hit_rate, result.one_to_one_rate) == pytest.approx((2 / 3, 1 / 3))
    assert result.hit_rate_non_constant == 0  # of the one unit that is not known to be constant
    background = codebook_attack(plain, disguised, target[:2], scheme=aes_scheme((4, 4)))
    assert math.isnan(background.hit_rate_non_constant)
    parsed = json.loads(background.to_json())
    assert parsed["hit_rate_non_constant"] is None
    assert set(parsed) == {"level", "cost", "hit_rate", "hit_rate_non_constant", "one_to_one_rate"}
    assert background.level is Level.KNOWN_PAIRS


def test_permuted_blocks():
    key = aes()
    order = keys.PermutationKey.generate(image_size=SIZE, block_size=BLOCK)
    order = keys.PermutationKey(SIZE, BLOCK, torch.tensor([2, 0, 3, 1]), order.root)
    plain, target = pictures(3, 0), pictures(20, 1)
    still, permuted = (
        [plain, *(functional.aes_ecb_disguise(x, key, permutation) for x in (plain, target))]
        for permutation in (None, order)
    )
    result = codebook_attack(*permuted, scheme=aes_scheme(BLOCK, permuted=True), order=order.order)
    assert torch.equal(result.images, codebook_attack(*still, scheme=aes_scheme(BLOCK)).images)
    assert bool((result.images == target)[result.known].all())


def test_an_order_that_is_not_given_is_recovered_from_the_pairs():
    key, order = aes(), keys.PermutationKey.generate(image_size=SIZE, block_size=BLOCK)
    plain, target = pictures(30, 0), pictures(20, 1)
    given = [plain, *(functional.aes_ecb_disguise(x, key, order) for x in (plain, target))]
    scheme = aes_scheme(BLOCK, permuted=True)
    found, told = (codebook_attack(*given, scheme=scheme, order=each) for each in (None, order.order))
    assert torch.equal(found.images, told.images)
    assert bool((found.images == target)[found.known].all())


@pytest.mark.parametrize("key_channels", [None, 2])
def test_a_secret_that_all_positions_share(key_channels):
    """It is as if each block were an image of its own; all together fill one dictionary."""
    plain, target = pictures(3, 0, 2, 3), pictures(20, 1, 2, 3)
    given = plain, 255 - plain, 255 - target
    apart = [torch.cat([each[:, :, rows, columns] for rows, columns in block_slices(SIZE, BLOCK)]) for each in given]
    pooled = codebook_attack(*given, scheme=aes_scheme(BLOCK, shared=True, channels=key_channels))
    expected = codebook_attack(*apart, scheme=aes_scheme(BLOCK, channels=key_channels))
    for found, blocks in ((pooled.images, expected.images), (pooled.known, expected.known)):
        for (rows, columns), block in zip(block_slices(SIZE, BLOCK), blocks.split(20), strict=True):
            assert torch.equal(found[:, :, rows, columns], block)
    assert rates_of(pooled) == rates_of(expected)
    assert pooled.hit_rate > codebook_attack(*given, scheme=aes_scheme(BLOCK, channels=key_channels)).hit_rate
    assert pooled.cost["entries"] == expected.cost["entries"]


def test_floating_point_plain_images():
    key, plain, target = aes(), pictures(3, 0), pictures(20, 1)
    given = functional.aes_ecb_disguise(plain, key), functional.aes_ecb_disguise(target, key)
    for fallback in ("zeros", "most-likely", "random-patch"):
        bytes_, floats = (
            codebook_attack(
                x, *given, scheme=aes_scheme(BLOCK), fallback=fallback, generator=torch.Generator().manual_seed(0)
            ).images
            for x in (plain, plain / 255)
        )
        assert torch.equal(floats, bytes_ / 255)


# what stands for units that are not known


def missed(fallback, plain, **options):
    noise = make_image(200, *plain.shape[1:], seed=9)
    result = codebook_attack(plain, 255 - plain, noise, scheme=aes_scheme(BLOCK), fallback=fallback, **options)
    assert result.hit_rate == 0
    assert not bool(result.known.any())
    return result.images


def test_zeros():
    assert not bool(missed("zeros", pictures(5, 0)).any())


def test_most_likely_is_the_mode_of_each_pixel():
    plain = pictures(9, 0, 2, levels=3)
    image = missed("most-likely", plain)[0]
    for index, value in zip(torch.cartesian_prod(*map(torch.arange, image.shape)).tolist(), image.flatten().tolist()):
        counts = Counter(plain[(slice(None), *index)].tolist())
        assert counts[value] == max(counts.values())


def test_random_patches_are_known_units_of_the_position():
    plain = pictures(3, 0)
    plain[:, :, :4] //= 2  # patches of the upper positions are none of the lower ones
    first, again, other = (
        missed("random-patch", plain, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    known, drawn = defaultdict(set), defaultdict(set)
    for images, kept in ((plain, known), (first, drawn)):
        for image in images:
            for position, _, pixels in units_with_loops(image, 16, False):
                kept[position].add(pixels)
    assert drawn == known


# controls


def test_no_disguise_and_noise():
    plain = pictures(20, 0, 3)
    same = codebook_attack(plain, plain, plain, scheme=aes_scheme(BLOCK))
    assert torch.equal(same.images, plain)
    assert rates_of(same) == (1, 1, 1)
    disguised, target = make_image(20, 3, *SIZE, seed=1), make_image(20, 3, *SIZE, seed=2)
    noise = codebook_attack(plain, disguised, target, scheme=aes_scheme(BLOCK))
    assert rates_of(noise) == (0, 0, 0)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_rows_are_numbered_as_a_dictionary_does(length, dtype):
    rows, others = (make_image(3, n, length, seed=n).remainder(2).mul(255).to(dtype) for n in (30, 50))
    others[:, ::3] = rows[:, :17]
    book = RowBook(rows)
    numbers = {}
    for group, (lines, given) in enumerate(zip(rows.tolist(), book.numbers.tolist())):
        for line, number in zip(lines, given):
            assert numbers.setdefault((group, *line), number) == number
    assert sorted(numbers.values()) == list(range(book.count))
    expected = [[numbers.get((group, *line), -1) for line in lines] for group, lines in enumerate(others.tolist())]
    assert book.find(others).tolist() == expected


def test_most_frequent():
    numbers = torch.tensor([0, 2, 1, 0, 0, 2, 1, 1, 1])
    values = torch.tensor([5, 3, 9, 4, 5, 3, 8, 9, 8])
    place, different = most_frequent(numbers, values)
    assert values[place].tolist() == [5, 8, 3]  # 8 and 9 are equally frequent
    assert different.tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"disguised": torch.zeros(2, 1, 8, 16), "target": torch.zeros(2, 1, 8, 16)}, InputTypeError, "float32"),
        ({"target": torch.zeros(2, 1, 8, 16)}, InputTypeError, "dtype"),
        ({"plain": torch.zeros(3, 1, 8, 16)}, InputShapeError, "3 and 2"),
        ({"plain": torch.zeros(2, 3, 8, 16)}, InputShapeError, r"\[3, 8, 16\]"),
        ({"plain": torch.zeros(0, 1, 8, 16)}, InputShapeError, "at least one"),
        ({"target": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)}, InputShapeError, r"\[1, 8, 8\]"),
        ({"fallback": "ones"}, InputRangeError, "most-likely"),
        ({"scheme": aes_scheme((3, 8))}, BlockSizeError, "3 x 8"),
        ({"scheme": aes_scheme(BLOCK, unit_pixels=5)}, BlockSizeError, "5 pixels"),
        ({"scheme": aes_scheme(BLOCK, channels=3)}, InputRangeError, "images' 1"),
        ({"order": torch.tensor([0, 0, 1, 2])}, BlockSizeError, "each once"),
    ],
)
def test_refusals(change, error, message):
    images = pictures(2, 0)
    given = {"plain": images, "disguised": images, "target": images, "scheme": aes_scheme(BLOCK), **change}
    with pytest.raises(error, match=message):
        codebook_attack(given.pop("plain"), given.pop("disguised"), given.pop("target"), **given)


# real digits


@pytest.fixture(scope="module")
def digits():
    root = real_data()
    if root is None:
        pytest.skip("TORCHPROTECT_DATA is not set: no real data sets here")
    train, test = (data.open_source(f"mnist:{root}:{split}") for split in ("train", "test"))
    return [torch.stack([source[n][0] for n in range(count)]) for source, count in ((train, 500), (test, 500))]


def hit_rates(plain, target, unit, noise=0.0, counts=(20, 100, 500)):
    size = (28, 28)
    key = keys.AESKey.generate(image_size=size, block_size=(4, 4) if unit == 16 else (28, 28))
    block = key.block_size
    draws = torch.Generator().manual_seed(0)

    def disguise(x):
        noisy = functional.salt_and_pepper(x, torch.rand(len(x), *size, generator=draws), noise)
        return functional.aes_ecb_disguise(noisy, key, None, unit)

    disguised, wanted = disguise(plain), disguise(target)
    return [
        rates_of(codebook_attack(plain[:m], disguised[:m], wanted, scheme=aes_scheme(block, unit_pixels=unit)))[:2]
        for m in counts
    ]


def test_hit_rates_on_digits(digits):
    whole = hit_rates(*digits, 16)
    small = hit_rates(*digits, 2)
    noisy = hit_rates(*digits, 16, noise=0.02)
    for rates in (whole, small):
        assert rates == sorted(rates)
        assert all(every > apart for every, apart in rates)
    assert all(few[1] > many[1] for few, many in zip(small, whole))
    assert all(disturbed[0] < undisturbed[0] for disturbed, undisturbed in zip(noisy, whole))
    assert whole[-1][1] < 0.1  # the paper: below 10 % with units of 16 pixels
