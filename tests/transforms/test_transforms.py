import collections
import copy
import io
import warnings

import numpy as np
import PIL.Image
import pytest
import torch
from support import Pictures, make_bundle, make_image, sent_to_worker
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from torchprotect import data, keys, transforms
from torchprotect import functional as F
from torchprotect.data import ProtectedDataset
from torchprotect.errors import (
    InputRangeError,
    InputTypeError,
    KeyKindError,
    KeySizeError,
    NotInvertibleError,
    PixelScaleWarning,
)

AES, RMT, ORDER = make_bundle("aes"), make_bundle("rmt"), make_bundle("permutation")
DETERMINISTIC = [
    transforms.BlockPermute(ORDER.transform),
    transforms.AESECBDisguise(AES.transform, permutation=AES.permutation),
    transforms.AESECBDisguise(AES.transform, unit_pixels=2),
    transforms.RMTDisguise(RMT.transform, permutation=RMT.permutation),
]
_MODES = ("L", "LA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB")
ALL = [*DETERMINISTIC, transforms.RMTDisguise(RMT.transform, noise=25), transforms.SaltAndPepper(0.1)]


def each(transformations):
    return pytest.mark.parametrize("transform", transformations, ids=lambda t: type(t).__name__)


@each(DETERMINISTIC)
class TestDeterministic:
    def test_single_images_equal_the_batch(self, transform):
        batch = make_image(4, 3, 16, 16)
        assert torch.equal(transform(batch), torch.stack([transform(image) for image in batch]))

    def test_pil_equals_tensor(self, transform):
        image = make_image(3, 16, 16)
        picture = transform(PIL.Image.fromarray(image.movedim(0, -1).numpy()))
        out = v2.functional.pil_to_tensor(picture) if isinstance(picture, PIL.Image.Image) else picture
        assert torch.equal(out.as_subclass(torch.Tensor), transform(image))

    def test_workers_and_copies(self, transform):
        image = make_image(3, 16, 16)
        for other in (sent_to_worker(transform), copy.deepcopy(transform)):
            assert torch.equal(other(image), transform(image))

    @pytest.mark.slow
    @pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
    def test_workers_give_the_same(self, transform, context):
        if context != "fork" and transform is not DETERMINISTIC[1]:
            pytest.skip("one transform is enough for the slow start methods")
        dataset = ProtectedDataset(Pictures(8), transform)
        alone = list(DataLoader(dataset, batch_size=3))
        workers = list(DataLoader(dataset, batch_size=3, num_workers=2, multiprocessing_context=context))
        for (image, label), (other, same) in zip(alone, workers, strict=True):
            assert torch.equal(image, other)
            assert torch.equal(label, same)

    def test_channels_last_is_kept(self, transform):
        batch = make_image(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
        out = transform(batch)
        assert out.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(out, transform(batch.contiguous()))


@each(ALL)
class TestSamples:
    def test_structure_is_kept(self, transform):
        Point = collections.namedtuple("Point", "image label")
        image = tv_tensors.Image(make_image(3, 16, 16))
        sample = {
            "a": [image, (PIL.Image.new("RGB", (16, 16)), 3)],
            "b": Point(tv_tensors.Image(image), "cat"),
            "c": None,
        }
        out = transform(sample)
        assert out["a"][1][1] == 3
        assert out["b"].label == "cat"
        assert out["c"] is None
        for plain, done in ((image, out["a"][0]), (image, out["b"].image)):
            assert done.shape == plain.shape
            assert not torch.equal(done, plain)
        first, second = transform(image, 5)
        assert type(first) is tv_tensors.Image
        assert second == 5

    def test_labels_pass(self, transform):
        labels = (3, "cat", 1.5, None, torch.tensor(3), torch.tensor([1, 2]), np.int64(3), np.array([1, 2]), True)
        image = make_image(2, 3, 16, 16)
        out = transform((image, *labels))
        assert not torch.equal(out[0], image)
        assert out[1:4] == labels[:3]
        label_first = transform((torch.tensor(3), image))
        assert int(label_first[0]) == 3
        assert not torch.equal(label_first[1], image)

    @pytest.mark.parametrize(
        "other",
        [
            tv_tensors.Mask(torch.zeros(16, 16)),
            tv_tensors.BoundingBoxes([[0, 0, 4, 4]], format="XYXY", canvas_size=(16, 16)),
            torch.zeros(2, 2),
            torch.zeros(3, 16, 16),
            np.zeros((16, 16)),
            np.array([b"x"], dtype=object),
            np.bytes_(b"\x89PNG"),
            np.array(b"\x89PNG"),
            np.array([b"\x89PNG"]),
            np.void(b"\x89PNG"),
            np.zeros(1, [("pixels", "u1", (8, 8))]),
            torch.zeros(64, dtype=torch.int8),
            b"\x89PNG",
            bytearray(b"x"),
            object(),
            io.BytesIO(b"x"),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_values_that_would_be_left_unprotected_raise(self, transform, other):
        for picture in (tv_tensors.Image(make_image(3, 16, 16)), make_image(3, 16, 16)):
            with pytest.raises(InputTypeError):
                transform((picture, other))
            with pytest.raises(InputTypeError):
                transform({"first": other, "second": [picture]})

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.zeros((16, 16, 3), np.uint8), r"numpy.ndarray unprotected; .*v2.ToImage\(\)"),
            (b"\x89PNG", "bytes unprotected; decode the file first"),
            (io.BytesIO(b"\x89PNG"), "BytesIO unprotected; decode the file first"),
            (torch.zeros(64, dtype=torch.uint8), "Tensor unprotected; decode the file first"),
            (object(), "take it out of the sample"),
        ],
    )
    def test_messages_say_how_to_make_a_picture(self, transform, value, message):
        for sample in (value, (value, 3), {"image": value, "label": 3}):
            with pytest.raises(InputTypeError, match=message):
                transform(sample)

    def test_one_hot_rows_beside_a_batch(self, transform):
        with pytest.raises(InputTypeError, match=r"argmax\(-1\), in place of one-hot rows"):
            transform((make_image(4, 3, 16, 16), torch.eye(4)))

    def test_samples_without_a_picture_raise(self, transform):
        for sample in ((3, "cat"), torch.tensor(3), {}, make_image(3, 4, 4).tolist()):
            with pytest.raises(InputTypeError, match="no picture"):
                transform(sample)

    def test_no_secret_in_repr_or_state(self, transform):
        text = repr(transform)
        assert type(transform).__name__ in text
        assert "tensor(" not in text
        assert transform.state_dict() == {}
        assert transform.security_claim == "obfuscation"

    def test_description_is_public_and_json(self, transform):
        import json

        described = json.loads(json.dumps(transform.describe()))
        assert described["name"] == type(transform).__name__


@pytest.mark.parametrize("transform", [DETERMINISTIC[0], DETERMINISTIC[1], DETERMINISTIC[3]])
def test_from_key_inverse(transform):
    bundle = {transforms.BlockPermute: ORDER, transforms.AESECBDisguise: AES, transforms.RMTDisguise: RMT}[
        type(transform)
    ]
    image = make_image(3, 16, 16)
    back = transforms.from_key(bundle, inverse=True)(transform(image))
    torch.testing.assert_close(back.float(), image.float(), rtol=0, atol=0 if back.dtype == torch.uint8 else 1e-3)


def test_from_key_options_and_refusals():
    assert transforms.from_key(AES.transform, unit_pixels=4).unit_pixels == 4
    assert transforms.from_key(RMT, noise=10).noise == 10
    with pytest.raises(InputTypeError, match="does not take these options"):
        transforms.from_key(ORDER, noise=10)
    with pytest.raises(KeyKindError, match="LabelKey"):
        transforms.from_key(AES.labels)


def test_key_of_another_kind():
    with pytest.raises(KeyKindError, match="must be an AESKey, got PermutationKey"):
        transforms.AESECBDisguise(ORDER.transform)
    with pytest.raises(KeyKindError, match="from_key"):
        transforms.AESECBDisguise(AES)
    with pytest.raises(KeyKindError, match="permutation must be a PermutationKey"):
        transforms.RMTDisguise(RMT.transform, permutation=AES.transform)
    with pytest.raises(KeySizeError):
        wrong = keys.PermutationKey.generate(image_size=(16, 16), block_size=(8, 8))
        transforms.RMTDisguise(RMT.transform, permutation=wrong)


def test_refused_settings():
    with pytest.raises(NotInvertibleError):
        transforms.AESECBDisguise(AES.transform, unit_pixels=2, inverse=True)
    with pytest.raises(InputRangeError, match="adds no noise"):
        transforms.RMTDisguise(RMT.transform, noise=5, inverse=True)
    for noise in (-1, float("nan"), float("inf"), True):
        with pytest.raises(InputRangeError, match="grey levels"):
            transforms.RMTDisguise(RMT.transform, noise=noise)
    with pytest.raises(InputRangeError, match="fraction"):
        transforms.SaltAndPepper(2)


class TestNoise:
    def test_fresh_for_each_call_and_picture(self):
        transform, image = transforms.RMTDisguise(RMT.transform, noise=25), make_image(3, 16, 16)
        assert not torch.equal(transform(image), transform(image))
        first, second = transform((tv_tensors.Image(image), tv_tensors.Image(image)))
        assert not torch.equal(first, second)

    def test_follows_torchs_seed(self):
        transform, image = transforms.SaltAndPepper(0.5), make_image(3, 16, 16)
        torch.manual_seed(3)
        first = transform(image)
        torch.manual_seed(3)
        assert torch.equal(transform(image), first)

    def test_own_source(self):
        transform, image = transforms.RMTDisguise(RMT.transform, noise=8), make_image(3, 16, 16)
        transform.noise_source = lambda shape: torch.full(shape, 0.5)
        expected = F.rmt_disguise(image, RMT.transform, torch.full((3, 16, 16), 4.0))
        assert torch.equal(transform(image), expected)

    def test_is_drawn_in_the_shape_of_any_picture(self):
        transform = v2.Compose([transforms.SaltAndPepper(0.1), transforms.RMTDisguise(RMT.transform, noise=5)])
        for picture in (
            PIL.Image.new("RGB", (16, 16)),
            tv_tensors.Video(make_image(2, 3, 16, 16)),
            make_image(16, 16)[None],
        ):
            assert transform(picture).dtype == torch.float32


def test_one_line_in_a_compose():
    pipeline = v2.Compose(
        [v2.ToImage(), v2.RandomHorizontalFlip(), transforms.from_key(AES), v2.ToDtype(torch.float32)]
    )
    image, label = pipeline(PIL.Image.new("RGB", (16, 16)), 3)
    assert image.dtype == torch.float32
    assert label == 3


@pytest.mark.cuda
@each(DETERMINISTIC)
def test_cuda_gives_the_bits_of_the_cpu(transform):
    image = make_image(4, 3, 16, 16)
    assert torch.equal(transform(image.cuda()).cpu(), transform(image))


@pytest.mark.parametrize("mode", _MODES)
def test_every_mode_of_pillow_with_8_bit_planes(mode):
    bands = [
        PIL.Image.fromarray(plane.numpy()) for plane in make_image(len(PIL.Image.new(mode, (1, 1)).getbands()), 16, 16)
    ]
    picture = PIL.Image.merge(mode, bands)
    planes = v2.functional.pil_to_tensor(picture)
    disguise, restore = (transforms.BlockPermute(ORDER.transform, inverse=inverse) for inverse in (False, True))
    done = disguise(picture)
    assert done.mode == mode
    assert torch.equal(v2.functional.pil_to_tensor(done), disguise(planes))
    assert restore(done).tobytes() == picture.tobytes()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (ORDER.transform, "key must be an AESKey, got PermutationKey$"),
        (AES, "key must be an AESKey, got KeyBundle; hand"),
        ("my.key", "key must be an AESKey, got str$"),
    ],
)
def test_articles(key, message):
    with pytest.raises(KeyKindError, match=message):
        transforms.AESECBDisguise(key)
    with pytest.raises(KeyKindError, match="^key must be an RMTKey, got"):
        transforms.RMTDisguise(key)
    with pytest.raises(KeyKindError, match="^key must be a PermutationKey, got"):
        transforms.BlockPermute(AES.transform)


class TestScaleOfRMT:
    """8-bit pixels come out on 0..255, where a later ToDtype does nothing: training fell to chance in silence."""

    PIXELS = make_image(3, 16, 16)

    @pytest.mark.parametrize("picture", [PIXELS, tv_tensors.Image(PIXELS), v2.functional.to_pil_image(PIXELS)])
    def test_warns_once(self, picture):
        disguise = transforms.RMTDisguise(RMT.transform)
        with pytest.warns(PixelScaleWarning, match="place v2.ToImage"):
            disguise((picture, 3))
        with warnings.catch_warnings():
            warnings.simplefilter("error", PixelScaleWarning)
            disguise(picture)

    def test_the_pipeline_that_the_message_shows(self):
        steps = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), transforms.RMTDisguise(RMT.transform)]
        with warnings.catch_warnings():
            warnings.simplefilter("error", PixelScaleWarning)
            done = v2.Compose(steps)(v2.functional.to_pil_image(self.PIXELS))
        with pytest.warns(PixelScaleWarning):
            on_grey_levels = transforms.RMTDisguise(RMT.transform)(self.PIXELS)
        torch.testing.assert_close(done.as_subclass(torch.Tensor), on_grey_levels / 255, rtol=0, atol=1e-5)

    def test_inverse_function_and_export_are_silent(self, tmp_path):
        disguise = transforms.from_key(RMT)
        with warnings.catch_warnings():
            warnings.simplefilter("error", PixelScaleWarning)
            disguised = F.rmt_disguise(self.PIXELS, RMT.transform, None, RMT.permutation)
            transforms.from_key(RMT, inverse=True)(disguised)
            data.export(Pictures(4), tmp_path, transform=disguise, key=RMT)
        with pytest.warns(PixelScaleWarning):
            disguise(self.PIXELS)
