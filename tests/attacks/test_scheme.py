"""The public parameters of a disguise, from what a transform says of itself or from a manifest."""

import dataclasses
import json

import pytest
import torch
from support import Pictures, make_image
from torch import nn
from torchvision.transforms import v2

from torchprotect import attacks, data, keys, transforms
from torchprotect.attacks import Scheme
from torchprotect.errors import BlockSizeError, InputRangeError, InputTypeError, ProtectError

SIZES = {"image_size": (16, 16), "block_size": (4, 4)}
ORDER = keys.PermutationKey.generate(**SIZES)
AES = keys.AESKey.generate(**SIZES, channels=3)
RMT = keys.RMTKey.generate(**SIZES, matrix="gaussian", side="left")
CLASSES = keys.CorrespondenceKey.generate(classes=10)
EMBEDDINGS = keys.OWSDKey.generate(embedding_size=4, image_size=(8, 8))


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))


def perturbing():
    return transforms.AdversarialEncrypt(network(), CLASSES, eps=0.5, step_size=0.1, steps=2)


DISGUISES = {
    "BlockPermute": (lambda: transforms.BlockPermute(ORDER), {**SIZES, "permuted": True}),
    "AESECBDisguise": (
        lambda: transforms.AESECBDisguise(AES, permutation=ORDER, unit_pixels=4),
        {**SIZES, "permuted": True, "unit_pixels": 4, "channels": 3},
    ),
    "RMTDisguise": (
        lambda: transforms.RMTDisguise(RMT, noise=20.0),
        {**SIZES, "matrix": "gaussian", "side": "left", "noise": 20.0},
    ),
    "AdversarialEncrypt": (perturbing, {}),
    "OWSDScramble": (lambda: transforms.OWSDScramble(network(), EMBEDDINGS), {"image_size": (8, 8)}),
}


def without_steps(scheme):
    return dataclasses.replace(scheme, steps=())


@pytest.mark.parametrize("name", DISGUISES)
def test_of_each_disguise(name):
    made, expected = DISGUISES[name]
    disguise = made()
    scheme = Scheme.of(disguise.describe())
    assert without_steps(scheme) == Scheme(name, **expected)
    assert Scheme.of([disguise.describe()]) == scheme
    assert Scheme.of(json.loads(json.dumps(disguise.describe()))) == scheme


@pytest.mark.parametrize("name", DISGUISES)
def test_nothing_secret_is_in_it(name):
    made, _ = DISGUISES[name]
    disguise = made()
    described = disguise.describe()
    scheme = Scheme.of(described)
    hidden = [described[each] for each in ("key", "permutation", "model") if described.get(each)]
    assert hidden
    assert not any(each in repr(scheme) for each in hidden)
    assert not any({"key", "permutation", "model"} & set(step) for step in scheme.steps)


def test_what_each_disguise_preserves():
    kept = {name: Scheme.of(made().describe()) for name, (made, _) in DISGUISES.items()}
    assert {name: scheme.preserved for name, scheme in kept.items()} == {
        "BlockPermute": "values",
        "AESECBDisguise": "equality",
        "RMTDisguise": "energies",
        "AdversarialEncrypt": None,
        "OWSDScramble": None,
    }
    assert [name for name, scheme in kept.items() if not scheme.keeps_lengths] == ["RMTDisguise"]
    assert Scheme("RMTDisguise", block_size=(4, 4)).keeps_lengths
    assert [name for name, scheme in kept.items() if scheme.readable] == ["AdversarialEncrypt"]
    assert kept["RMTDisguise"].blocks == (4, 4)
    with pytest.raises(BlockSizeError, match="OWSDScramble has no blocks"):
        _ = kept["OWSDScramble"].blocks


def test_of_several_steps_the_last_keyed_one_counts():
    noise = transforms.SaltAndPepper(0.1).describe()
    steps = [transforms.BlockPermute(ORDER).describe(), noise, transforms.RMTDisguise(RMT).describe()]
    scheme = Scheme.of(steps)
    assert (scheme.name, scheme.other) == ("RMTDisguise", ("BlockPermute",))
    assert [step["name"] for step in scheme.steps] == ["BlockPermute", "SaltAndPepper", "RMTDisguise"]
    assert scheme.preserved is None  # which rows were multiplied is not known
    with pytest.raises(InputRangeError, match="alone, not under BlockPermute and RMTDisguise"):
        attacks.linkage_attack(make_image(2, 1, 16, 16), make_image(2, 1, 16, 16), scheme=scheme)
    assert Scheme.of([noise, transforms.BlockPermute(ORDER).describe()]).preserved == "values"


@pytest.mark.parametrize(("name", "white"), [("RMTDisguise", 255), ("AESECBDisguise", None)])
def test_of_a_manifest(tmp_path, name, white):
    transform = {
        "RMTDisguise": transforms.RMTDisguise(RMT, permutation=ORDER, noise=5),
        "AESECBDisguise": transforms.AESECBDisguise(keys.AESKey.generate(**SIZES), permutation=ORDER),
    }[name]
    data.export(Pictures(4, 1), tmp_path / "out", transform=transform)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    scheme = Scheme.of(manifest)
    assert dataclasses.replace(scheme, white=None) == Scheme.of(transform.describe())
    assert scheme.white == white  # uint8 pictures were multiplied on 0..255
    assert not any(fingerprint in repr(scheme) for fingerprint in (RMT.fingerprint, ORDER.fingerprint))


@pytest.mark.parametrize("white", [1, 255])
def test_white_is_the_scale_of_the_disguised_images(white):
    """Whatever the attacker's own images are: bytes or floating point."""
    known = make_image(60, 1, 16, 16)
    disguise = transforms.RMTDisguise(keys.RMTKey.generate(**SIZES), permutation=ORDER)
    disguised = disguise(known if white == 255 else known / 255)
    scheme = dataclasses.replace(Scheme.of(disguise.describe()), white=white)
    for mine in (known, known / 255):
        result = attacks.linkage_attack(mine, disguised, scheme=scheme, k=1)
        assert torch.equal(result.guesses[:, 0], torch.arange(60))
        assert float(result.distances.max()) < 100


def test_frozen_and_hashable():
    scheme, same = (Scheme.of(transforms.RMTDisguise(RMT).describe()) for _ in range(2))
    assert scheme == same
    assert len({scheme, same, Scheme("OWSDScramble")}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        scheme.noise = 3.0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"block_size": None}, BlockSizeError, "RMTDisguise works on blocks: give its block_size"),
        ({"block_size": 4}, BlockSizeError, "pair of integers"),
        ({"block_size": (4.0, 4)}, BlockSizeError, r"\(4.0, 4\)"),
        ({"block_size": (4, 0)}, BlockSizeError, r"\(4, 0\)"),
        ({"block_size": (True, 4)}, BlockSizeError, r"\(True, 4\)"),
        ({"image_size": (16,)}, InputRangeError, r"image_size must be \(height, width\) in pixels, got \(16,\)"),
        ({"channels": 0}, InputRangeError, "channels must be an integer from 1 up, or None, got 0"),
        ({"unit_pixels": 2.0}, InputRangeError, "unit_pixels"),
        ({"matrix": "diagonal"}, InputRangeError, "one of orthogonal, uniform, gaussian, got 'diagonal'"),
        ({"side": "top"}, InputRangeError, "'right' or 'left', got 'top'"),
        ({"noise": -1.0}, InputRangeError, "noise must be a number of grey levels from 0 up"),
        ({"noise": float("nan")}, InputRangeError, "noise"),
        ({"noise": "20"}, InputRangeError, "noise"),
        ({"white": 3}, InputRangeError, "white must be 1 or 255, or None, got 3"),
    ],
)
def test_refuses_values(change, error, message):
    with pytest.raises(error, match=message):
        Scheme(**{"name": "RMTDisguise", "block_size": (4, 4), **change})


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ([], "no keyed disguise"),
        (transforms.SaltAndPepper(0.1).describe(), "no keyed disguise"),
        ("RMTDisguise", "list of named steps, got str"),
        ([{"key": "tp"}], "list of named steps, got list"),
        ({"transform": "RMTDisguise"}, "list of named steps, got str"),
        ({"name": "RMTDisguise", "key": "tp"}, "does not tell the sizes of RMTDisguise"),
        (None, "list of named steps, got NoneType"),
    ],
)
def test_refuses_descriptions(described, message):
    with pytest.raises(InputTypeError, match=message):
        Scheme.of(described)


@pytest.mark.parametrize("entry", ["block_size", "unit_pixels"])
def test_a_malformed_manifest_is_refused(entry):
    described = {**transforms.AESECBDisguise(AES).describe(), entry: "4"}
    with pytest.raises((BlockSizeError, InputRangeError), match=entry):
        Scheme.of(described)


def test_attacks_refuse_schemes_of_other_disguises():
    images = make_image(3, 1, 16, 16)
    for_aes, for_rmt = Scheme("AESECBDisguise", block_size=(4, 4)), Scheme("RMTDisguise", block_size=(4, 4))
    labels = torch.arange(3)
    calls = {
        "codebook_attack is for images under AESECBDisguise alone, not under RMTDisguise": lambda: (
            attacks.codebook_attack(images, images, images, scheme=for_rmt)
        ),
        "regression_attack is for images under RMTDisguise alone, not under AESECBDisguise": lambda: (
            attacks.regression_attack(images, images, images, scheme=for_aes)
        ),
        "jigsaw_attack is for images under BlockPermute alone": lambda: attacks.jigsaw_attack(images, scheme=for_aes),
        "silhouette_attack is for images under AESECBDisguise": lambda: attacks.silhouette_attack(
            images, labels, images, classes=3, scheme=for_rmt
        ),
        "row_energy_attack is for images under RMTDisguise": lambda: attacks.row_energy_attack(
            images, labels, images, classes=3, scheme=for_aes
        ),
        "BlockPermute and RMTDisguise and AESECBDisguise alone, not under OWSDScramble": lambda: (
            attacks.recover_permutation(images, images, scheme=Scheme("OWSDScramble"))
        ),
    }
    for message, call in calls.items():
        with pytest.raises(InputRangeError, match=message):
            call()


@pytest.mark.parametrize(
    ("kind", "disguise"), [(keys.AESKey, transforms.AESECBDisguise), (keys.RMTKey, transforms.RMTDisguise)]
)
def test_a_shared_secret_is_stated_and_only_then(kind, disguise):
    own, shared = (disguise(kind.generate(**SIZES, shared=each)).describe() for each in (False, True))
    assert "shared" not in own
    assert shared["shared"] is True
    assert own.keys() == shared.keys() - {"shared"}
    assert [Scheme.of(each).shared for each in (own, shared)] == [False, True]
    with pytest.raises(InputRangeError, match="shared must be True or False, got 'yes'"):
        Scheme.of({**shared, "shared": "yes"})


def test_a_composed_transform_is_described_step_by_step():
    composed = v2.Compose([transforms.SaltAndPepper(0.1), transforms.BlockPermute(ORDER)])
    scheme = Scheme.of([step.describe() for step in composed.transforms])
    assert (scheme.name, scheme.permuted, len(scheme.steps)) == ("BlockPermute", True, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": ""}, "name must be"),
        ({"name": ["x"]}, "name must be"),
        ({"permuted": "no"}, "permuted must be True or False"),
        ({"shared": 3}, "shared must be True or False"),
        ({"other": "abc"}, "other must be names"),
        ({"white": True}, "white must be 1 or 255"),
        ({"image_size": (28, 28), "block_size": (5, 5)}, "blocks of 5 x 5 do not divide images of 28 x 28"),
    ],
)
def test_fields_that_cannot_be(given, message):
    with pytest.raises(ProtectError, match=message):
        Scheme(**{"name": "RMTDisguise", "block_size": (4, 4), **given})


@pytest.mark.parametrize("given", [None, "RMTDisguise", 3])
def test_what_is_no_scheme_is_called_by_its_type(given):
    images = make_image(4, 1, 8, 8)
    message = r"scheme must be an attacks\.Scheme, got .*Scheme\.of\(transform\.describe"
    with pytest.raises(InputTypeError, match=message):
        attacks.linkage_attack(images, images, scheme=given)
