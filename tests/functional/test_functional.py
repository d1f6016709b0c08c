import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from support import make_bundle, make_image
from torchvision import tv_tensors

from torchprotect import functional as F
from torchprotect import keys
from torchprotect.errors import (
    BlockSizeError,
    InputRangeError,
    InputTypeError,
    KeySizeError,
    NotInvertibleError,
)
from torchprotect.functional._resample import scale_down, weights


@pytest.fixture
def aes():
    return make_bundle("aes")


@pytest.fixture
def rmt():
    return make_bundle("rmt")


class TestResample:
    def test_weights_are_the_ones_checked_in(self):
        table = json.loads((Path(__file__).parent.parent / "vectors" / "bicubic_weights.json").read_text())
        for factor, rows in table.items():
            assert [list(row) for row in weights(5, int(factor))] == rows

    @pytest.mark.parametrize("factor", [2, 4, 8])
    @pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 28, 33])
    def test_same_bits_as_pillow(self, size, factor):
        rows = make_image(size, (size + 1) * factor, seed=size)
        rows[: size // 2] = rows[: size // 2] // 128 * 255  # drives the filter over both ends
        large = PIL.Image.fromarray(rows.repeat_interleave(factor, 0).numpy())
        expected = large.resize((size + 1, size), PIL.Image.Resampling.BICUBIC)
        assert torch.equal(scale_down(rows, factor), torch.from_numpy(np.array(expected)))


class TestAES:
    def test_inverse(self, aes):
        image = make_image(2, 3, 16, 16)
        out = F.aes_ecb_disguise(image, aes.transform, aes.permutation)
        assert not torch.equal(out, image)
        assert torch.equal(F.aes_ecb_disguise(out, aes.transform, aes.permutation, inverse=True), image)

    def test_equal_units_at_one_position_stay_equal_and_elsewhere_differ(self, aes):
        out = F.aes_ecb_disguise(torch.zeros(2, 1, 16, 16, dtype=torch.uint8), aes.transform)
        assert torch.equal(out[0], out[1])
        assert not torch.equal(out[0, :, :4, :4], out[0, :, :4, 4:8])

    @pytest.mark.parametrize("unit", [8, 4, 2])
    def test_small_units_have_no_inverse(self, unit):
        wide = make_bundle("aes", (16, 16), (8, 8)).transform
        with pytest.raises(NotInvertibleError, match="have no inverse"):
            F.aes_ecb_disguise(make_image(3, 16, 16), wide, None, unit, inverse=True)

    def test_a_small_unit_affects_its_neighbourhood_only(self):
        """Two-pixel units: changing one pixel changes the disguise nearby, and nothing three pixels further."""
        key = make_bundle("aes", (16, 16), (8, 8)).transform
        image = make_image(1, 16, 16)
        other = image.clone()
        other[0, 8, 8] ^= 255
        changed = F.aes_ecb_disguise(image, key, None, 2) != F.aes_ecb_disguise(other, key, None, 2)
        places = changed[0].nonzero()
        assert changed[0, 8, 8:10].any()
        assert places.min() >= 6
        assert places.max() <= 11

    def test_refusals(self, aes):
        image = make_image(3, 16, 16)
        with pytest.raises(InputTypeError, match="place it before ToDtype"):
            F.aes_ecb_disguise(image.float() / 255, aes.transform)
        with pytest.raises(InputRangeError, match="unit_pixels"):
            F.aes_ecb_disguise(image, aes.transform, None, 3)
        with pytest.raises(BlockSizeError, match=r"these do: \[16, 4, 2\]"):
            F.aes_ecb_disguise(image, aes.transform, None, 8)
        with pytest.raises(KeySizeError, match="same sizes"):
            order = keys.PermutationKey.generate(image_size=(16, 16), block_size=(8, 8))
            F.aes_ecb_disguise(image, aes.transform, order)

    def test_channels(self):
        key = make_bundle("aes", channels=3).transform
        assert F.aes_ecb_disguise(make_image(3, 16, 16), key).shape == (3, 16, 16)
        with pytest.raises(KeySizeError, match="covers images of 3 channels, but the image has 1"):
            F.aes_ecb_disguise(make_image(1, 16, 16), key)


class TestRMT:
    @pytest.mark.parametrize("matrix", ["orthogonal", "uniform", "gaussian"])
    @pytest.mark.parametrize("side", ["right", "left"])
    @pytest.mark.parametrize("channels", [None, 3])
    def test_inverse(self, matrix, side, channels):
        bundle = make_bundle("rmt", matrix=matrix, side=side, channels=channels)
        image = make_image(2, 3, 16, 16)
        out = F.rmt_disguise(image, bundle.transform, None, bundle.permutation)
        assert out.dtype == torch.float32
        back = F.rmt_disguise(out, bundle.transform, None, bundle.permutation, inverse=True)
        assert back.dtype == torch.float32
        assert float((back - image).abs().max()) < 0.5  # condition numbers up to 10,000 in float32

    def test_scales(self, rmt):
        image = make_image(3, 16, 16)
        grey, unit = F.rmt_disguise(image, rmt.transform), F.rmt_disguise(image.float() / 255, rmt.transform)
        torch.testing.assert_close(grey / 255, unit, rtol=1e-5, atol=1e-5)
        assert F.rmt_disguise(image.double() / 255, rmt.transform).dtype == torch.float32

    def test_noise_is_added_before_the_matrix_on_the_grey_scale(self, rmt):
        image, delta = make_image(3, 16, 16), torch.rand(3, 16, 16) * 50
        expected = F.rmt_disguise((image.float() + delta).clamp(0, 305) / 305, rmt.transform) * 305
        torch.testing.assert_close(F.rmt_disguise(image, rmt.transform, delta), expected, rtol=1e-4, atol=1e-2)
        unit = F.rmt_disguise(image.float() / 255, rmt.transform, delta)
        torch.testing.assert_close(unit * 255, expected, rtol=1e-4, atol=1e-2)

    def test_inverse_keeps_the_noise(self, rmt):
        image, delta = make_image(3, 16, 16), torch.full((3, 16, 16), 7.0)
        back = F.rmt_disguise(F.rmt_disguise(image, rmt.transform, delta), rmt.transform, inverse=True)
        torch.testing.assert_close(back, image.float() + 7, rtol=0, atol=0.01)

    def test_refusals(self, rmt):
        image = make_image(3, 16, 16)
        for wrong in (image.float(), image.float() / 255 - 0.5, torch.full((3, 16, 16), float("nan"))):
            with pytest.raises(InputRangeError, match=r"0\.\.1; place the disguise before Normalize"):
                F.rmt_disguise(wrong, rmt.transform)
        with pytest.raises(InputTypeError, match="int16"):
            F.rmt_disguise(image.short(), rmt.transform)
        with pytest.raises(InputTypeError, match="floating point"):
            F.rmt_disguise(image, rmt.transform, inverse=True)


class TestPictures:
    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "YCbCr"])
    def test_pil_keeps_its_mode(self, aes, mode):
        bands = len(PIL.Image.new(mode, (1, 1)).getbands())
        pixels = make_image(16, 16, bands).squeeze(-1).numpy()
        picture = PIL.Image.frombytes(mode, (16, 16), pixels.tobytes())
        picture.info["exif"] = b"position"
        out = F.aes_ecb_disguise(picture, aes.transform)
        assert out.mode == mode
        assert out.info == {}
        expected = F.aes_ecb_disguise(torch.from_numpy(pixels.reshape(16, 16, bands)).movedim(-1, 0), aes.transform)
        assert out.tobytes() == expected.movedim(0, -1).contiguous().numpy().tobytes()
        assert F.aes_ecb_disguise(out, aes.transform, inverse=True).tobytes() == pixels.tobytes()

    @pytest.mark.parametrize("mode", ["1", "P", "I", "F", "I;16"])
    def test_other_modes_are_refused(self, aes, mode):
        with pytest.raises(InputTypeError, match="convert it to 'L' or 'RGB'"):
            F.aes_ecb_disguise(PIL.Image.new(mode, (16, 16)), aes.transform)

    def test_tv_tensors_keep_their_class(self, aes):
        image, video = tv_tensors.Image(make_image(3, 16, 16)), tv_tensors.Video(make_image(2, 5, 3, 16, 16))
        assert type(F.aes_ecb_disguise(image, aes.transform)) is tv_tensors.Image
        out = F.aes_ecb_disguise(video, aes.transform)
        assert type(out) is tv_tensors.Video
        assert torch.equal(out[1, 2], F.aes_ecb_disguise(video[1, 2].as_subclass(torch.Tensor), aes.transform))
        assert type(F.rmt_disguise(PIL.Image.new("L", (16, 16)), make_bundle("rmt").transform)) is tv_tensors.Image

    def test_anything_else_is_refused(self, aes):
        for wrong in (make_image(16, 16), np.zeros((3, 16, 16), np.uint8), tv_tensors.Mask(make_image(1, 16, 16)), b""):
            with pytest.raises(InputTypeError):
                F.aes_ecb_disguise(wrong, aes.transform)

    def test_wrong_size_says_what_to_do(self, aes):
        with pytest.raises(KeySizeError, match=r"16 x 16 pixels, but the image is 28 x 28.*image_size=\(28, 28\)"):
            F.aes_ecb_disguise(make_image(3, 28, 28), aes.transform)

    def test_empty_batches(self, aes, rmt):
        assert F.aes_ecb_disguise(make_image(0, 3, 16, 16), aes.transform).shape == (0, 3, 16, 16)
        assert F.rmt_disguise(make_image(0, 3, 16, 16, dtype=torch.float32), rmt.transform).shape == (0, 3, 16, 16)


class TestSaltAndPepper:
    def test_a_pixel_changes_in_all_its_channels(self):
        image = make_image(4, 3, 32, 32).clamp(1, 254)
        out = F.salt_and_pepper(image, torch.rand(4, 32, 32), 0.3)
        changed = (out != image).any(1)
        share = float(changed.float().mean())
        assert 0.25 < share < 0.35
        pixels = out.movedim(1, -1)[changed]
        assert ((pixels == pixels[:, :1]) & ((pixels == 0) | (pixels == 255))).all()
        white = float((pixels[:, 0] == 255).float().mean())
        assert 0.4 < white < 0.6

    def test_amounts_zero_and_one(self):
        image, chance = make_image(1, 8, 8).clamp(1, 254), torch.rand(8, 8)
        assert torch.equal(F.salt_and_pepper(image, chance, 0.0), image)
        assert set(F.salt_and_pepper(image, chance, 1.0).unique().tolist()) <= {0, 255}
        unit = F.salt_and_pepper(image.float() / 255, chance, 1.0)
        assert torch.equal(unit * 255, F.salt_and_pepper(image, chance, 1.0).float())
        for amount in (-0.1, 1.1, float("nan"), True, "1"):
            with pytest.raises(InputRangeError, match="fraction of pixels"):
                F.salt_and_pepper(image, chance, amount)
