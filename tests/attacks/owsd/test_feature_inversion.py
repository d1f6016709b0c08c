"""Feature inversion: exact where embeddings hold the pixels, the mean image where scrambled ones hold nothing."""

import json

import pytest
import torch
from torch import nn

from torchprotect import attacks, keys
from torchprotect import functional as F
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError


def drawn(seed):
    return torch.Generator().manual_seed(seed)


def smooth(count, seed):
    """Draw uint8 images of few degrees of freedom, as natural images have."""
    coarse = torch.rand(count, 3, 2, 2, generator=drawn(seed))
    return nn.functional.interpolate(coarse, (8, 8), mode="bilinear").mul(255).round().byte()


def errors(result, truth):
    score = attacks.score_reconstruction(result, truth)
    return score.mean_rmse, score.rmse_chance


PUBLIC, KNOWN, TARGET = smooth(400, 1), smooth(150, 2), smooth(60, 3)


class Encoder(nn.Module):
    """Twenty numbers of each image, not linear in its pixels."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(192, 20)
        self.layer.weight.data = torch.randn(20, 192, generator=drawn(4)) / 6

    def forward(self, images):
        return nn.functional.softplus(self.layer(images.flatten(1)))


@pytest.fixture(scope="module")
def world():
    """The encoder, and a function that scrambles images."""
    encoder = Encoder().eval()
    seen = F.embed(PUBLIC, encoder)
    key = keys.OWSDKey.generate(embedding_size=20, image_size=(32, 32), width=8, embeddings=seen)
    return encoder, lambda images: F.owsd_scramble_images(images, encoder, key)


def test_pairs_open_pictures(world):
    encoder, scramble = world
    given = F.embed(KNOWN, encoder), scramble(KNOWN), scramble(TARGET), F.embed(PUBLIC, encoder), PUBLIC
    result = attacks.feature_inversion(*given)
    found, chance = errors(result, TARGET)
    assert found < 0.5 * chance
    assert result.images.dtype == torch.uint8
    assert result.images.shape == TARGET.shape
    assert result.embeddings.shape == (60, 20)
    true = F.embed(TARGET, encoder)
    assert (result.embeddings - true).square().mean() < 0.3 * (true - true.mean(0)).square().mean()
    assert 0.7 < result.embeddings_explained < 1
    assert 0.7 < result.pixels_explained < 1
    told = json.loads(result.to_json())
    assert told["level"] == "L2"
    assert told["cost"] == {"pairs": 150, "public": 400}
    assert not {"images", "embeddings"} & told.keys()
    few = attacks.feature_inversion(given[0][:15], given[1][:15], *given[2:])
    assert found < errors(few, TARGET)[0]


def test_fewer_pairs_are_needed_than_without_the_encoder(world):
    """Public images tell the way from embeddings to pixels; the autoencoder has to learn it from the pairs."""
    encoder, scramble = world
    known, seen = KNOWN[:30], scramble(KNOWN[:30])
    by_way = attacks.feature_inversion(
        F.embed(known, encoder), seen, scramble(TARGET), F.embed(PUBLIC, encoder), PUBLIC
    )
    options = {"epochs": 12, "width": 4, "batch_size": 8, "generator": drawn(0)}
    direct = attacks.autoencoder_attack(known, seen, scramble(TARGET), **options)
    assert errors(by_way, TARGET)[0] < 0.8 * errors(direct, TARGET)[0]


def test_fresh_noise_gives_the_mean_image(world):
    encoder, _ = world
    noise = torch.randint(0, 256, (210, 3, 32, 32), dtype=torch.uint8, generator=drawn(5))
    result = attacks.feature_inversion(
        F.embed(KNOWN, encoder), noise[:150], noise[150:], F.embed(PUBLIC, encoder), PUBLIC
    )
    found, chance = errors(result, TARGET)
    assert found > 0.95 * chance
    assert result.embeddings_explained < 0.05


def test_embeddings_and_scrambled_images_that_are_the_pixels_give_all():
    pixels = [each.flatten(1).float() / 255 for each in (KNOWN, PUBLIC)]
    result = attacks.feature_inversion(pixels[0], KNOWN, TARGET, pixels[1], PUBLIC)
    assert errors(result, TARGET)[0] < 1
    assert result.embeddings_explained > 0.999


def test_public_images_in_floating_point_and_of_another_size(world):
    encoder, scramble = world
    seen = F.embed(KNOWN, encoder), scramble(KNOWN), scramble(TARGET[:4])
    large = nn.functional.interpolate(PUBLIC.float() / 255, (80, 72), mode="nearest")
    result = attacks.feature_inversion(*seen, F.embed(PUBLIC, encoder)[:40], large[:40])
    assert result.images.shape == (4, 3, 80, 72)
    assert result.images.dtype == torch.float32
    assert 0 <= float(result.images.min()) <= float(result.images.max()) <= 1


VECTORS, PICTURES = torch.rand(6, 4, generator=drawn(6)), TARGET[:6]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((VECTORS[:2], PICTURES[:2], PICTURES, VECTORS, PICTURES), InputRangeError, "3 known pairs, not 2.*hundred"),
        ((VECTORS, PICTURES, PICTURES, VECTORS[:2], PICTURES[:2]), InputRangeError, "3 public images, not 2.*thousand"),
        ((VECTORS[:5], PICTURES, PICTURES, VECTORS, PICTURES), InputShapeError, "as many embeddings"),
        ((VECTORS, PICTURES, PICTURES, VECTORS, PICTURES[:5]), InputShapeError, "as many public embeddings"),
        ((VECTORS[:, :3], PICTURES, PICTURES, VECTORS, PICTURES), InputShapeError, "one size"),
        ((VECTORS, PICTURES, PICTURES[..., :4], VECTORS, PICTURES), InputShapeError, "one size"),
        ((VECTORS * torch.nan, PICTURES, PICTURES, VECTORS, PICTURES), InputRangeError, "NaN"),
        ((VECTORS, PICTURES, PICTURES, VECTORS * torch.inf, PICTURES), InputRangeError, "infinite"),
        ((VECTORS, PICTURES.float(), PICTURES, VECTORS, PICTURES), InputTypeError, "uint8"),
        ((VECTORS, PICTURES, PICTURES, VECTORS, PICTURES.float()), InputRangeError, r"0\.\.1"),
        ((VECTORS, PICTURES, PICTURES[:0], VECTORS, PICTURES), InputShapeError, "at least one"),
    ],
)
def test_what_it_refuses(given, error, message):
    with pytest.raises(error, match=message):
        attacks.feature_inversion(*given)


def test_equal_pairs_add_no_information():
    same = PICTURES[:1].expand(6, -1, -1, -1)
    result = attacks.feature_inversion(VECTORS[:1].expand(6, -1), same, PICTURES, VECTORS, PICTURES)
    assert len(result.images.unique(dim=0)) == 1
    assert result.embeddings_explained == 0
