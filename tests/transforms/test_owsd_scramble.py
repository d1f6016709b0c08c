"""``OWSDScramble``: an encoder and a key as one transform."""

import PIL.Image
import pytest
import torch
from support import make_image
from torch import nn
from torchvision import tv_tensors
from torchvision.transforms import v2

from torchprotect import functional as F
from torchprotect import keys, transforms
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, KeyKindError, ModelError


class Encoder(nn.Module):
    """A small convolutional encoder to 8 numbers, with a batch norm."""

    def __init__(self, size: int = 8) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, size, 3, 2), nn.BatchNorm2d(size), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, images):
        return self.layers(images)


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return Encoder().eval()


@pytest.fixture(scope="module")
def key():
    return keys.OWSDKey.generate(embedding_size=8, image_size=(16, 16), width=4)


def test_equals_embedding_and_generator(encoder, key):
    images = make_image(5, 3, 20, 24)
    out = transforms.OWSDScramble(encoder, key)(images)
    with torch.no_grad():
        embeddings = encoder(images.float() / 255).flatten(1)
    assert torch.equal(out, F.owsd_scramble(embeddings, key))
    assert out.shape == (5, 3, 16, 16)


def test_kinds_of_pictures(encoder, key):
    scramble = transforms.OWSDScramble(encoder, key)
    image = make_image(3, 20, 24)
    expected = scramble(image)
    assert expected.shape == (3, 16, 16)
    wrapped = scramble(tv_tensors.Image(image))
    assert type(wrapped) is tv_tensors.Image
    assert torch.equal(wrapped.as_subclass(torch.Tensor), expected)
    picture = scramble(PIL.Image.fromarray(image.movedim(0, -1).numpy()))
    assert (picture.mode, picture.size) == ("RGB", (16, 16))
    floats = scramble(image.float() / 255)
    assert (floats.int() - expected.int()).abs().max() <= 1
    assert scramble(image.expand(2, 3, 3, 20, 24)).shape == (2, 3, 3, 16, 16)
    sample = scramble({"image": image, "label": 3})
    assert torch.equal(sample["image"], expected)


def test_one_equals_many(encoder, key):
    images = make_image(7, 3, 20, 24)
    out = transforms.OWSDScramble(encoder, key, batch_size=7)(images)
    assert torch.equal(out, transforms.OWSDScramble(encoder, key, batch_size=7)(images))
    for size in (1, 3):
        assert (transforms.OWSDScramble(encoder, key, batch_size=size)(images).int() - out.int()).abs().max() <= 1


def test_fails_closed(encoder, key):
    with pytest.raises(InputTypeError):
        transforms.OWSDScramble(encoder, key)(
            {"image": make_image(3, 8, 8), "mask": tv_tensors.Mask(torch.zeros(8, 8))}
        )


def test_training_mode_is_refused(key):
    torch.manual_seed(0)
    encoder = Encoder()
    with pytest.raises(ModelError, match="training mode"):
        transforms.OWSDScramble(encoder, key)(make_image(3, 20, 24))
    encoder.eval().layers[1].train()
    with pytest.raises(ModelError, match="training mode"):
        transforms.OWSDScramble(encoder, key)(make_image(3, 20, 24))


def test_train_mode_does_not_change_the_result(encoder, key):
    """A transform in training mode, as a child of a model may be, scrambles as in eval mode."""
    scramble, image = transforms.OWSDScramble(encoder, key), make_image(3, 20, 24)
    expected = scramble(image)
    scramble.train()
    assert torch.equal(scramble(image), expected)
    assert not any(module.training for module in encoder.modules())


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (Encoder(9).eval(), InputShapeError),
        (nn.Conv2d(3, 8, 3).eval(), ModelError),
        (nn.Linear(5, 8).eval(), ModelError),
        (nn.Sequential(Encoder(), nn.Threshold(1e9, torch.nan)).eval(), ModelError),
    ],
)
def test_encoders_that_cannot_be_used(key, model, error):
    with pytest.raises(error):
        transforms.OWSDScramble(model, key)(make_image(2, 3, 20, 24))


class Picky(nn.Module):
    """Refuses sizes as vision transformers do."""

    def forward(self, images):
        assert images.shape[-1] == 17, "wrong width"


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Picky().eval(), "wrong width"),
        (nn.ModuleDict().eval(), "cannot take"),
        (nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), Encoder()).eval(), "running statistics"),
    ],
)
def test_exceptions_of_encoders_are_reported(key, model, said):
    with pytest.raises(ModelError, match=said):
        transforms.OWSDScramble(model, key)(make_image(2, 3, 20, 24))


def test_encoders_get_a_copy(encoder, key):
    images = torch.rand(2, 3, 20, 24)
    before = images.clone()
    changing = nn.Sequential(v2.Normalize([0.5] * 3, [0.5] * 3, inplace=True), encoder).eval()
    transforms.OWSDScramble(changing, key)(images)
    assert torch.equal(images, before)


def test_autocast_changes_nothing(encoder, key):
    scramble, images = transforms.OWSDScramble(encoder, key), make_image(4, 3, 20, 24)
    expected = scramble(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(scramble(images), expected)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGBA", 4), ("HSV", 3)])
def test_pil_images_of_other_modes(key, mode, channels):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(channels, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1)).eval()
    picture = PIL.Image.fromarray(make_image(20, 24, 3).numpy()).convert(mode)
    made = transforms.OWSDScramble(encoder, key)(picture)
    assert (made.mode, made.size) == ("RGB", (16, 16))


def test_no_images(encoder, key):
    assert transforms.OWSDScramble(encoder, key)(make_image(0, 3, 20, 24)).shape == (0, 3, 16, 16)


def test_bad_input(encoder, key):
    for size in (0, 2.5, True):
        with pytest.raises(InputRangeError, match="batch_size"):
            transforms.OWSDScramble(encoder, key, batch_size=size)
    with pytest.raises(InputTypeError):
        transforms.OWSDScramble(encoder, key)(make_image(2, 3, 20, 24).short())
    with pytest.raises(InputRangeError):
        transforms.OWSDScramble(encoder, key)(make_image(2, 3, 20, 24).float())
    with pytest.raises(KeyKindError):
        transforms.OWSDScramble(encoder, keys.LabelKey.generate(classes=3))
    with pytest.raises(InputTypeError):
        transforms.OWSDScramble(lambda x: x, key)


def test_repr_and_state_hold_no_weights(encoder, key):
    scramble = transforms.OWSDScramble(encoder, key)
    assert scramble.state_dict() == {}
    assert "tensor" not in repr(scramble)
    assert key.fingerprint[:12] in repr(scramble)
    assert scramble.describe()["key"] == key.fingerprint
