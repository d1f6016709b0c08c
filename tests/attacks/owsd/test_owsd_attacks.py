"""Attacks on scrambled images: they find what is there, and chance where nothing is."""

import json

import numpy as np
import pytest
import torch

from torchprotect import attacks, keys
from torchprotect import functional as F
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError


def drawn(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def world():
    """Embeddings in five clusters, and their scrambled images."""
    key = keys.OWSDKey.generate(embedding_size=16, image_size=(32, 32), width=8)
    labels = torch.randint(0, 5, (360,), generator=drawn(0))
    centres = -torch.rand(5, 16, generator=drawn(1)).log()
    embeddings = centres[labels] + 0.3 * torch.rand(360, 16, generator=drawn(2))
    return embeddings, F.owsd_scramble(embeddings, key), labels


def top(result, truth, k):
    return float((result.guesses[:, :k] == truth[:, None]).any(1).double().mean())


def test_ridge_links_scrambled_images(world):
    embeddings, scrambled, _ = world
    result = attacks.ridge_reidentification(embeddings[:260], scrambled[:260], scrambled[260:], embeddings[260:])
    truth = torch.arange(100)
    assert top(result, truth, 1) > 0.3
    assert top(result, truth, 10) > 0.8
    assert result.guesses.shape == result.distances.shape == (100, 10)
    assert bool((result.distances.diff(dim=1) >= 0).all())
    assert json.loads(result.to_json())["level"] == "L2"
    few = attacks.ridge_reidentification(embeddings[:20], scrambled[:20], scrambled[260:], embeddings[260:])
    assert top(few, truth, 1) < top(result, truth, 1)


def test_ridge_on_noise_is_chance(world):
    embeddings, scrambled, _ = world
    noise = torch.randint(0, 256, scrambled.shape, dtype=torch.uint8, generator=drawn(4))
    result = attacks.ridge_reidentification(embeddings[:260], noise[:260], noise[260:], embeddings[260:])
    assert top(result, torch.arange(100), 1) < 0.1


def test_ridge_on_the_embedding_itself_is_all():
    """A "scrambled" image that holds the embedding in its pixels."""
    embeddings = torch.randint(0, 256, (300, 48), generator=drawn(5)).float()
    images = embeddings.byte().reshape(-1, 3, 4, 4)
    result = attacks.ridge_reidentification(embeddings[:200], images[:200], images[200:], embeddings[200:], k=1)
    assert top(result, torch.arange(100), 1) == 1


@pytest.mark.parametrize("size", [(9, 5), (6, 8)])
def test_ridge_leaves_one_out_as_loops_do(size):
    from torchprotect.attacks.owsd._ridge import _principal, left_out

    (count, width), strength = size, 0.7
    x, y = torch.randn(count, width, generator=drawn(6)).double(), torch.randn(count, 3, generator=drawn(7)).double()
    values, basis, scores = _principal(x - x.mean(0))
    assert torch.allclose(scores, (x - x.mean(0)) @ basis)
    errors = []
    for i in range(count):
        rest = [j for j in range(count) if j != i]
        inputs, outputs = x[rest] - x[rest].mean(0), y[rest] - y[rest].mean(0)
        weights = torch.linalg.solve(inputs.T @ inputs + strength * torch.eye(width), inputs.T @ outputs)
        errors.append((((x[i] - x[rest].mean(0)) @ weights + y[rest].mean(0)) - y[i]).square().mean())
    wanted = y - y.mean(0)
    found = left_out(values, scores, scores.T @ wanted, wanted, strength, count)
    assert found == pytest.approx(float(torch.stack(errors).mean()), rel=1e-6)


def correlation_with_loops(one, other):
    def centred(points):
        count = len(points)
        d = np.array([[np.linalg.norm(points[i] - points[j]) for j in range(count)] for i in range(count)])
        return d - d.mean(0) - d.mean(1)[:, None] + d.mean()

    a, b = centred(one), centred(other)
    return np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))


def test_distances(world):
    embeddings, scrambled, _ = world
    result = attacks.distance_correlation(embeddings[:30], scrambled[:30])
    flat = scrambled[:30].flatten(1).double().numpy() / 255
    expected = correlation_with_loops(embeddings[:30].double().numpy(), flat)
    assert result.distance_correlation == pytest.approx(expected, rel=1e-4)
    assert result.distance_correlation > 0.8
    assert result.pearson > 0.5
    noise = torch.randint(0, 256, (200, 3, 32, 32), dtype=torch.uint8, generator=drawn(8))
    control = attacks.distance_correlation(torch.rand(200, 16, generator=drawn(9)), noise)
    assert abs(control.pearson) < 0.1
    assert control.neighbours < 0.05
    same = attacks.distance_correlation(noise[:50].flatten(1).float(), noise[:50])
    assert same.distance_correlation == pytest.approx(1)
    assert same.neighbours == 1


def test_label_probe(world):
    _, scrambled, labels = world
    vectors = scrambled.flatten(1).float()
    result = attacks.label_probe(vectors[:60], labels[:60], vectors[60:], classes=5)
    assert float((result.guesses == labels[60:]).double().mean()) > 0.9
    noise = torch.rand(360, 20, generator=drawn(10))
    control = attacks.label_probe(noise[:60], labels[:60], noise[60:], classes=5)
    assert float((control.guesses == labels[60:]).double().mean()) < 0.35


@pytest.mark.slow
def test_autoencoder_rebuilds_visible_images():
    """Flat images of one grey level each: learned from plain ones, not from noise."""
    levels = torch.randint(0, 256, (80, 1, 1, 1), generator=drawn(11)).expand(80, 3, 16, 16).byte()
    options = {"epochs": 25, "width": 8, "batch_size": 16}
    result = attacks.autoencoder_attack(levels[:64], levels[:64], levels[64:], generator=drawn(0), **options)
    error = (result.images.float() - levels[64:].float()).abs().mean()
    noise = torch.randint(0, 256, levels.shape, dtype=torch.uint8, generator=drawn(12))
    control = attacks.autoencoder_attack(levels[:64], noise[:64], noise[64:], generator=drawn(0), **options)
    blind = (control.images.float() - levels[64:].float()).abs().mean()
    assert error < 0.5 * blind
    again = attacks.autoencoder_attack(levels[:64], levels[:64], levels[64:], generator=drawn(0), **options)
    assert torch.equal(again.images, result.images)
    assert result.images.dtype == torch.uint8


def test_the_autoencoder_leaves_all_generators_as_they_were(monkeypatch):
    """Of accelerators too, seeds of which nothing would undo; the spy also sees calls from ``torch.manual_seed``."""
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    torch.manual_seed(5)
    assert seeded == [5]
    before = torch.get_rng_state()
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8, generator=drawn(0))
    attacks.autoencoder_attack(images, images, images, epochs=1, width=4, generator=drawn(0))
    assert seeded == [5]
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seeded_generator_is_found():
    """Whoever draws weights with a small seed: each seed is tried with one known image."""

    def under(seed):
        weights = torch.randn(16, 3 * 8 * 8, generator=drawn(seed))
        return (torch.tanh(torch.ones(1, 16) @ weights) * 127 + 128).byte().reshape(1, 3, 8, 8)

    steps = []
    result = attacks.small_seed_search(under(97), under, range(256), progress=lambda *step: steps.append(step))
    assert (result.found, result.seed, result.cost) == (True, 97, {"trials": 98})
    assert steps[-1] == (98, 256)
    scrambled = F.owsd_scramble(torch.ones(1, 16), keys.OWSDKey.generate(embedding_size=16, image_size=(8, 8), width=4))
    missed = attacks.small_seed_search(scrambled, under, range(50))
    assert not missed.found
    assert missed.distance > 1


PICTURES, VECTORS = torch.zeros(6, 3, 8, 8, dtype=torch.uint8), torch.rand(6, 4)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: attacks.ridge_reidentification(VECTORS[:5], PICTURES, PICTURES, VECTORS), InputShapeError),
        (lambda: attacks.ridge_reidentification(VECTORS[:2], PICTURES[:2], PICTURES, VECTORS, k=1), InputRangeError),
        (lambda: attacks.ridge_reidentification(VECTORS, PICTURES, PICTURES, VECTORS, k=7), InputRangeError),
        (lambda: attacks.ridge_reidentification(VECTORS, PICTURES.float(), PICTURES, VECTORS), InputTypeError),
        (lambda: attacks.distance_correlation(VECTORS[:3], PICTURES[:3]), InputRangeError),
        (lambda: attacks.distance_correlation(VECTORS * torch.nan, PICTURES), InputRangeError),
        (lambda: attacks.label_probe(VECTORS, torch.full((6,), 9), VECTORS, classes=5), LabelError),
        (lambda: attacks.label_probe(VECTORS, torch.zeros(5).long(), VECTORS, classes=5), InputShapeError),
        (lambda: attacks.autoencoder_attack(PICTURES[:4], PICTURES, PICTURES), InputShapeError),
        (lambda: attacks.autoencoder_attack(PICTURES, PICTURES, PICTURES, epochs=0), InputRangeError),
        (lambda: attacks.small_seed_search(PICTURES, lambda seed: PICTURES, [1]), InputShapeError),
        (lambda: attacks.small_seed_search(PICTURES[:1], lambda seed: PICTURES, [1]), InputShapeError),
    ],
)
def test_bad_input(call, error):
    with pytest.raises(error):
        call()
