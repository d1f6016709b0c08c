import json

import numpy as np
import PIL.Image
import pytest
import torch
from support import make_image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from toy_world import CLASSES, SETTINGS, nature, network, own_images, released

from torchprotect.adversarial import PGDSettings
from torchprotect.attacks import (
    Level,
    orthogonal_projection,
    squeeze_bits,
    squeeze_grey,
    squeeze_jpeg,
    strong_augmentation,
    train_and_watch,
)
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError, ModelError
from torchprotect.training import Recipe, evaluate, fit


def pictures(count=4, channels=3, height=24, width=20):
    return torch.stack([make_image(channels, height, width, seed=n) for n in range(count)])


# squeezing


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("quality", [10, 75])
def test_jpeg_equals_a_written_file(channels, quality, tmp_path):
    images = pictures(channels=channels)
    done = squeeze_jpeg(images, quality)
    assert done.shape == images.shape
    assert done.dtype == torch.uint8
    for image, squeezed in zip(images, done):
        path = tmp_path / "picture.jpg"
        PIL.Image.fromarray(image.movedim(0, -1).squeeze(-1).numpy()).save(path, quality=quality)
        with PIL.Image.open(path) as opened:
            expected = torch.from_numpy(np.array(opened)).reshape(24, 20, channels).movedim(-1, 0)
        assert torch.equal(squeezed, expected)


def test_jpeg_loses_more_at_lower_quality():
    images = pictures()
    losses = [(squeeze_jpeg(images, quality).float() - images).abs().mean() for quality in (5, 10, 50, 95)]
    assert losses == sorted(losses, reverse=True)


def test_jpeg_takes_no_images_and_any_memory_format():
    assert squeeze_jpeg(torch.zeros(0, 3, 8, 8, dtype=torch.uint8)).shape == (0, 3, 8, 8)
    images = pictures()
    assert torch.equal(squeeze_jpeg(images.contiguous(memory_format=torch.channels_last)), squeeze_jpeg(images))


def test_grey_is_the_luminance():
    images = pictures()
    done = squeeze_grey(images)
    for image, grey in zip(images, done):
        expected = np.asarray(PIL.Image.fromarray(image.movedim(0, -1).numpy()).convert("L")).astype(int)
        for plane in grey:
            assert np.abs(plane.numpy().astype(int) - expected).max() <= 1  # torchvision cuts off, Pillow rounds
    scaled = squeeze_grey(images / 255)
    red, green, blue = (images / 255).unbind(1)
    torch.testing.assert_close(scaled[:, 1], 0.299 * red + 0.587 * green + 0.114 * blue, atol=1e-3, rtol=0)
    one = pictures(channels=1)
    assert torch.equal(squeeze_grey(one), one)


@pytest.mark.parametrize("bits", range(1, 9))
def test_bits_are_the_nearest_levels(bits):
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    levels = [round(255 * k / (2**bits - 1)) for k in range(2**bits)]
    done = squeeze_bits(values, bits).flatten().tolist()
    assert set(done) == set(levels)
    for value, squeezed in enumerate(done):
        assert abs(squeezed - value) <= min(abs(level - value) for level in levels) + 1  # levels are rounded themselves
    scaled = squeeze_bits(values / 255, bits)
    assert (scaled * 255 - torch.tensor(done).reshape(scaled.shape)).abs().max() <= 0.5 + 1e-3
    assert len(scaled.unique()) == 2**bits


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: squeeze_jpeg(x / 255), InputTypeError, "uint8"),
        (lambda x: squeeze_jpeg(x, 0), InputRangeError, "1 to 95"),
        (lambda x: squeeze_jpeg(x, 100), InputRangeError, "1 to 95"),
        (lambda x: squeeze_jpeg(x[0]), InputShapeError, r"\[N, C, H, W\]"),
        (lambda x: squeeze_jpeg(x[:, :2]), InputShapeError, "one or three channels"),
        (lambda x: squeeze_grey(x[:, :2]), InputShapeError, "one or three channels"),
        (lambda x: squeeze_grey(x.float()), InputRangeError, r"lie in 0\.\.255"),
        (lambda x: squeeze_grey(x.int()), InputTypeError, "int32"),
        (lambda x: squeeze_bits(x, 0), InputRangeError, "1 to 8"),
        (lambda x: squeeze_bits(x, True), InputRangeError, "1 to 8"),
        (lambda x: squeeze_bits(x / 100, 3), InputRangeError, r"0\.\.1"),
    ],
)
def test_squeezing_refuses(call, error, message):
    images = pictures()
    images[0, 0, 0, :2] = torch.tensor([0, 255])
    with pytest.raises(error, match=message):
        call(images)


# augmentation


def test_augmentation_moves_mirrors_and_cuts_each_image_in_its_own_way():
    image = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    augment = strong_augmentation(padding=2, jitter=0, hole=0, generator=torch.Generator().manual_seed(1))
    done = augment(image.expand(300, -1, -1, -1))
    padded = torch.nn.functional.pad(image[0, 0], [2] * 4)
    windows = [padded[y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
    possible = torch.stack(windows + [window.flip(1) for window in windows])  # 25 places, mirrored or not
    found = [int((possible - each).abs().amax((1, 2)).argmin()) for each in done[:, 0]]
    assert all(torch.equal(possible[n], each) for n, each in zip(found, done[:, 0]))
    assert len(set(found)) == 50


def test_augmentation_cuts_squares():
    augment = strong_augmentation(padding=0, jitter=0, hole=0.5, generator=torch.Generator().manual_seed(1))
    done = augment(torch.ones(200, 3, 8, 8))
    holes = done == 0
    assert torch.equal(holes.any(1), holes.all(1))
    rows, columns = holes[:, 0].any(2).sum(1), holes[:, 0].any(1).sum(1)
    assert int(rows.max()) == int(columns.max()) == 4
    assert torch.equal(holes[:, 0].sum((1, 2)), rows * columns)
    assert len({tuple(each.flatten().tolist()) for each in holes[:, 0]}) > 30


def test_augmentation_changes_colours_image_by_image():
    images = pictures(8) / 255
    augment = strong_augmentation(padding=0, hole=0, generator=torch.Generator().manual_seed(1))
    done = augment(images)
    assert float(done.min()) >= 0
    assert float(done.max()) <= 1
    assert bool(((done - images).abs().mean((1, 2, 3)) > 0.01).all())
    alike = augment(images[:1].expand(20, -1, -1, -1))
    assert len({tuple(each.sum((1, 2)).tolist()) for each in alike}) == 20
    same = strong_augmentation(padding=0, jitter=0, hole=0)(images)
    assert bool(torch.isclose(same, images, atol=1e-6).logical_or(torch.isclose(same, images.flip(3), atol=1e-6)).all())


def test_augmentation_repeats_with_a_generator_and_checks():
    def run():
        return strong_augmentation(generator=torch.Generator().manual_seed(3))(pictures(channels=1) / 255)

    assert torch.equal(run(), run())
    with pytest.raises(InputRangeError, match="padding"):
        strong_augmentation(padding=-1)
    with pytest.raises(InputRangeError, match="hole"):
        strong_augmentation(hole=2)
    with pytest.raises(InputTypeError, match="divide by 255"):
        strong_augmentation()(pictures())


# training


def watched(seed=0, **options):
    given = {"epochs": 4, "recipe": Recipe(learning_rate=5e-3), **options}
    model = network(seed)
    curve = train_and_watch(model, released(), own_images(), generator=torch.Generator().manual_seed(seed), **given)
    return model, curve


def test_curve():
    seen = []
    model, curve = watched(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 4) for n in (1, 2, 3, 4)]
    assert not model.training
    assert curve.last == float(curve.accuracies[-1]) == evaluate(model, own_images())
    assert curve.peak == float(curve.accuracies.max()) >= curve.last
    assert float(curve.accuracies[curve.peak_epoch - 1]) == curve.peak
    assert curve.level is Level.PUBLIC_DATA
    assert curve.cost == {"epochs": 4, "images": 4000, "passes": 0}
    assert json.loads(curve.to_json())["accuracies"] == curve.accuracies.tolist()


@pytest.mark.parametrize("options", [{}, {"precision": torch.bfloat16, "channels_last": True}])
def test_watching_does_not_change_the_training(options):
    recipe = Recipe("sgd", 0.02, label_smoothing=0.1)
    model, curve = watched(recipe=recipe, **options)
    generator = torch.Generator().manual_seed(0)
    alone = fit(network(0), released(), epochs=4, recipe=recipe, generator=generator, **options)
    assert curve.last == evaluate(alone, own_images(), **options)
    for mine, theirs in zip(model.parameters(), alone.parameters()):
        assert torch.equal(mine, theirs)


def test_the_first_of_equal_peaks_counts():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, images):
            return self.weight + torch.tensor([1.0, 0, 0, 0, 0]).expand(len(images), 5)

    curve = train_and_watch(Constant(), released(), own_images(), epochs=3)
    assert (curve.peak, curve.peak_epoch, curve.last) == (pytest.approx(0.2), 1, pytest.approx(0.2))


def test_adversarial_training_reads_the_strong_pattern():
    """Within its radius the weak pattern can be changed at will, so that the network has to look at the other one."""
    settings = PGDSettings(eps=0.5, step_size=0.25, steps=3, targeted=False, keep_best=False)
    _, plain = watched(epochs=8)
    _, hardened = watched(epochs=8, adversarial=settings)
    assert plain.last < 0.2
    assert hardened.last > 0.4
    assert hardened.cost == {"epochs": 8, "images": 8000, "passes": 24000}


def test_augmentation_is_used_and_repeats():
    def run():
        augment = strong_augmentation(padding=1, generator=torch.Generator().manual_seed(5))
        return watched(augment=augment)[1].accuracies

    assert torch.equal(run(), run())
    assert not torch.equal(run(), watched()[1].accuracies)


def test_random_starts_repeat():
    settings = PGDSettings(eps=0.5, step_size=0.2, steps=1, targeted=False, random_start=True)
    curves = [watched(epochs=2, adversarial=settings)[1].accuracies for _ in range(2)]
    assert torch.equal(*curves)


def test_loaders():
    images, labels = released()
    loader = DataLoader(TensorDataset(images, labels), batch_size=100)
    test = DataLoader(TensorDataset(*own_images()), batch_size=30)
    curve = train_and_watch(network(0), loader, test, epochs=2)
    assert curve.cost["images"] == 2000


def test_training_on_a_device(device):
    augment = strong_augmentation(generator=torch.Generator().manual_seed(0))
    settings = PGDSettings(eps=0.5, step_size=0.2, steps=1, targeted=False, random_start=True)
    generator = torch.Generator().manual_seed(0)
    given = {"epochs": 1, "augment": augment, "adversarial": settings, "generator": generator}
    curve = train_and_watch(network(0).to(device), released(), own_images(), **given)
    assert 0 <= curve.last <= 1
    squeezed = squeeze_jpeg(pictures().to(device))
    assert squeezed.device.type == device.type
    images, labels = (each.to(device) for each in class_wise(100, 0))
    assert orthogonal_projection(images, labels, classes=CLASSES, steps=5).images.device.type == device.type


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": 0}, InputRangeError, "epochs"),
        ({"adversarial": SETTINGS}, InputRangeError, "targeted=False"),
        ({"model": network(0, 3)}, LabelError, r"0\.\.2"),
        ({"model": nn.Sequential(nn.Conv2d(3, 5, 8), nn.Flatten(2))}, ModelError, r"\[1, 5, 1\]"),
        ({"data": (torch.zeros(9, 3, 8, 8), torch.zeros(8).long())}, InputShapeError, r"\[8\]"),
        ({"data": [(torch.zeros(9, 3, 8, 8, dtype=torch.uint8), torch.zeros(9).long())]}, InputTypeError, "255"),
        ({"test": (torch.zeros(9, 3, 8, 8), torch.full((9,), 5))}, LabelError, r"0\.\.4"),
    ],
)
def test_training_refuses(change, error, message):
    given = {"model": network(0), "data": nature(20, 0), "test": nature(20, 1), "epochs": 1, **change}
    with pytest.raises(error, match=message):
        train_and_watch(given.pop("model"), given.pop("data"), given.pop("test"), **given)


# projection


def class_wise(count, seed, strength=0.1):
    """Noise, plus one of five patterns that tells the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    pattern = torch.linalg.qr(torch.randn(48, CLASSES, generator=torch.Generator().manual_seed(9)))[0].T
    noise = torch.randn(count, 48, generator=generator) * 0.02
    return (0.5 + strength * pattern[labels] + noise).reshape(count, 3, 4, 4), labels


def linear_accuracy(train, test):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48), nn.Linear(48, CLASSES))
    return evaluate(fit(model, train, epochs=20, recipe=Recipe(learning_rate=1e-2)), test)


@pytest.mark.slow
def test_projection_leaves_nothing_that_a_linear_model_can_read():
    images, labels = class_wise(4000, 0)
    others, other_labels = class_wise(2000, 1)
    result = orthogonal_projection(images, labels, classes=CLASSES)
    assert result.level is Level.CIPHERTEXT_ONLY
    assert result.linear_accuracy > 0.95
    assert result.remaining_accuracy == pytest.approx(1 / CLASSES)
    assert linear_accuracy((images, labels), (others, other_labels)) > 0.95
    # a new linear model, trained on projected images, and tried on new ones with the same patterns taken out
    again = linear_accuracy((result.images, labels), (result.project(others), other_labels))
    assert again < 1 / CLASSES + 0.06


def test_projection_is_the_nearest_image_without_the_basis():
    images, labels = class_wise(500, 0)
    result = orthogonal_projection(images, labels, classes=CLASSES)
    basis = result.basis.flatten(1)
    assert len(basis) == CLASSES - 1
    torch.testing.assert_close(basis @ basis.T, torch.eye(CLASSES - 1), atol=1e-5, rtol=0)
    assert float((result.images.flatten(1) @ basis.T).abs().max()) < 1e-5
    solved = torch.linalg.lstsq(basis.T, images.flatten(1).T).solution  # slow reference: least squares
    torch.testing.assert_close(result.images.flatten(1), images.flatten(1) - (basis.T @ solved).T, atol=1e-5, rtol=0)
    torch.testing.assert_close(result.project(images), result.images)
    torch.testing.assert_close(result.project(result.images), result.images, atol=1e-5, rtol=0)


def test_projection_repeats_and_its_json_has_no_pixels():
    images, labels = class_wise(200, 0)
    first, again = (orthogonal_projection(images, labels, classes=CLASSES, steps=30) for _ in range(2))
    assert torch.equal(first.images, again.images)
    parsed = json.loads(first.to_json())
    assert set(parsed) == {"level", "cost", "linear_accuracy", "remaining_accuracy"}
    assert 30 <= parsed["cost"]["passes"] <= 61


def test_projection_refuses():
    images, labels = class_wise(50, 0)
    with pytest.raises(LabelError, match=r"0\.\.3"):
        orthogonal_projection(images, labels, classes=4)
    with pytest.raises(InputTypeError, match="divide by 255"):
        orthogonal_projection(images.to(torch.uint8), labels, classes=CLASSES)
    with pytest.raises(InputRangeError, match="steps"):
        orthogonal_projection(images, labels, classes=CLASSES, steps=0)
    with pytest.raises(InputRangeError, match="weight_decay"):
        orthogonal_projection(images, labels, classes=CLASSES, weight_decay=-1)
    with pytest.raises(InputShapeError, match=r"\[3, 4, 4\], not \[3, 5, 4\]"):
        orthogonal_projection(images, labels, classes=CLASSES, steps=2).project(torch.zeros(1, 3, 5, 4))
