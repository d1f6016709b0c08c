"""Bugs of public implementations of the paper on image disguising: none of them is ours."""

import subprocess
import sys

import pytest
import torch
from support import Pictures, content, make_bundle, make_image
from torchvision import tv_tensors

from torchprotect import data, keys, transforms
from torchprotect import functional as F
from torchprotect.errors import BlockSizeError, InputTypeError

SIZES = {"image_size": (16, 16), "block_size": (4, 4)}


def test_noise_is_applied():
    """One builds a list of noisy images and returns the clean one."""
    transform = transforms.RMTDisguise(keys.RMTKey.generate(**SIZES), noise=50)
    image = make_image(1, 16, 16)
    back = F.rmt_disguise(transform(image), transform.key, inverse=True) - image
    assert 20 < float(back.mean()) < 30
    assert 10 < float(back.std()) < 20


@pytest.mark.slow
def test_permutations_differ_between_keys():
    """One shuffles with a fixed seed; the caller's seed is never passed on."""
    program = (
        "from torchprotect import keys;"
        "print(keys.PermutationKey.generate(image_size=(64, 64), block_size=(4, 4)).order.tolist())"
    )
    orders = {subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout for _ in range(2)}
    assert len(orders) == 2


def test_rgb_gets_noise_in_every_channel():
    """One skips the noise on the RGB path."""
    key = keys.RMTKey.generate(**SIZES)
    image = make_image(3, 16, 16)
    back = F.rmt_disguise(transforms.RMTDisguise(key, noise=50)(image), key, inverse=True) - image
    assert (back.mean((1, 2)) > 15).all()
    assert not torch.allclose(back[0], back[1], atol=1)


def test_each_position_has_its_own_key():
    """One uses a single AES key everywhere unless told otherwise."""
    out = F.aes_ecb_disguise(torch.zeros(1, 16, 16, dtype=torch.uint8), keys.AESKey.generate(**SIZES))
    blocks = out.unfold(1, 4, 4).unfold(2, 4, 4).reshape(16, 16)
    assert len(blocks.unique(dim=0)) == 16


@pytest.mark.parametrize("unit", [2, 4])
def test_small_units_are_scaled_back_down(unit):
    """One scales up and never down again."""
    image = make_image(3, 16, 16)
    assert F.aes_ecb_disguise(image, keys.AESKey.generate(**SIZES), None, unit).shape == image.shape


def test_aes_accepts_no_noise_argument():
    """One accepts noise settings for AES and does nothing with them."""
    with pytest.raises(InputTypeError, match="does not take these options"):
        transforms.from_key(keys.AESKey.generate(**SIZES), noise=10)


def test_disguised_data_is_written_losslessly(tmp_path):
    """One saves disguised samples as JPEG."""
    bundle = make_bundle("aes")
    data.export(Pictures(4), tmp_path / "out", transform=transforms.from_key(bundle), key=bundle)
    undo = transforms.from_key(bundle, inverse=True)
    plain = {bytes(Pictures(4)[i][0].flatten().tolist()) for i in range(4)}
    assert {bytes(undo(image).flatten().tolist()) for image, _ in data.read(tmp_path / "out")} == plain
    assert b"JFIF" not in b"".join(content(tmp_path / "out").values())


def test_pixels_are_unsigned():
    """One keeps cipher bytes as signed 8-bit numbers."""
    out = F.aes_ecb_disguise(make_image(1, 16, 16), keys.AESKey.generate(**SIZES))
    assert out.dtype == torch.uint8
    assert int(out.max()) > 127


def test_noise_comes_before_the_matrix():
    """One adds the noise after the rotation, where it stays uniform."""
    key = keys.RMTKey.generate(**SIZES, matrix="gaussian")
    image, delta = make_image(1, 16, 16), torch.rand(1, 16, 16) * 50
    after = F.rmt_disguise(image, key, delta) - F.rmt_disguise(image, key)
    torch.testing.assert_close(after, F.rmt_disguise(delta / 50, key) * 50, rtol=1e-3, atol=1e-2)


def test_sizes_that_do_not_divide_are_named():
    """One goes wrong without a word when blocks do not divide the image."""
    with pytest.raises(BlockSizeError, match="do not divide"):
        keys.RMTKey.generate(image_size=(28, 28), block_size=(5, 5))


def test_no_device_is_hard_coded():
    """One calls .cuda() whatever the machine. The result is where the image is."""
    image = make_image(1, 16, 16)
    assert F.block_permute(image.to("meta"), keys.PermutationKey.generate(**SIZES)).device.type == "meta"
    assert F.aes_ecb_disguise(image.to("meta"), keys.AESKey.generate(**SIZES)).device.type == "meta"


def test_incomplete_cipher_units_are_refused():
    """Blocks of 7 x 7 leave one byte over: it must neither pass in clear nor grow the image."""
    with pytest.raises(BlockSizeError):
        keys.AESKey.generate(image_size=(28, 28), block_size=(7, 7))


def test_byte_vectors_are_not_taken_for_labels():
    encoded = torch.frombuffer(bytearray(b"\xff\xd8\xff\xe0" * 10), dtype=torch.uint8)
    with pytest.raises(InputTypeError, match="unprotected; decode the file first"):
        transforms.from_key(keys.AESKey.generate(**SIZES))((tv_tensors.Image(make_image(1, 16, 16)), encoded))
