"""The recipe of images: read from exports, made of disguises, rebuilt from what a file says."""

import pytest
import torch
from support import make_bundle, make_image

from torchprotect import data, keys, transforms
from torchprotect.errors import ExportError, InputRangeError, InputTypeError, KeyKindError

SIZES = {"image_size": (16, 16), "block_size": (4, 4)}
ORDER, AES = keys.PermutationKey.generate(**SIZES), keys.AESKey.generate(**SIZES)
PREPARE = data.Preparation(mode="grey", resize=(16, 16))


def exported(folder, key, **options):
    images = [(image, 0) for image in make_image(4, 1, 16, 16)]
    data.export(images, folder, transform=transforms.from_key(key), key=key, **options)
    return folder


def test_of_an_export(tmp_path):
    key = make_bundle("rmt")
    recipe = data.Recipe.of_export(exported(tmp_path / "out", key, prepare=PREPARE, store="float16"))
    assert (recipe.key, recipe.preparation, recipe.scale, recipe.store) == (key.fingerprint, PREPARE, 255, "float16")
    assert recipe.transform == (transforms.from_key(key).describe(),)
    assert set(recipe.decoders) == {"pillow", "jpeg", "webp"}
    assert data.Recipe.from_description(recipe.describe()) == recipe
    assert key.fingerprint[:12] in repr(recipe)
    assert key.fingerprint not in repr(recipe)


def test_of_a_disguise_it_is_that_of_the_export(tmp_path):
    key = make_bundle("rmt")
    recipe = data.Recipe.of_export(exported(tmp_path / "out", key, prepare=PREPARE))
    assert data.Recipe.of_disguise(transforms.from_key(key), key=key, preparation=PREPARE, scale=255) == recipe


def test_both_ways_disguise_alike(tmp_path):
    key, picture = make_bundle(), make_image(1, 16, 16)
    out = exported(tmp_path / "out", key)
    expected = transforms.from_key(key)(picture)
    for like in (out, data.Recipe.of_export(out)):
        disguiser = data.Disguiser(like, key=key)
        assert torch.equal(disguiser(picture), expected)
        assert torch.equal(disguiser.disguise(picture[None])[0], expected)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"disguise": keys.PermutationKey}, KeyKindError, "must be a disguise of torchprotect"),
        ({"disguise": transforms.SaltAndPepper(0.1)}, KeyKindError, "must be a disguise of torchprotect"),
        ({"key": None}, KeyKindError, "has two keys: give the bundle"),
        ({"key": make_bundle()}, KeyKindError, "was made with key"),
        ({"key": None, "disguise": transforms.BlockPermute(ORDER, inverse=True)}, InputRangeError, "not its inverse"),
        (
            {"disguise": transforms.AESECBDisguise(AES), "key": AES, "scale": 1},
            InputTypeError,
            "before ToDtype",
        ),
        ({"scale": 2}, InputRangeError, "scale must be 1 or 255"),
        ({"scale": True}, InputRangeError, "scale must be 1 or 255"),
    ],
)
def test_disguises_without_a_recipe(change, error, message):
    key = make_bundle()
    given = {"disguise": transforms.from_key(key), "key": key, "scale": 255, **change}
    with pytest.raises(error, match=message):
        data.Recipe.of_disguise(given.pop("disguise"), **given)


def test_no_export(tmp_path):
    with pytest.raises(ExportError):
        data.Recipe.of_export(tmp_path)


@pytest.mark.parametrize("described", [None, [], {}, {"key": "0" * 64}])
def test_what_is_none(described):
    with pytest.raises(InputTypeError, match="this is not a recipe: missing or damaged"):
        data.Recipe.from_description(described)
