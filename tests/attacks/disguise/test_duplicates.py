import json
import math
from collections import Counter

import pytest
import torch
from disguised_shapes import aes, aes_scheme, blocks_with_loops, permute_scheme, random_order, rmt, rmt_scheme, shapes
from support import make_image

from torchprotect import data, functional
from torchprotect.attacks import Level, duplicate_statistics
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError


def repeated_set(channels=1):
    """Images of which some are there twice or three times, in any order."""
    images = shapes(50, 0, channels)[0]
    several = torch.cat([images, images[:6], images[:2]])
    return several[torch.randperm(58, generator=torch.Generator().manual_seed(0))]


def count_with_loops(images, unit):
    whole = Counter(tuple(image.flatten().tolist()) for image in images)
    groups = sum(count > 1 for count in whole.values())
    share = sum(count for count in whole.values() if count > 1) / len(images)
    seen, most = [], []
    blocks = [blocks_with_loops(image) for image in images]
    for position in range(len(blocks[0])):
        repeats = []
        for channel in range(images.shape[1]):
            for start in range(0, 16, unit):
                units = [tuple(each[position][channel].flatten()[start : start + unit].tolist()) for each in blocks]
                counts = Counter(units)
                repeats += [counts[each] > 1 for each in units]
                most.append(max(counts.values()) / len(images))
        seen.append(sum(repeats) / len(repeats))
    return groups, share, seen, sum(most) / len(most)


@pytest.mark.parametrize(("channels", "unit"), [(1, 16), (3, 16), (2, 4)])
def test_as_with_counters(channels, unit, device):
    images = repeated_set(channels)
    groups, share, seen, background = count_with_loops(images, unit)
    result = duplicate_statistics(images.to(device), scheme=aes_scheme(unit_pixels=unit))
    assert (result.image_groups, result.image_share) == (groups, pytest.approx(share))
    assert result.unit_share_by_position.tolist() == pytest.approx(seen)
    assert result.unit_share == pytest.approx(sum(seen) / 16)
    assert result.background_share == pytest.approx(background)
    assert result.level is Level.CIPHERTEXT_ONLY
    assert result.cost == {"images": 58, "units": 58 * channels * 256 // unit}
    assert json.loads(result.to_json())["image_groups"] == groups >= 6


def test_a_cipher_shows_the_same_as_the_plain_images():
    images = repeated_set()
    plain, disguised = (duplicate_statistics(each, scheme=aes_scheme()) for each in (images, aes(images)))
    assert plain.to_json() == disguised.to_json()
    permuted = duplicate_statistics(aes(images, order=random_order()), scheme=aes_scheme(permuted=True))
    assert permuted.unit_share == pytest.approx(plain.unit_share)
    assert permuted.background_share == pytest.approx(plain.background_share)


def test_noise_leaves_nothing_equal():
    images = repeated_set()
    groups = duplicate_statistics(images).image_groups
    for repeatable in (rmt(images), functional.block_permute(images, random_order())):
        assert duplicate_statistics(repeatable).image_groups == groups
    noisy = duplicate_statistics(rmt(images, noise=1), scheme=aes_scheme())
    assert (noisy.image_groups, noisy.image_share, noisy.unit_share) == (0, 0, 0)


def test_units_that_never_repeat():
    result = duplicate_statistics(make_image(200, 1, 16, 16), scheme=aes_scheme())
    assert (result.image_groups, result.image_share, result.unit_share) == (0, 0, 0)
    assert result.background_share == pytest.approx(1 / 200)


@pytest.mark.parametrize("scheme", [None, rmt_scheme(), permute_scheme()])
def test_without_a_cipher_only_images_count(scheme):
    result = duplicate_statistics(repeated_set(), scheme=scheme)
    assert result.image_groups >= 6
    assert math.isnan(result.unit_share)
    assert math.isnan(result.background_share)
    assert result.unit_share_by_position.shape == (0,)
    assert result.cost == {"images": 58, "units": 0}
    assert json.loads(result.to_json())["unit_share"] is None


@pytest.mark.parametrize(
    ("images", "options", "error", "message"),
    [
        (torch.zeros(0, 1, 8, 8), {}, InputShapeError, "at least one"),
        (torch.zeros(8, 8), {}, InputShapeError, r"\[N, C, H, W\]"),
        (torch.full((2, 1, 8, 8), torch.inf), {}, InputRangeError, "infinity"),
        (torch.zeros(2, 1, 8, 8), {"scheme": aes_scheme((3, 4))}, BlockSizeError, "do not divide"),
        (torch.zeros(2, 1, 8, 8), {"scheme": aes_scheme(unit_pixels=3)}, BlockSizeError, "units of 3"),
    ],
)
def test_refuses(images, options, error, message):
    with pytest.raises(error, match=message):
        duplicate_statistics(images, **options)


def test_mnist_has_background(real):
    source = data.open_source(f"mnist:{real}")
    images = torch.stack([source[n].image for n in range(1000)])
    result = duplicate_statistics(aes(images), scheme=aes_scheme())
    assert result.image_groups == 0
    assert 0.5 < result.background_share < result.unit_share < 0.8
    assert float(result.unit_share_by_position.max()) == 1  # a corner is never drawn in
