import pytest
import torch
from support import make_bundle, make_image, sent_to_worker

from torchprotect import keys, transforms
from torchprotect.data import ProtectedDataset
from torchprotect.errors import (
    InputRangeError,
    InputTypeError,
    KeyKindError,
    KeySizeError,
    LabelsLeftPlainWarning,
    NotInvertibleError,
)

kornia = pytest.importorskip("kornia", "0.9", reason="kornia 0.9 needs Python 3.11")
K = kornia.augmentation

from torchprotect.transforms import kornia as modules  # noqa: E402 - after the check of the version

RANGE = "float in 0..1; place the disguise before Normalize"
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
    assert torch.equal(module(LEVELS.double() / 255), transform(LEVELS).double() / 255)


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


NAN = torch.full_like(IMAGE, float("nan"))
ROUNDED = modules.from_key(AES, rounding="nearest")


class TestValues:
    """Each module takes what its disguise is defined for."""

    @pytest.mark.parametrize("module", [modules.from_key(AES), ROUNDED, modules.from_key(RMT)])
    @pytest.mark.parametrize("wrong", [IMAGE * 255, IMAGE - 1 / 255, IMAGE + 1 / 255, NAN])
    def test_outside_the_range(self, module, wrong):
        with pytest.raises(InputRangeError, match=RANGE):
            module(wrong)

    @pytest.mark.parametrize("wrong", [(IMAGE + 2e-4).clamp(0, 1), IMAGE.half()])
    def test_aes_takes_grey_levels_unless_told_to_round(self, wrong):
        with pytest.raises(InputRangeError, match=r'n/255 within 0.0001.*rounding="nearest"'):
            modules.from_key(AES)(wrong)
        torch.testing.assert_close(ROUNDED(wrong).float(), modules.from_key(AES)(IMAGE), rtol=0, atol=1e-3)

    def test_rounding_errors_are_clamped(self):
        slightly_off = IMAGE + torch.where(IMAGE < 0.5, -5e-5, 5e-5)
        assert torch.equal(modules.from_key(AES)(slightly_off), modules.from_key(AES)(IMAGE))
        inside = slightly_off.clamp(0, 1)
        assert not torch.equal(inside, slightly_off)
        assert torch.equal(modules.from_key(RMT)(slightly_off), transforms.from_key(RMT)(inside))

    def test_rmt_takes_any_value_between_grey_levels(self):
        image = torch.rand(4, 3, 16, 16)
        assert torch.equal(modules.from_key(RMT)(image), transforms.from_key(RMT)(image))
        assert torch.equal(modules.from_key(RMT)(image.double()), transforms.from_key(RMT)(image))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
    def test_block_permute_takes_any_values(self, dtype):
        image = torch.randn(4, 3, 16, 16, dtype=dtype) * 100
        out = modules.from_key(ORDER)(image)
        assert torch.equal(out, transforms.from_key(ORDER)(image))
        assert torch.equal(modules.from_key(ORDER, inverse=True)(out), image)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
    def test_block_permute_takes_any_dtype(self, dtype):
        image = (torch.rand(4, 3, 16, 16) * 200).to(dtype)
        module, expected = modules.from_key(ORDER), transforms.from_key(ORDER)(image)
        for out in (module(image), K.AugmentationSequential(module)(image), module(image[0])):
            assert out.dtype == dtype
            assert torch.equal(out, expected[: len(out)])

    def test_rounding_that_is_refused(self):
        with pytest.raises(InputRangeError, match=r"one of \('exact', 'nearest'\), got 'floor'"):
            modules.from_key(AES, rounding="floor")
        with pytest.raises(InputRangeError, match="the inverse takes exact grey levels only"):
            modules.from_key(AES, rounding="nearest", inverse=True)


NORMALIZE = K.Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])


class TestPipelines:
    """What kornia's own augmentations give, in real runs."""

    AUGMENTATIONS = [
        K.RandomAffine(30.0, translate=(0.2, 0.2), scale=(0.7, 1.3), shear=10.0, p=1.0),
        K.ColorJiggle(0.4, 0.4, 0.4, 0.1, p=1.0),
        K.RandomResizedCrop((16, 16), p=1.0),
        K.RandomRotation(45.0, p=1.0),
        K.RandomGaussianBlur((3, 3), (0.1, 2.0), p=1.0),  # leaves 0..1 by some 1e-7
    ]

    @pytest.mark.parametrize("module", [modules.from_key(ORDER), ROUNDED, modules.from_key(RMT, noise=9)])
    @pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda a: type(a).__name__)
    def test_before_a_disguise(self, augmentation, module):
        torch.manual_seed(0)
        black_and_white = (make_image(32, 3, 16, 16) > 127).float()
        for image in (IMAGE, make_image(32, 3, 16, 16).float() / 255, black_and_white):
            for _ in range(5):
                out = K.AugmentationSequential(augmentation, module, NORMALIZE, data_keys=["input"])(image)
                assert out.shape == image.shape
                assert out.isfinite().all()

    def test_rounding_takes_the_nearest_grey_level(self):
        augmented = self.AUGMENTATIONS[0](IMAGE)
        expected = transforms.from_key(AES)((augmented * 255).round().to(torch.uint8)).float() / 255
        assert torch.equal(ROUNDED(augmented), expected)

    def test_normalize_before_a_disguise(self):
        normalized = NORMALIZE(IMAGE)
        assert torch.equal(modules.from_key(ORDER)(normalized), NORMALIZE(modules.from_key(ORDER)(IMAGE)))
        for module in (modules.from_key(AES), ROUNDED, modules.from_key(RMT)):
            with pytest.raises(InputRangeError, match=RANGE):
                K.AugmentationSequential(NORMALIZE, module, data_keys=["input"])(IMAGE)


class TestFromKey:
    @pytest.mark.parametrize(
        ("bundle", "made"),
        [(ORDER, modules.BlockPermute), (AES, modules.AESECBDisguise), (RMT, modules.RMTDisguise)],
    )
    def test_same_as_the_transform(self, bundle, made):
        module = modules.from_key(bundle)
        assert type(module) is made
        assert module.disguise.describe() == transforms.from_key(bundle).describe()
        alone = modules.from_key(bundle.transform)
        assert alone.disguise.describe() == transforms.from_key(bundle.transform).describe()
        back = modules.from_key(bundle, inverse=True)(module(IMAGE))
        torch.testing.assert_close(back, IMAGE, rtol=0, atol=1e-5)

    def test_options(self):
        assert modules.from_key(AES, unit_pixels=2).disguise.unit_pixels == 2
        assert modules.from_key(RMT, noise=9).disguise.noise == 9
        assert modules.from_key(RMT, keepdim=True)(IMAGE[0]).shape == IMAGE[0].shape
        assert "rounding='nearest'" in repr(ROUNDED)

    def test_the_label_map_is_left_to_the_data_set(self):
        for bundle in (ORDER, AES, RMT):
            module = modules.from_key(bundle)
            assert "labels=left to the data set" in repr(module)
            assert "labels" not in repr(modules.from_key(bundle.transform)) + repr(modules.from_key(AES, inverse=True))
            with pytest.warns(LabelsLeftPlainWarning):
                ProtectedDataset([(IMAGE[0], 1)], module)

    def test_refusals(self):
        with pytest.raises(InputTypeError, match="BlockPermute does not take these options: noise"):
            modules.from_key(ORDER, noise=9)
        with pytest.raises(KeyKindError, match="a key is needed, got str; read one with keys.load"):
            modules.from_key("my.key")
        with pytest.raises(KeyKindError, match="no kornia module for a LabelKey; use a permutation, AES or RMT key"):
            modules.from_key(AES.labels)
        with pytest.raises(KeyKindError, match="no kornia module for a CorrespondenceKey"):
            modules.from_key(keys.KeyBundle(keys.CorrespondenceKey.generate(classes=10)), inverse=True)
        with pytest.raises(NotInvertibleError):
            modules.from_key(AES, unit_pixels=2, inverse=True)
