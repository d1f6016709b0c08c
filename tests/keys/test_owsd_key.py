"""Keys of one way scrambling: weights, calibration, refusal of flat images, files."""

import contextlib
import copy

import pytest
import torch
from support import sent_to_worker

from torchprotect import functional as F
from torchprotect import keys
from torchprotect.errors import InputRangeError, InputShapeError, KeyFileError, KeyIntegrityError
from torchprotect.keys import owsd

SIZES = {"embedding_size": 32, "image_size": (32, 32), "width": 8}


@pytest.fixture(scope="module")
def key():
    return keys.OWSDKey.generate(**SIZES)


def test_weights_follow_he(key):
    """Standard normals times sqrt(2 / products in a sum)."""
    for name, products in (("layers.0.weight", 32), ("layers.3.weight", 32 * 4), ("layers.6.weight", 16 * 4)):
        weight = key.generator[name]
        assert float(weight.std()) == pytest.approx((2 / products) ** 0.5, rel=0.1)
        assert abs(float(weight.mean())) < 0.2 * float(weight.std())


def test_images_span_the_range_and_differ(key):
    made = F.owsd_scramble(-torch.rand(64, 32).log(), key).float()
    assert made.std() > 30
    assert (made.amax(0) - made.amin(0)).mean() > 60


def test_the_usual_initialisation_gives_a_flat_image():
    """Why statistics are calibrated: DCGAN's N(0, 0.02) without them leaves nothing at 8 bits."""
    network = keys.OWSDKey.generate(**SIZES).network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.zeros_like(tensor)
        if "mean" in name
        else torch.ones_like(tensor)
        if "var" in name
        else torch.randn(tensor.shape, generator=generator) * 0.02
        for name, tensor in network.state_dict().items()
        if tensor.is_floating_point()
    }
    network.load_state_dict(state, strict=False)
    with torch.no_grad():
        assert float(network(torch.rand(16, 32, generator=generator)).std()) < 0.01


def test_calibration_by_public_embeddings():
    """The batch norms take the embeddings' own scale: images span as much for small as for large ones."""
    for scale in (0.01, 100):
        embeddings = torch.rand(64, 32, generator=torch.Generator().manual_seed(1)) * scale
        made = F.owsd_scramble(embeddings, keys.OWSDKey.generate(**SIZES, embeddings=embeddings)).float()
        assert (made.amax(0) - made.amin(0)).mean() > 60


def test_few_of_many_embeddings_are_used(monkeypatch):
    used = []
    monkeypatch.setattr(owsd, "_calibrate", lambda _, embeddings: used.append(embeddings) or 255.0)
    given = torch.arange(2000.0)[:, None].expand(-1, 32)
    for _ in range(2):
        keys.OWSDKey.generate(**SIZES, embeddings=given)
    assert [len(each[:, 0].unique()) for each in used] == [owsd.MOST_CALIBRATION] * 2
    assert not torch.equal(*used)


@pytest.mark.parametrize(("span", "dead"), [(15.9, True), (16.1, False)])
def test_the_least_range(monkeypatch, span, dead):
    monkeypatch.setattr(owsd, "_calibrate", lambda *_: span)
    with pytest.raises(InputRangeError, match="grey levels") if dead else contextlib.nullcontext():
        keys.OWSDKey.generate(**SIZES)


@pytest.mark.slow
def test_default_size():
    assert keys.OWSDKey.generate(embedding_size=4, width=1).image_size == (256, 256)


def test_keys_with_flat_images_are_refused():
    with pytest.raises(InputRangeError, match="grey levels"):
        keys.OWSDKey.generate(**SIZES, embeddings=torch.ones(8, 32))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"embedding_size": 0}, InputRangeError),
        ({"width": True}, InputRangeError),
        ({"image_size": (33, 32)}, InputShapeError),
        ({"embeddings": torch.ones(8, 31)}, InputShapeError),
        ({"embeddings": torch.ones(1, 32)}, InputShapeError),
        ({"embeddings": torch.full((8, 32), torch.inf)}, InputRangeError),
    ],
)
def test_bad_parameters(options, error):
    with pytest.raises(error):
        keys.OWSDKey.generate(**{**SIZES, **options})


def test_file_round_trip(key, tmp_path):
    keys.save(key, tmp_path / "k")
    again = keys.load(tmp_path / "k")
    assert again == key
    embeddings = torch.rand(3, 32)
    assert torch.equal(F.owsd_scramble(embeddings, again), F.owsd_scramble(embeddings, key))
    content = bytearray((tmp_path / "k").read_bytes())
    content[-5] ^= 1
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(KeyIntegrityError):
        keys.load(tmp_path / "k")


def test_value(key):
    assert sent_to_worker(key) == key == copy.deepcopy(key)
    assert len({key, sent_to_worker(key)}) == 1
    assert "tensor" not in repr(key)
    assert key.fingerprint[:12] in repr(key)
    assert key.fingerprint not in repr(key)
    with pytest.raises(AttributeError):
        key.width = 3


def test_tensors_must_be_those_of_the_generator(key):
    tensors = key.tensors()
    missing = {name: tensor for name, tensor in tensors.items() if name != "layers.1.running_var"}
    with pytest.raises(KeyFileError, match="generator"):
        keys.OWSDKey.from_parts(key.params, missing)
    for name, value in (("layers.0.weight", torch.nan), ("layers.1.running_var", -1.0)):
        wrong = {**tensors, name: torch.full_like(tensors[name], value)}
        with pytest.raises(KeyFileError, match="holds NaN"):
            keys.OWSDKey.from_parts(key.params, wrong)
    with pytest.raises(KeyFileError, match="must be"):
        keys.OWSDKey.from_parts(key.params, {**tensors, "layers.0.weight": torch.zeros(1)})
