import math

import pytest
import torch
from support import make_image

from torchprotect.attacks import psnr, ssim
from torchprotect.attacks.quality import rmse
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError


def pairs(count=3, channels=2, size=(9, 12)):
    """Pictures and the same with some noise."""
    reference = make_image(count, channels, *size, seed=1)
    noise = make_image(count, channels, *size, seed=2).int() // 4 - 32
    return (reference.int() + noise).clamp(0, 255).to(torch.uint8), reference


def mean_square_with_loops(image, reference):
    total = 0.0
    for one, other in zip(image.flatten().tolist(), reference.flatten().tolist(), strict=True):
        total += (one / 255 - other / 255) ** 2
    return total / image.numel()


def mirrored(place, length):
    place = abs(place)
    return place if place < length else 2 * (length - 1) - place


def ssim_with_loops(image, reference, window=11):
    """The formula of the paper, pixel by pixel: Gaussian weights, mirrored borders."""
    half = window // 2
    weights = [math.exp(-(d**2) / (2 * 1.5**2)) for d in range(-half, half + 1)]
    weights = [w / sum(weights) for w in weights]
    total, count = 0.0, 0
    for x, y in zip((image.double() / 255), (reference.double() / 255), strict=True):
        height, width = x.shape
        for row in range(height):
            for column in range(width):
                sums = [0.0] * 5
                for i in range(window):
                    for j in range(window):
                        at = mirrored(row + i - half, height), mirrored(column + j - half, width)
                        w, a, b = weights[i] * weights[j], float(x[at]), float(y[at])
                        for n, value in enumerate((a, b, a * a, b * b, a * b)):
                            sums[n] += w * value
                mx, my, xx, yy, xy = sums
                c1, c2 = 0.01**2, 0.03**2
                top = (2 * mx * my + c1) * (2 * (xy - mx * my) + c2)
                total += top / ((mx**2 + my**2 + c1) * (xx - mx**2 + yy - my**2 + c2))
                count += 1
    return total / count


def test_psnr_and_rmse():
    images, reference = pairs()
    expected = [mean_square_with_loops(*pair) for pair in zip(images, reference, strict=True)]
    found = psnr(images, reference)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, torch.tensor([-10 * math.log10(each) for each in expected]))
    torch.testing.assert_close(rmse(images, reference), torch.tensor([255 * math.sqrt(each) for each in expected]))


@pytest.mark.parametrize(("size", "window"), [((9, 12), 11), ((4, 12), 7), ((6, 6), 11)])
def test_ssim(size, window):
    images, reference = pairs(2, 2, size)
    expected = [ssim_with_loops(*pair, window) for pair in zip(images, reference, strict=True)]
    torch.testing.assert_close(ssim(images, reference), torch.tensor(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize("measure", [psnr, rmse, ssim])
def test_batch_equals_singles_and_sets_may_have_different_types(measure, device, monkeypatch):
    images, reference = (each.to(device) for each in pairs(5))
    together = measure(images, reference)
    singles = torch.cat([measure(images[n : n + 1], reference[n : n + 1]) for n in range(5)])
    torch.testing.assert_close(together, singles)
    torch.testing.assert_close(measure(images.float() / 255, reference), together)
    torch.testing.assert_close(measure(images, reference.double() / 255), together)
    monkeypatch.setattr("torchprotect.attacks.quality._AT_ONCE", 2 * images[0].numel())
    torch.testing.assert_close(measure(images, reference), together)


def test_equal_images_and_opposite_ones():
    images = make_image(3, 1, 16, 16)
    assert psnr(images, images).tolist() == [math.inf] * 3
    assert rmse(images, images).tolist() == [0] * 3
    torch.testing.assert_close(ssim(images, images), torch.ones(3))
    black, white = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)
    assert psnr(black, white).tolist() == [0]
    assert rmse(black, white).tolist() == [255]
    assert ssim(black, white).item() < 1e-3
    assert ssim(black, black).item() == 1


@pytest.mark.parametrize("measure", [psnr, rmse, ssim])
@pytest.mark.parametrize(
    ("images", "reference", "error", "message"),
    [
        (torch.zeros(2, 1, 8, 8), torch.zeros(3, 1, 8, 8), InputShapeError, "as many images"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 1, 8, 9), InputShapeError, "one size"),
        (torch.zeros(2, 8, 8), torch.zeros(2, 8, 8), InputShapeError, "at least one image"),
        (torch.zeros(0, 1, 8, 8), torch.zeros(0, 1, 8, 8), InputShapeError, "at least one image"),
        (torch.full((2, 1, 8, 8), 7.0), torch.zeros(2, 1, 8, 8), InputRangeError, "lie in 7..7"),
        (torch.zeros(2, 1, 8, 8), torch.full((2, 1, 8, 8), -1.0), InputRangeError, "reference"),
        (torch.full((2, 1, 8, 8), math.nan), torch.zeros(2, 1, 8, 8), InputRangeError, "NaN"),
        (torch.zeros(2, 1, 8, 8).int(), torch.zeros(2, 1, 8, 8), InputTypeError, "int32"),
    ],
)
def test_bad_input(measure, images, reference, error, message):
    with pytest.raises(error, match=message):
        measure(images, reference)
