import json

import pytest
import torch
from support import make_image

from torchprotect import data, functional, keys
from torchprotect.attacks import Level, reconstruction_attack
from torchprotect.attacks.corrector import Corrector
from torchprotect.attacks.disguise._ridge import _STRENGTHS, ImageRidge
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError
from torchprotect.models import UNet

SIZE, BLOCK = (8, 12), (4, 4)


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


def scenes(count, seed=0, channels=1):
    """Bright rectangles on black."""
    generator = draws(seed)
    images = torch.zeros(count, channels, *SIZE, dtype=torch.uint8)
    for image in images:
        top, left = (int(torch.randint(size - 3, (), generator=generator)) for size in SIZE)
        height, width = torch.randint(2, 6, (2,), generator=generator).tolist()
        image[:, top : top + height, left : left + width] = int(torch.randint(120, 256, (), generator=generator))
    return images


def rmse(images, truth):
    return float((images.double() - truth.double()).square().mean().sqrt())


def chance(plain, target):
    return rmse(plain.double().mean(0), target)


def made_keys(kind, **options):
    made = {"rmt": keys.RMTKey, "aes": keys.AESKey}[kind]
    return (
        made.generate(image_size=SIZE, block_size=BLOCK, **options),
        keys.PermutationKey.generate(image_size=SIZE, block_size=BLOCK),
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_permuted_blocks_and_secret_matrices_are_learned(channels, device):
    key, permutation = made_keys("rmt")
    plain, target = (make_image(n, channels, *SIZE, seed=n) for n in (400, 30))
    given = [plain, *(functional.rmt_disguise(images, key, None, permutation) for images in (plain, target))]
    result = reconstruction_attack(*(x.to(device) for x in given), epochs=1, generator=draws())
    assert rmse(result.images.cpu(), target) < 2
    assert (result.images.dtype, result.images.device.type) == (torch.uint8, device.type)
    assert result.level is Level.KNOWN_PAIRS
    assert result.cost == {"pairs": 400, "regression_pairs": 400, "images": 360}
    assert set(json.loads(result.to_json())) == {"level", "cost"}


@pytest.mark.slow
@pytest.mark.parametrize("unit", [16, 4])
def test_cipher_units_are_learned_in_part(unit):
    key, permutation = made_keys("aes")
    plain, target = scenes(300, 0), scenes(100, 1)
    given = plain, *(functional.aes_ecb_disguise(x, key, permutation, unit) for x in (plain, target))
    result = reconstruction_attack(*given, epochs=2, generator=draws())
    assert rmse(result.images, target) < 0.85 * chance(plain, target)


@pytest.mark.slow
def test_the_network_makes_noisy_guesses_better():
    key, permutation = made_keys("rmt")
    plain, target = scenes(400, 0), scenes(100, 1)
    known, wanted = (
        functional.rmt_disguise(x, key, torch.rand(x.shape, generator=draws(n)) * 150, permutation)
        for n, x in enumerate((plain, target))
    )
    short, long = (reconstruction_attack(plain, known, wanted, epochs=n, generator=draws()) for n in (1, 8))
    assert rmse(long.images, target) < rmse(short.images, target) < 0.6 * chance(plain, target)


def test_floating_point_images():
    plain, target = scenes(60, 0), scenes(20, 1)
    for images in (plain, plain.double()):
        result = reconstruction_attack(images / 255, plain / 255, target / 255, epochs=1, generator=draws())
        assert result.images.dtype == (images / 255).dtype
        assert 0 <= float(result.images.min()) <= float(result.images.max()) <= 1
        assert rmse(result.images * 255, target) < 0.5 * chance(plain, target)


def test_it_is_repeatable_and_reports_progress():
    plain, target = scenes(60, 0), scenes(20, 1)
    seen = []

    def run(seed):
        return reconstruction_attack(
            plain, 255 - plain, 255 - target, epochs=2, generator=draws(seed), progress=lambda *done: seen.append(done)
        ).images

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))
    assert seen[:2] == [(1, 2), (2, 2)]


def test_torch_s_own_generator_is_left_alone():
    plain, target = scenes(60, 0), scenes(20, 1)
    before = torch.get_rng_state()
    reconstruction_attack(plain, 255 - plain, 255 - target, epochs=1, generator=draws())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("count", [1, 2, 7, 19, 20])
def test_few_pairs(count):
    plain = make_image(count, 1, *SIZE)
    result = reconstruction_attack(plain, plain.float(), plain.float(), epochs=1, generator=draws())
    assert result.cost["images"] == (18 if count == 20 else 0)
    if count == 1:
        assert torch.equal(result.images, plain)  # the mean of what is known


@pytest.mark.slow
def test_no_disguise_and_noise():
    plain, target = make_image(300, 1, *SIZE), make_image(50, 1, *SIZE, seed=1)
    same = reconstruction_attack(plain, plain, target, epochs=1, generator=draws())
    assert rmse(same.images, target) < 2
    plain, target = scenes(300, 0), scenes(200, 1)
    for noise in (make_image(500, 1, *SIZE, seed=2), torch.rand(500, 1, *SIZE, generator=draws())):
        nothing = reconstruction_attack(plain, noise[:300], noise[300:], epochs=2, generator=draws())
        assert rmse(nothing.images, target) > 0.97 * chance(plain, target)
        assert rmse(nothing.images, target) < 1.05 * chance(plain, target)  # and no worse than guessing


# the regression


def kernel_with_loops(images, known, bits, order):
    def read(image):
        pixels = image.flatten().tolist()
        return (
            [2.0 * (pixel >> n & 1) - 1 for pixel in pixels for n in range(8)] if bits else [float(p) for p in pixels]
        )

    features, reference = (torch.tensor([read(x) for x in each], dtype=torch.float64) for each in (images, known))
    spread = reference.std(0, correction=0) + 0.1 * (1 if bits else known.double().std(correction=0))
    mean = reference.mean(0)
    return (1 + ((features - mean) / spread) @ ((reference - mean) / spread).T / features.shape[1]) ** order


@pytest.mark.parametrize("kind", ["linear", "square", "bits"])
def test_regression_is_as_fitted_without_each_fold(kind):
    shown, new = make_image(24, 1, 4, 4), make_image(5, 1, 4, 4, seed=1)
    mix = torch.randn(16, 7, generator=draws(), dtype=torch.float64)
    levels = shown.flatten(1).double() / 255
    if kind == "bits":
        levels = (shown.flatten(1) >> 3 & 1).double()
    plain = (levels if kind != "square" else levels**2 + levels.roll(1, 1) * levels) @ mix
    ridge = ImageRidge(shown, plain, draws())
    kernel = kernel_with_loops(shown, shown, ridge._bits, ridge._order)
    penalty = float(1 / ridge._penalised.max() - torch.linalg.eigvalsh(kernel).clamp(min=0).min())
    assert any(penalty == pytest.approx(s * float(kernel.trace()) / 24, rel=1e-4) for s in _STRENGTHS)
    if kind != "square":
        assert ridge._bits == (kind == "bits")

    def fit(rows):
        inner = kernel[rows][:, rows] + penalty * torch.eye(len(rows), dtype=torch.float64)
        return torch.linalg.solve(inner, plain[rows] - plain.mean(0))

    every = torch.arange(24)
    expected = kernel_with_loops(new, shown, ridge._bits, ridge._order) @ fit(every) + plain.mean(0)
    torch.testing.assert_close(ridge.of_new(new), expected, rtol=1e-4, atol=1e-4)
    folds = every.chunk(5)
    found = ridge.of_known(folds)
    for fold in folds:
        rest = torch.tensor([n for n in range(24) if n not in fold])
        torch.testing.assert_close(found[fold], kernel[fold][:, rest] @ fit(rest) + plain.mean(0), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_the_correction_is_taken_over_as_far_as_it_helps():
    plain = scenes(200).float()
    blurred = torch.nn.functional.avg_pool2d(plain, 3, 1, 1)
    correct = Corrector(blurred, plain, draws())
    assert torch.equal(correct(blurred), correct(blurred))
    torch.testing.assert_close(correct(blurred), blurred, rtol=0, atol=1e-3)  # nothing before training
    assert correct.train(5, 20, 3e-3, draws(), None) == 5 * 180
    assert rmse(correct(blurred[180:]), plain[180:]) < 0.8 * rmse(blurred[180:], plain[180:])
    guess = plain.mean(0) + torch.randn(plain.shape, generator=draws())  # nothing but the mean can be known
    useless = Corrector(guess, plain, draws())
    useless.train(5, 20, 3e-3, draws(), None)
    assert 0 <= useless._share < 0.3
    other = scenes(200, 1).float()
    assert rmse(useless(guess), other) < 1.03 * rmse(guess, other)


@pytest.mark.parametrize("size", [(28, 28), (9, 13), (4, 4), (32, 20)])
@pytest.mark.parametrize("halvings", [0, 1, 2])
def test_unet(size, halvings, device):
    torch.manual_seed(0)
    network = UNet(3, 2, width=4, halvings=halvings).to(device)
    images = torch.rand(2, 3, *size, device=device)
    result = network(images)
    assert result.shape == (2, 2, *size)
    result.square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in network.parameters())
    network.eval()
    torch.testing.assert_close(network(images)[:1], network(images[:1]))


def test_unet_sees_further_with_each_halving():
    reaches = []
    for halvings in (0, 1, 2):
        torch.manual_seed(0)
        network = UNet(1, 1, width=4, halvings=halvings).eval()
        for parameter in network.parameters():
            parameter.data.abs_()  # so that no unit is dead
        images = torch.rand(1, 1, 32, 32, requires_grad=True)
        network(images)[0, 0, 16, 16].backward()
        reaches.append(int((images.grad != 0).sum()))
    assert reaches == sorted(set(reaches))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"plain": torch.zeros(3, 1, *SIZE)}, InputShapeError, "3 and 2"),
        ({"plain": torch.zeros(0, 1, *SIZE), "disguised": torch.zeros(0, 1, *SIZE)}, InputShapeError, "at least one"),
        ({"target": torch.zeros(2, 3, *SIZE)}, InputShapeError, r"\[3, 8, 12\]"),
        ({"target": torch.zeros(2, 1, *SIZE, dtype=torch.uint8)}, InputTypeError, "uint8"),
        ({"disguised": torch.full((2, 1, *SIZE), torch.nan)}, InputRangeError, "NaN"),
        ({"epochs": 0}, InputRangeError, "epochs"),
        ({"batch_size": 0}, InputRangeError, "batch_size"),
    ],
)
def test_refusals(change, error, message):
    images = torch.zeros(2, 1, *SIZE)
    given = {"plain": images, "disguised": images, "target": images, **change}
    with pytest.raises(error, match=message):
        reconstruction_attack(given.pop("plain"), given.pop("disguised"), given.pop("target"), **given)


def test_digits(real):
    train, test = (data.open_source(f"mnist:{real}:{split}") for split in ("train", "test"))
    plain, target = (torch.stack([source[n][0] for n in range(count)]) for source, count in ((train, 300), (test, 200)))
    key = keys.RMTKey.generate(image_size=(28, 28), block_size=(7, 7))
    permutation = keys.PermutationKey.generate(image_size=(28, 28), block_size=(7, 7))
    known, wanted = (
        functional.rmt_disguise(x, key, torch.rand(x.shape, generator=draws(n)) * 100, permutation)
        for n, x in enumerate((plain, target))
    )
    result = reconstruction_attack(plain, known, wanted, epochs=3, generator=draws())
    assert rmse(result.images, target) < 0.45 * chance(plain, target)
