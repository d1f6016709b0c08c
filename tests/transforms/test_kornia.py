import pytest
import torch
from support import make_bundle, make_image, sent_to_worker

from torchprotect import transforms
from torchprotect.errors import InputRangeError, InputTypeError, KeyKindError, KeySizeError

kornia = pytest.importorskip("kornia", "0.9", reason="kornia 0.9 needs Python 3.11")
K = kornia.augmentation

from torchprotect.transforms import kornia as modules  # noqa: E402 - after the check of the version

AES, RMT, ORDER = make_bundle("aes"), make_bundle("rmt"), make_bundle("permutation")
LEVELS = make_image(4, 3, 16, 16)
IMAGE = LEVELS.float() / 255
PAIRS = [
    (modules.BlockPermute(ORDER.transform), transforms.BlockPermute(ORDER.transform)),
    (modules.AESECBDisguise(AES.transform, permutation=AES.permutation), transforms.from_key(AES)),
    (modules.AESECBDisguise(AES.transform, unit_pixels=2), transforms.AESECBDisguise(AES.transform, unit_pixels=2)),
]


@pytest.mark.parametrize(("module", "transform"), PAIRS)
def test_same_grey_levels_as_the_transform(module, transform):
    out = module(IMAGE)
    assert out.dtype == torch.float32
    assert torch.equal(out, transform(LEVELS).float() / 255)
    assert torch.equal(module(IMAGE.double()), transform(LEVELS).double() / 255)


def test_rmt_equals_the_transform_on_floats():
    module = modules.RMTDisguise(RMT.transform, permutation=RMT.permutation)
    assert torch.equal(module(IMAGE), transforms.from_key(RMT)(IMAGE))


def test_rmt_noise_is_drawn_anew_and_replayed():
    module = modules.RMTDisguise(RMT.transform, noise=25)
    first = module(IMAGE)
    assert torch.equal(module(IMAGE, params=module._params), first)
    assert not torch.equal(module(IMAGE), first)


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: modules.BlockPermute(ORDER.transform, **kw),
        lambda **kw: modules.AESECBDisguise(AES.transform, **kw),
    ],
)
def test_inverse(make):
    assert torch.equal(make(inverse=True)(make()(IMAGE)), IMAGE)


def test_rmt_inverse():
    back = modules.RMTDisguise(RMT.transform, inverse=True)(modules.RMTDisguise(RMT.transform)(IMAGE))
    torch.testing.assert_close(back, IMAGE, rtol=0, atol=1e-5)


MODULES = [PAIRS[0][0], PAIRS[1][0], modules.RMTDisguise(RMT.transform)]


@pytest.mark.parametrize("module", MODULES)
class TestModules:
    def test_inside_augmentation_sequential(self, module):
        sequence = K.AugmentationSequential(K.RandomHorizontalFlip(p=1.0), module, data_keys=["input"])
        assert torch.equal(sequence(IMAGE), module(IMAGE.flip(-1)))

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("mask", torch.ones(4, 1, 16, 16)),
            ("bbox_xyxy", torch.tensor([[[1.0, 1.0, 5.0, 5.0]]]).repeat(4, 1, 1)),
            ("keypoints", torch.ones(4, 2, 2)),
        ],
    )
    def test_masks_boxes_and_key_points_raise(self, module, name, value):
        sequence = K.AugmentationSequential(module, data_keys=["input", name])
        with pytest.raises(InputTypeError, match="unprotected"):
            sequence(IMAGE, value)

    def test_class_labels_pass(self, module):
        labels = torch.tensor([1, 2, 3, 4])
        out, same = K.AugmentationSequential(module, data_keys=["input", "class"])(IMAGE, labels)
        assert torch.equal(same, labels)
        assert not torch.equal(out, IMAGE)

    @pytest.mark.parametrize(
        "wrong", [IMAGE + 2e-4, IMAGE * 255, IMAGE - 1 / 255, IMAGE.half(), torch.full_like(IMAGE, float("nan"))]
    )
    def test_floats_that_are_not_grey_levels_raise(self, module, wrong):
        with pytest.raises(InputRangeError, match="n/255 within 0.0001"):
            module(wrong)

    def test_floats_within_the_tolerance_are_accepted(self, module):
        torch.testing.assert_close(module(IMAGE + 5e-5), module(IMAGE), rtol=0, atol=0)

    def test_single_images_and_workers(self, module):
        assert torch.equal(module(IMAGE[0]), module(IMAGE[:1]))
        again = sent_to_worker(module)
        assert torch.equal(again(IMAGE), module(IMAGE))
        assert module.state_dict() == {}
        assert "fingerprint" in repr(module)

    def test_wrong_size(self, module):
        with pytest.raises(KeySizeError):
            module(torch.zeros(1, 3, 20, 16))


def test_wrong_kind_of_key():
    with pytest.raises(KeyKindError):
        modules.AESECBDisguise(RMT.transform)
