import json

import pytest
import torch
from disguised_shapes import BLOCK, CLASSES, SIZE, aes, aes_scheme, random_order, shapes, share
from support import make_image

from torchprotect import data
from torchprotect.attacks import Level, psnr, rarity_regression, score_classes, score_reconstruction, silhouette_attack
from torchprotect.attacks.disguise import _random_features
from torchprotect.attacks.disguise._random_features import RandomFeatureRidge
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError, InputTypeError, LabelError

LABELLED = {"classes": CLASSES, "scheme": aes_scheme()}


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(autouse=True)
def few_features(monkeypatch):
    monkeypatch.setattr(_random_features, "_FEATURES", 300)


def rare(count, seed):
    """Draw images without background, whose units are bright and frequent in class 0, darker and rare in class 1."""
    generator = draws(seed)
    labels = torch.randint(2, (count,), generator=generator)
    patterns = make_image(200, *BLOCK, seed=99) // 2
    patterns[:20] += 120
    drawn = torch.where(
        labels[:, None] == 0,
        torch.randint(20, (count, 16), generator=generator),
        torch.randint(20, 200, (count, 16), generator=generator),
    )
    return patterns[drawn].unflatten(1, (1, 4, 4)).movedim(-2, -3).reshape(count, 1, *SIZE), labels


def rmse(images, truth):
    return float((images.double() - truth.double()).square().mean().sqrt())


def test_pictures_and_classes_without_useful_silhouettes():
    (public, labels), (plain, truth) = rare(500, 1), rare(400, 2)
    disguised, given = aes(plain), {"classes": 2, "scheme": aes_scheme()}
    result = rarity_regression(public, disguised, labels=labels, generator=draws(), **given)
    assert share(result.guesses, truth) > 0.95
    assert share(silhouette_attack(public, labels, disguised, **given).guesses, truth) < 0.8
    assert rmse(result.images, plain) < 0.8 * rmse(public.float().mean(0), plain)
    assert result.level is Level.PUBLIC_DATA
    assert result.cost == {"public": 500, "disguised": 400, "features": 16}
    assert sorted(json.loads(result.to_json())) == ["cost", "guesses", "level", "repeating_share"]


def test_a_secret_order_is_recovered():
    (public, labels), (plain, truth) = shapes(1000, 1), shapes(1000, 2)
    disguised = aes(plain, order=random_order())
    given = {"classes": CLASSES, "scheme": aes_scheme(permuted=True)}
    result = rarity_regression(public, disguised, labels=labels, generator=draws(), **given)
    score = score_reconstruction(result, plain)
    assert score.mean_rmse < 0.75 * score.rmse_chance
    assert share(result.guesses, truth) > 0.95


@pytest.mark.parametrize("shared", [False, True])
def test_the_key_does_not_matter_and_undisguised_images_reveal_no_more(shared):
    (public, labels), plain = shapes(200, 1), shapes(150, 2)[0]
    given = {"labels": labels, "classes": CLASSES, "scheme": aes_scheme(shared=shared)}
    first, second = (
        rarity_regression(public, each, generator=draws(), **given) for each in (plain, aes(plain, shared=shared))
    )
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.guesses, second.guesses)


def test_fresh_noise_gives_chance_level():
    (public, labels), (plain, truth) = shapes(400, 1), shapes(400, 2)
    noise = make_image(400, 1, *SIZE)
    result = rarity_regression(public, noise, labels=labels, generator=draws(), **LABELLED)
    assert result.repeating_share == 0
    score = score_classes(result, truth)
    assert score.low <= score.chance
    pictures = score_reconstruction(result, plain)
    assert pictures.rmse_interval[1] > pictures.rmse_chance  # no better than the mean image


def test_units_that_never_repeat_tell_nothing():
    """Photographs are like this; all that comes out is one image."""
    public, plain = (make_image(60, 1, *SIZE, seed=seed) for seed in (1, 2))
    result = rarity_regression(public, aes(plain), scheme=aes_scheme(), generator=draws())
    assert result.guesses is None
    assert torch.equal(result.images, result.images[:1].expand_as(plain))
    assert rmse(result.images[0], public.double().mean(0)) < 0.5  # but for rounding


def test_shares_of_units_with_counters():
    plain = shapes(50, 3)[0]
    blocks = [tuple(image[0, :4, 4:8].flatten().tolist()) for image in plain]
    expected = sum(blocks.count(each) > 1 for each in blocks) / 50
    given = {"scheme": aes_scheme((4, 4))}
    part = plain[:, :, :4, 4:8]
    assert rarity_regression(part, aes(part), generator=draws(), **given).repeating_share == pytest.approx(expected)


def test_a_class_that_no_public_image_has_is_never_guessed():
    public, labels = shapes(200, 1)
    chosen = labels != 2
    plain = shapes(200, 2)[0]
    result = rarity_regression(public[chosen], aes(plain), labels=labels[chosen], generator=draws(), **LABELLED)
    assert set(result.guesses.tolist()) == {0, 1, 3}


def test_the_scale_is_that_of_the_public_images():
    public, plain = shapes(100, 1)[0], shapes(80, 2)[0]
    whole, unit = (
        rarity_regression(each, aes(plain), scheme=aes_scheme(), generator=draws()).images
        for each in (public, public / 255)
    )
    assert whole.dtype == torch.uint8
    assert unit.dtype == torch.float32
    assert float(psnr(unit, whole / 255).min()) > 50  # rounding


@pytest.mark.parametrize("features", [30, 80])
def test_the_regression_as_by_normal_equations(monkeypatch, features):
    """With the penalty that the left-out examples choose, found here by leaving out each in turn."""
    monkeypatch.setattr(_random_features, "_FEATURES", features)
    known, new = (torch.randn(40, 5, generator=draws(seed)) for seed in (1, 2))
    wanted = (known[:, :2] * known[:, 1:3]).double() + 0.3 * torch.randn(40, 2, generator=draws(3))
    ridge = RandomFeatureRidge(known, new, draws())
    first, second = _random_features._hidden(known, new, draws())
    scale = float(first.square().sum()) / min(features, 39)  # of the mean eigenvalue; 40 centred rows have 39

    def solved(kept, rows, strength):
        """Return answers for rows by the kept examples: penalised weights of features, and a free constant."""
        some, mean = first[kept], wanted[kept].mean(0)
        around, answers = some - some.mean(0), wanted[kept] - mean
        penalised = around.T @ around + strength * scale * torch.eye(features, dtype=torch.float64)
        return (rows - some.mean(0)) @ torch.linalg.solve(penalised, around.T @ answers) + mean

    def left_out(strength):
        places = torch.arange(40)
        errors = [solved(places != n, first[n : n + 1], strength)[0] - wanted[n] for n in places]
        return float(torch.stack(errors).square().mean())

    best = min(_random_features._STRENGTHS, key=left_out)
    expected = solved(slice(None), second, best)
    torch.testing.assert_close(ridge.of_new(wanted, ridge.best_shares(wanted)), expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"public": shapes(19, 0)[0]}, InputRangeError, "at least 20 public images .* not 19; about 5,000"),
        ({"classes": 1}, InputRangeError, "classes"),
        ({"classes": 3}, LabelError, r"0\.\.2"),
        ({"labels": None}, InputRangeError, "classes=4 without labels"),
        ({"labels": torch.zeros(24)}, InputTypeError, "int64"),
        ({"labels": torch.zeros(23, dtype=torch.int64)}, InputShapeError, "images .* and labels"),
        ({"scheme": aes_scheme(unit_pixels=5)}, BlockSizeError, "units of 5"),
        ({"scheme": aes_scheme((5, 4))}, BlockSizeError, "do not divide"),
        ({"order": torch.arange(4)}, BlockSizeError, "16 blocks"),
        ({"disguised": torch.zeros(5, 1, 16, 12)}, InputShapeError, "one size"),
        ({"disguised": torch.zeros(5, 3, 16, 16)}, InputShapeError, "one size"),
        ({"disguised": torch.zeros(24, 1, 16, 16)}, InputTypeError, "images are uint8, but these are torch.float32"),
    ],
)
def test_refuses(change, error, message):
    public = shapes(24, 0)[0]
    given = {"public": public, "labels": torch.arange(24) % 4, "disguised": public, **LABELLED, **change}
    with pytest.raises(error, match=message):
        rarity_regression(given.pop("public"), given.pop("disguised"), **given)


@pytest.mark.slow
def test_real_images_are_rebuilt(real):
    source = data.open_source(f"fashion-mnist:{real}")
    images = torch.stack([source[n].image for n in range(4000)])
    labels = torch.tensor(source.known_labels()[:4000])
    disguised = aes(images[2000:], order=random_order((4, 4), (28, 28)))
    given = {"labels": labels[:2000], "classes": 10, "scheme": aes_scheme(permuted=True)}
    result = rarity_regression(images[:2000], disguised, generator=draws(), **given)
    score = score_reconstruction(result, images[2000:])
    assert score.mean_rmse < 0.82 * score.rmse_chance
    assert share(result.guesses, labels[2000:]) > 0.45
