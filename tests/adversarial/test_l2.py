import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import make_image
from torchvision.transforms.v2 import functional as tvf

from torchprotect.adversarial import distances, project, round_to_8bit
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError

LEVELS = torch.arange(256, dtype=torch.float64) / 255


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


class TestDistances:
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
    def test_over_the_whole_image(self, dtype):
        images, plain = draw(4, 3, 5, 7).to(dtype), draw(4, 3, 5, 7, seed=1).to(dtype)
        measured = distances(images, plain)
        assert measured.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        for n in range(4):
            exact = sum(float(a - b) ** 2 for a, b in zip(images[n].flatten(), plain[n].flatten())) ** 0.5
            assert float(measured[n]) == pytest.approx(exact, rel=1e-6)

    def test_any_memory_format(self):
        images, plain = draw(4, 3, 5, 7), draw(4, 3, 5, 7, seed=1)
        last = images.contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(distances(last, plain), distances(images, plain), rtol=1e-6, atol=0)
        torch.testing.assert_close(project(last, plain, 0.2), project(images, plain, 0.2), rtol=1e-6, atol=0)

    @pytest.mark.parametrize("operate", [distances, lambda a, b: project(a, b, 1.0), round_to_8bit])
    def test_bad_input(self, operate):
        with pytest.raises(InputTypeError, match=r"uint8.*divide by 255"):
            operate(torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(2, 3, dtype=torch.uint8))
        with pytest.raises(InputShapeError, match=r"\[2, 3\] and \[1, 3\]"):
            operate(torch.zeros(2, 3), torch.zeros(1, 3))
        with pytest.raises(InputShapeError):
            operate(torch.zeros(3), torch.zeros(3))


class TestProject:
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.floats(1e-4, 1e4), st.floats(1e-4, 1e3), st.integers(0, 99))
    def test_nearest_point_of_the_ball(self, eps, spread, seed):
        plain = draw(3, 2, 6, 6, seed=seed)
        images = plain + spread * (draw(3, 2, 6, 6, seed=seed + 100) - 0.5)
        moved = project(images, plain, eps)
        away = (moved.double() - plain.double()).flatten(1)
        before = (images.double() - plain.double()).flatten(1)
        assert float(away.norm(dim=1).max()) <= eps + 1e-6
        for n in range(3):
            wanted = before[n] * min(1, eps / float(before[n].norm()))
            assert float((away[n] - wanted).norm()) < 3e-6 * max(1, spread)

    def test_points_inside_the_ball_are_unchanged(self):
        plain = draw(2, 3, 4, 4)
        images = plain + 0.001
        torch.testing.assert_close(project(images, plain, 1.0), images, rtol=0, atol=1e-7)
        assert torch.equal(project(plain, plain, 0.5), plain)

    @pytest.mark.parametrize("eps", [0, -1, float("nan"), True, None])
    def test_bad_radius(self, eps):
        with pytest.raises(InputRangeError, match="eps"):
            project(draw(2, 3), draw(2, 3), eps)


class TestRound:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_nearest_level(self, dtype):
        images = draw(3, 2, 8, 8, dtype=dtype)
        rounded = round_to_8bit(images, images).double()
        gaps = (images.double()[..., None] - LEVELS).abs()
        assert float(((images.double() - rounded).abs() - gaps.min(-1).values).abs().max()) < 1e-7
        assert float((rounded[..., None] - LEVELS).abs().min(-1).values.max()) < 1e-7

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_exact_on_the_grid(self, dtype):
        levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
        images = levels.to(dtype) / 255
        assert torch.equal(round_to_8bit(images, images), images)
        assert torch.equal(round_to_8bit(images, images, eps=1e-3), images)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_uint8_survives_conversion_to_float(self, dtype):
        """torchvision multiplies by 1 / 255, which is off by a bit of the last place for some levels."""
        levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
        for images in (levels.to(dtype) / 255, tvf.to_dtype(levels, dtype, scale=True)):
            rounded = round_to_8bit(images, images, eps=1e-3)
            assert torch.equal(rounded, levels.to(dtype) / 255)
            assert torch.equal(rounded.mul(255).round().to(torch.uint8), levels)
            assert torch.equal(tvf.to_dtype(rounded, torch.uint8, scale=True), levels)

    @settings(max_examples=30, deadline=None, derandomize=True)
    @given(st.floats(0.02, 3), st.integers(0, 99))
    def test_distance_stays_within_eps_after_rounding(self, eps, seed):
        plain = make_image(4, 3, 16, 16, dtype=torch.float32, seed=seed) * 0.5
        plain = round_to_8bit(plain, plain)
        images = project(plain + draw(4, 3, 16, 16, seed=seed), plain, eps).clamp(0, 1)
        rounded = round_to_8bit(images, plain, eps=eps)
        measured = (rounded.double() - plain.double()).flatten(1).norm(dim=1)
        assert float(measured.max()) <= eps + 1e-6
        assert float(((rounded * 255) - (rounded * 255).round()).abs().max()) < 1e-4
        if eps > 0.2:  # below, all of a perturbation can lie under half a level
            assert float(measured.min()) > eps - 0.05
        # no longer part of the perturbation would do: 1 % more of it, rounded, is outside (or all of it was kept)
        whole = round_to_8bit(images, plain)
        for n in range(4):
            if not torch.equal(rounded[n], whole[n]):
                assert float(distances(whole[n : n + 1], plain[n : n + 1])) > eps

    def test_plain_rounding_where_it_stays_within_eps(self):
        plain = make_image(3, 3, 16, 16, dtype=torch.float32)
        images = project(1 - plain, plain, 0.5)
        assert torch.equal(round_to_8bit(images, plain, eps=0.6), round_to_8bit(images, plain))

    def test_each_image_is_rounded_on_its_own(self):
        plain = make_image(6, 3, 16, 16, dtype=torch.float32)
        images = torch.cat([project(1 - plain[:3], plain[:3], 0.1), project(1 - plain[3:], plain[3:], 2.0)])
        together = round_to_8bit(images, plain, eps=0.5)
        for n in range(6):
            assert torch.equal(together[n : n + 1], round_to_8bit(images[n : n + 1], plain[n : n + 1], eps=0.5))

    def test_plain_image_off_the_grid(self):
        """The rounded plain image is the nearest 8-bit image, within eps or not."""
        plain = (make_image(2, 3, 16, 16, dtype=torch.float32) * 254 + 0.5) / 255
        images = project(1 - plain, plain, 0.5)
        off = float(distances(round_to_8bit(plain, plain), plain).max())
        rounded = round_to_8bit(images, plain, eps=off / 2)
        assert torch.equal(rounded, round_to_8bit(plain, plain))
        assert float(distances(round_to_8bit(images, plain, eps=1.1 * off), plain).max()) <= 1.1 * off

    def test_rounding_distance_is_as_documented(self):
        images = draw(8, 3, 32, 32)
        assert float(distances(round_to_8bit(images, images), images).mean()) == pytest.approx(0.063, abs=0.002)

    @pytest.mark.parametrize(("value", "seen"), [(1.5, "1.5"), (-0.25, "-0.25"), (torch.nan, "nan")])
    def test_pixels_between_grey_levels(self, value, seen):
        """Values outside 0..1 would wrap around when stored."""
        images = torch.zeros(2, 3)
        images[1, 2] = value
        with pytest.raises(InputRangeError, match=seen):
            round_to_8bit(images, torch.zeros(2, 3))

    @pytest.mark.parametrize("eps", [0, -1.0, float("nan"), True])
    def test_bad_eps(self, eps):
        with pytest.raises(InputRangeError, match="eps"):
            round_to_8bit(torch.zeros(2, 3), torch.zeros(2, 3), eps=eps)

    def test_empty_batch(self):
        assert round_to_8bit(torch.zeros(0, 3, 4, 4), torch.zeros(0, 3, 4, 4), eps=0.5).shape == (0, 3, 4, 4)
