import json
import math
from collections import Counter

import pytest
import torch
from disguised_shapes import BLOCK, CLASSES, SIZE, aes, aes_scheme, blocks_with_loops, random_order, shapes, share
from support import block_slices, make_image

from torchprotect import data
from torchprotect.attacks import Level, score_classes, silhouette_attack
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError, InputTypeError, LabelError

GIVEN = {"classes": CLASSES, "scheme": aes_scheme()}
PLACES = torch.arange(16)


def silhouettes_with_loops(images, unit):
    """Return maps ``[N, 1, H, W]`` and the share of units that are background."""
    maps, background = torch.zeros(len(images), *images.shape[1:]), []
    for position, (rows, columns) in enumerate(block_slices(images.shape[-2:], BLOCK)):
        for channel in range(images.shape[1]):
            blocks = [blocks_with_loops(image)[position][channel].flatten() for image in images]
            for start in range(0, 16, unit):
                units = [tuple(block[start : start + unit].tolist()) for block in blocks]
                most = Counter(units).most_common(1)[0][0]
                for n, each in enumerate(units):
                    background.append(each == most)
                    for k in range(start, start + unit):
                        maps[n, channel, rows, columns][k // 4, k % 4] = float(each != most)
    return maps.mean(1, keepdim=True), sum(background) / len(background)


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "unit"), [(1, 16), (3, 16), (1, 4)])
def test_maps_as_with_loops(channels, unit, device):
    public, labels = shapes(60, 1, channels)
    images = shapes(80, 2, channels)[0]
    images[:, :, 0, 0] = 7  # no block is even, so that the most frequent unit is none by chance
    order = random_order()
    disguised = aes(images, order=order) if unit == 16 else images.clone()
    expected, background = silhouettes_with_loops(images, unit)
    places = order.order if unit == 16 else PLACES
    given = {"classes": CLASSES, "scheme": aes_scheme(unit_pixels=unit), "order": places}
    result = silhouette_attack(*(each.to(device) for each in (public, labels, disguised)), **given)
    torch.testing.assert_close(result.silhouettes.cpu(), expected)
    assert result.background_share == pytest.approx(background)
    assert result.level is Level.PUBLIC_DATA
    assert result.cost == {"public": 60, "disguised": 80, "features": channels * 256 // unit}
    told = json.loads(result.to_json())
    assert told["guesses"] == result.guesses.tolist()
    assert told["background_share"] == result.background_share


def classes_with_loops(public, labels, disguised):
    """Let all public images vote, each by the inverse of its distance."""
    known, seen = (silhouettes_with_loops(images, 16)[0].flatten(1).tolist() for images in (public, disguised))
    guesses = []
    for image in seen:
        votes = [0.0] * CLASSES
        for each, label in zip(known, labels.tolist()):
            votes[label] += 1 / max(math.dist(image, each) / 4, 1e-9)  # a unit counts once, not by its 16 pixels
        guesses.append(max(range(CLASSES), key=votes.__getitem__))
    return guesses


def test_classes_as_with_loops():
    public, labels = shapes(50, 1)
    disguised = aes(shapes(40, 2)[0])
    result = silhouette_attack(public, labels, disguised, **GIVEN, voters=50)
    assert result.guesses.tolist() == classes_with_loops(public, labels, disguised)


def test_a_secret_order_is_recovered():
    """Each position has a key of its own; that does not help."""
    public, labels = shapes(2000, 1)
    plain, truth = shapes(2000, 2)
    order = random_order()
    disguised = aes(plain, order=order)
    found = silhouette_attack(public, labels, disguised, classes=CLASSES, scheme=aes_scheme(permuted=True))
    told = silhouette_attack(public, labels, disguised, **GIVEN, order=order.order)
    assert share(told.guesses, truth) > 0.75
    assert share(found.guesses, truth) > share(told.guesses, truth) - 0.1
    assert told.background_share > 0.5


def test_json_has_no_pictures():
    images, labels = shapes(40, 1)
    result = silhouette_attack(images, labels, images, classes=CLASSES, scheme=aes_scheme(unit_pixels=4))
    assert sorted(json.loads(result.to_json())) == ["background_share", "cost", "guesses", "level"]


def test_controls():
    """The cipher hides no silhouette; where no unit repeats there is none."""
    public, labels = shapes(600, 1)
    plain, truth = shapes(600, 2)
    as_they_are, disguised = (silhouette_attack(public, labels, each, **GIVEN) for each in (plain, aes(plain)))
    assert torch.equal(as_they_are.guesses, disguised.guesses)
    assert torch.equal(as_they_are.silhouettes, disguised.silhouettes)
    fresh = silhouette_attack(public, labels, make_image(600, 1, *SIZE), **GIVEN)
    assert fresh.background_share == pytest.approx(1 / 600)
    score = score_classes(fresh, truth)
    assert score.low <= score.chance


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"classes": 1}, InputRangeError, "classes"),
        ({"classes": 3}, LabelError, r"0\.\.2"),
        ({"voters": 0}, InputRangeError, "voters must"),
        ({"scheme": aes_scheme(unit_pixels=5)}, BlockSizeError, "units of 5"),
        ({"scheme": aes_scheme((5, 4))}, BlockSizeError, "do not divide"),
        ({"order": torch.arange(4)}, BlockSizeError, "16 blocks"),
        ({"labels": torch.zeros(9)}, InputTypeError, "int64"),
        ({"labels": torch.zeros(8, dtype=torch.int64)}, InputShapeError, "images .* and labels"),
        ({"disguised": torch.zeros(5, 1, 16, 12)}, InputShapeError, "one size"),
    ],
)
def test_refuses(change, error, message):
    public = shapes(9, 0)[0]
    given = {"public": public, "labels": torch.arange(9) % 4, "disguised": public, **GIVEN, **change}
    with pytest.raises(error, match=message):
        silhouette_attack(given.pop("public"), given.pop("labels"), given.pop("disguised"), **given)


def test_mnist_digits_are_read_from_silhouettes(real):
    source = data.open_source(f"mnist:{real}")
    images = torch.stack([source[n].image for n in range(6000)])
    labels = torch.tensor(source.known_labels()[:6000])
    disguised = aes(images[3000:], order=random_order((4, 4), (28, 28)))
    result = silhouette_attack(images[:3000], labels[:3000], disguised, classes=10, scheme=aes_scheme(permuted=True))
    assert share(result.guesses, labels[3000:]) > 0.65
    assert 0.5 < result.background_share < 0.75
