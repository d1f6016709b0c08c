"""Diagonal Fisher information leakage: beside whole Jacobians, and beside estimators that reach the bound."""

import json
import math

import pytest
import torch
from torch import nn

from torchprotect import attacks, keys
from torchprotect import functional as F
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, ModelError


def drawn(seed):
    return torch.Generator().manual_seed(seed)


class Encoder(nn.Module):
    """A small encoder that is not linear."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(12, 48, generator=drawn(1)) / 7)
        self.norm = nn.BatchNorm1d(12)

    def forward(self, images):
        return self.norm(torch.nn.functional.softplus(4 * images.flatten(1) @ self.weight.T))


def encoder():
    return Encoder().eval()


IMAGES = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8, generator=drawn(2))


def by_jacobians(scramble, images, noise):
    """Return the mean diagonal of JᵀJ / noise² of each image, from whole Jacobians."""
    values = []
    for image in images.float() / 255:
        jacobian = torch.autograd.functional.jacobian(lambda each: scramble(each[None]).flatten(), image)
        jacobian = jacobian.flatten(1).double()
        values.append((jacobian.T @ jacobian).trace() / noise**2 / jacobian.shape[1])
    return torch.stack(values)


def test_it_is_the_trace_of_the_jacobians():
    key, network = keys.OWSDKey.generate(embedding_size=12, image_size=(8, 8), width=4), encoder()

    def scramble(images):
        return F.owsd_values(images, network, key)

    expected = by_jacobians(scramble, IMAGES, 2.0)
    result = attacks.diagonal_fisher_leakage(scramble, IMAGES, noise=2.0, probes=400, batch_size=3, generator=drawn(0))
    assert torch.allclose(result.dfil, expected, rtol=0.3)
    assert bool(((result.dfil - expected).abs() < 4 * result.standard_error).all())
    assert torch.allclose(result.rmse_bound, result.dfil**-0.5)
    assert result.mean_dfil == pytest.approx(float(expected.mean()), abs=4 * result.mean_standard_error)
    assert result.mean_rmse_bound == pytest.approx(float((1 / result.dfil).mean().sqrt()))
    assert result.cost == {"images": 5, "probes": 400, "passes": 2000}
    assert json.loads(result.to_json())["level"] == "L4"
    assert all(each.grad is None for each in network.parameters())
    released = F.owsd_scramble_images(IMAGES, network, key)
    assert torch.equal(scramble(IMAGES.float() / 255).detach().mul(255).round().byte(), released)


def test_the_best_unbiased_estimator_of_a_rotation_reaches_the_bound():
    """Values are three times the pixels, rotated, with noise; turning them back has the error of the bound."""
    turn = 3 * torch.linalg.qr(torch.randn(48, 48, generator=drawn(3)).double()).Q.float()
    result = attacks.diagonal_fisher_leakage(lambda images: images.flatten(1) @ turn.T, IMAGES, noise=6.0, probes=2)
    assert torch.allclose(result.rmse_bound, torch.full((5,), 2.0, dtype=torch.float64), rtol=1e-4)
    plain = IMAGES.float().flatten(1)
    noisy = plain @ turn.T + 6.0 * torch.randn(400, 5, 48, generator=drawn(4))
    error = (noisy @ torch.linalg.inv(turn).T - plain).square().mean().sqrt()
    assert float(error) == pytest.approx(result.mean_rmse_bound, rel=0.02)


def test_edges():
    """Identity at the error of rounding; no noise; values that do not depend on the image."""
    identity = attacks.diagonal_fisher_leakage(lambda images: images, IMAGES)
    assert identity.mean_rmse_bound == pytest.approx(math.sqrt(1 / 12))
    exact = attacks.diagonal_fisher_leakage(lambda images: images, IMAGES, noise=0)
    assert (exact.mean_dfil, exact.mean_rmse_bound) == (math.inf, 0)
    assert json.loads(exact.to_json())["mean_dfil"] is None
    blind = attacks.diagonal_fisher_leakage(lambda images: 0 * images, IMAGES)
    assert (blind.mean_dfil, blind.mean_rmse_bound) == (0, math.inf)
    half = attacks.diagonal_fisher_leakage(lambda images: images, IMAGES.float() / 255, noise=2)
    assert half.dfil.tolist() == pytest.approx([0.25] * 5)


def test_draws_come_from_the_generator_alone():
    scramble = torch.nn.Sequential(nn.Flatten(), nn.Linear(48, 20)).eval()
    before = torch.get_rng_state()
    one, same, other = (attacks.diagonal_fisher_leakage(scramble, IMAGES, generator=drawn(seed)) for seed in (7, 7, 8))
    assert torch.equal(one.dfil, same.dfil)
    assert not torch.equal(one.dfil, other.dfil)
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        assert torch.equal(attacks.diagonal_fisher_leakage(scramble, IMAGES, generator=drawn(7)).dfil, one.dfil)


@pytest.mark.parametrize(
    ("scramble", "options", "error", "message"),
    [
        (nn.Flatten(), {}, ModelError, r"training mode.*eval\(\)"),
        (lambda images: images.round().detach(), {}, ModelError, "by autograd"),
        (lambda images: torch.rand(5, 3, requires_grad=True), {}, ModelError, "cannot be differentiated"),
        (lambda images: images.sqrt() * 0 + (images * 0).sqrt(), {}, ModelError, "NaN or infinite"),
        (lambda images: (images.flatten(1) * 255).round(), {}, ModelError, "before rounding"),
        (lambda images: images.sum(), {}, ModelError, r"values \[5, \.\.\.\]"),
        (lambda images: images.byte(), {}, ModelError, "floating-point values"),
        (lambda images: None, {}, ModelError, "NoneType"),
        ("encoder", {}, InputTypeError, "function of images"),
        (lambda images: images, {"noise": -1}, InputRangeError, "noise"),
        (lambda images: images, {"probes": 1}, InputRangeError, "probes"),
        (lambda images: images, {"batch_size": 0}, InputRangeError, "batch_size"),
    ],
)
def test_what_it_refuses(scramble, options, error, message):
    with pytest.raises(error, match=message):
        attacks.diagonal_fisher_leakage(scramble, IMAGES, **options)


@pytest.mark.parametrize(
    ("images", "error"),
    [
        (IMAGES[0], InputShapeError),
        (IMAGES[:0], InputShapeError),
        (IMAGES.float(), InputRangeError),
        (IMAGES / 255 * torch.nan, InputRangeError),
        (IMAGES.long(), InputTypeError),
        (IMAGES.numpy(), InputTypeError),
    ],
)
def test_images_that_cannot_be(images, error):
    with pytest.raises(error):
        attacks.diagonal_fisher_leakage(lambda each: each, images)


def test_the_values_refuse_an_encoder_in_training_mode_or_of_another_length():
    key = keys.OWSDKey.generate(embedding_size=12, image_size=(8, 8), width=4)
    with pytest.raises(ModelError, match="training mode"):
        attacks.diagonal_fisher_leakage(lambda images: F.owsd_values(images, Encoder(), key), IMAGES)
    longer = nn.Sequential(nn.Flatten()).eval()
    with pytest.raises(InputShapeError, match="takes embeddings"):
        attacks.diagonal_fisher_leakage(lambda images: F.owsd_values(images, longer, key), IMAGES)
