import pytest
import torch
from disguised_shapes import random_order, rmt, rmt_scheme, shapes, share
from support import make_image

from torchprotect import attacks, functional, keys
from torchprotect.attacks.disguise._blocks import undo_order
from torchprotect.attacks.disguise._moments import moments_of
from torchprotect.attacks.disguise._shrinkage import Shrinkage
from torchprotect.attacks.scores import ORDER
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError

CLASSES = 4
PUBLIC, LABELS = shapes(600, 1)
PLAIN, TRUE = shapes(500, 2)


def error(images, plain=PLAIN):
    """Root mean square error in grey levels, and that of somebody who guesses the mean image."""
    apart = images.float() - plain.float()
    guess = plain.float().mean(0) - plain.float()
    return float(apart.square().mean().sqrt()), float(guess.square().mean().sqrt())


def drawn_lines(groups=2, count=300, lines=3, length=4):
    generator = torch.Generator().manual_seed(3)
    mixing = torch.randn(groups * lines * length, groups * lines * length, generator=generator)
    values = torch.randn(count, groups * lines * length, generator=generator) @ mixing + 5
    return values.view(count, groups, lines, length).movedim(0, 1)


@pytest.mark.parametrize(
    ("options", "most"),
    [
        ({}, 0.35),
        ({"matrix": "uniform"}, 0.45),
        ({"matrix": "gaussian"}, 0.45),
        ({"shared": True}, 0.35),
        ({"side": "left"}, 0.35),
    ],
)
def test_pictures_are_rebuilt_without_any_pair(options, most):
    order = random_order()
    disguised = rmt(PLAIN, noise=40.0, order=order, **options)
    scheme = rmt_scheme(permuted=True, noise=40.0, **options)
    found = attacks.match_moments(PUBLIC, disguised, scheme=scheme, order=order.order)
    assert found.images.dtype == torch.uint8
    wrong, chance = error(found.images)
    assert wrong < most * chance


def test_the_order_is_recovered_by_statistics():
    order = random_order()
    disguised = rmt(PLAIN, noise=40.0, order=order)
    found = attacks.match_moments(PUBLIC, disguised, scheme=rmt_scheme(permuted=True, noise=40.0))
    assert share(found.order, order.order) > 0.8
    wrong, chance = error(found.images)
    assert wrong < 0.5 * chance


def test_channels_with_matrices_of_their_own():
    public, plain = shapes(600, 1, channels=3)[0], shapes(400, 2, channels=3)[0]
    disguised = rmt(plain, noise=40.0, channels=3)
    found = attacks.match_moments(public, disguised, scheme=rmt_scheme(noise=40.0, channels=3))
    assert found.matrices.shape == (16, 3, 4, 4)
    assert found.rank.shape == found.error.shape == found.wanted.shape == (16, 3)
    wrong, chance = error(found.images, plain)
    assert wrong < 0.4 * chance


def test_without_noise_the_key_itself_comes_out():
    key = keys.RMTKey.generate(image_size=(16, 16), block_size=(4, 4))
    shade = torch.arange(4).repeat(4).to(torch.uint8) * 12  # tells the columns of a block apart
    public, plain = (make_image(300, 1, 16, 16, seed=seed) // 100 for seed in (5, 6))  # single grey levels are frequent
    public[:, :, 1::2] += shade
    plain[:, :, 1::2] += shade
    found = attacks.match_moments(public, functional.rmt_disguise(plain, key), scheme=rmt_scheme())
    assert torch.equal(found.images, plain)
    assert torch.allclose(found.matrices.float(), key.matrices, atol=1e-3)


def test_more_images_make_better_pictures_and_the_error_is_foreseen():
    disguised = rmt(PLAIN, noise=10.0)
    scheme = rmt_scheme(noise=10.0)
    few, many = (attacks.match_moments(PUBLIC[:n], disguised[:n], scheme=scheme) for n in (40, 500))
    assert error(many.images)[0] < error(few.images, PLAIN[:40])[0]
    assert few.error.mean() > many.error.mean()
    foreseen = float(many.error.square().mean().sqrt())
    assert foreseen / 3 < error(many.images)[0] < foreseen * 3 + 3  # and noise


def test_classes_are_matched_although_they_are_renamed():
    renamed = torch.tensor([2, 0, 3, 1])
    disguised = rmt(PLAIN, noise=40.0)
    found = attacks.match_moments(
        PUBLIC, disguised, scheme=rmt_scheme(noise=40.0), public_labels=LABELS, labels=renamed[TRUE]
    )
    assert torch.equal(found.label_map, renamed)


def test_classes_that_one_side_lacks_have_no_match():
    renamed = torch.tensor([2, 0, 7, 1])  # more numbers than classes
    seen, known = TRUE != 3, LABELS != 1
    disguised = rmt(PLAIN[seen], noise=40.0)
    found = attacks.match_moments(
        PUBLIC[known],
        disguised,
        scheme=rmt_scheme(noise=40.0),
        public_labels=LABELS[known],
        labels=renamed[TRUE[seen]],
    )
    assert found.label_map[1] == -1
    assert found.label_map.tolist()[::2] == [2, 7]
    assert len(found.label_map) == CLASSES


def test_noise_in_place_of_disguised_images_gives_no_picture():
    noise = 255 * torch.rand(500, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    found = attacks.match_moments(PUBLIC, noise, scheme=rmt_scheme(permuted=True))
    wrong, chance = error(attacks.up_to_mirror_image(found, PLAIN).images)
    assert wrong > 0.95 * chance


def test_constant_positions_are_reported_and_not_guessed():
    blank = PUBLIC.clone(), PLAIN.clone()
    for images in blank:
        images[:, :, :4, :4] = 0  # the first block
        images[:, :, 4:8, 2:4] = 0  # half of another one
    disguised = rmt(blank[1], noise=40.0)
    found = attacks.match_moments(blank[0], disguised, scheme=rmt_scheme(noise=40.0))
    assert found.rank[0, 0] == 1  # the mean of the noise
    assert found.rank[4, 0] == 3
    assert torch.linalg.matrix_rank(found.matrices[[0, 4], 0]).tolist() == [1, 3]
    assert found.images[:, :, :4, :4].max() <= 2
    found = attacks.match_moments(blank[0], rmt(blank[1]), scheme=rmt_scheme())
    assert found.rank[0, 0] == 0
    assert not found.matrices[0].any()
    assert found.rank[4, 0] == 2


def test_moments_are_those_of_the_definition():
    lines = drawn_lines()
    moments = moments_of(lines, variance=2.0)
    flat = lines.movedim(1, 0).flatten(1)
    covariance = torch.cov(flat.T, correction=0).view(2, 3, 4, 2, 3, 4)
    built = moments.factors.flatten(1).T @ moments.factors.flatten(1)
    for group, line in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        own = covariance[group, line, :, group, line, :] + 2 * torch.eye(4)
        assert torch.allclose(
            moments.own[group, line] + built.view(2, 3, 4, 2, 3, 4)[group, line, :, group, line, :], own, rtol=1e-3
        )
    assert torch.allclose(built, covariance.reshape(24, 24), rtol=1e-3, atol=1e-2)
    assert torch.allclose(moments.means, lines.mean(1))


def test_moments_of_turned_lines_are_turned_moments():
    lines, turn = drawn_lines(), torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1))
    one = moments_of(lines).turned(turn)
    other = moments_of(lines @ turn[:, None])
    assert torch.allclose(one.pooled, other.pooled, rtol=1e-3)
    assert torch.allclose(one.means, other.means, rtol=1e-4, atol=1e-4)


def test_shrinkage_is_the_linear_estimate_of_least_error():
    lines = drawn_lines()
    variance = 30.0
    moments = moments_of(lines, variance=variance)
    noisy = lines + variance**0.5 * torch.randn(lines.shape, generator=torch.Generator().manual_seed(2))
    flat, mean = noisy.movedim(1, 0).flatten(1).double(), lines.mean(1).flatten().double()
    covariance = torch.cov(lines.movedim(1, 0).flatten(1).double().T, correction=0)
    expected = (flat - mean) @ torch.linalg.solve(covariance + variance * torch.eye(24), covariance) + mean
    made = Shrinkage(moments, variance)(noisy).movedim(1, 0).flatten(1)
    assert torch.allclose(made.double(), expected, atol=0.05)


def test_the_same_images_give_the_same_result():
    disguised = rmt(PLAIN, noise=40.0)
    before = torch.random.get_rng_state()
    one, other = (attacks.match_moments(PUBLIC, disguised, scheme=rmt_scheme(noise=40.0)) for _ in range(2))
    assert torch.equal(one.images, other.images)
    assert torch.equal(before, torch.random.get_rng_state())


def test_floating_point_images_come_out_in_their_range():
    disguised = rmt(PLAIN / 255, noise=40.0 / 255)
    found = attacks.match_moments(PUBLIC / 255, disguised, scheme=rmt_scheme(noise=40.0))
    assert found.images.dtype == torch.float32
    wrong, chance = error(255 * found.images)
    assert wrong < 0.35 * chance


def test_a_mirror_image_is_turned_round_only_if_it_is_nearer():
    mirrored = attacks.Reconstruction(attacks.Level.PUBLIC_DATA, {}, PLAIN.flip(-1))
    assert torch.equal(attacks.up_to_mirror_image(mirrored, PLAIN).images, PLAIN)
    upright = attacks.Reconstruction(attacks.Level.PUBLIC_DATA, {}, PLAIN)
    assert attacks.up_to_mirror_image(upright, PLAIN) is upright


def test_orders_by_statistics_count_up_to_a_mirror_image():
    order = random_order()
    mirror = torch.arange(16).view(4, 4).flip(1).flatten()
    found = attacks.StatisticsResult(
        attacks.Level.PUBLIC_DATA, {}, mirror[order.order], torch.zeros(16), order.order.clone()
    )
    truth = attacks.Truth(lambda purpose: torch.Generator(), order=order.order)
    (measure,) = ORDER.measure(found, truth)
    assert measure.value == 1.0
    assert 1 / 16 < measure.chance < 2 / 16


def test_what_cannot_be_matched_is_refused():
    disguised, scheme = rmt(PLAIN, noise=40.0), rmt_scheme(noise=40.0)
    with pytest.raises(InputRangeError, match=r"at least 20 public images, got 19; about 1,000"):
        attacks.match_moments(PUBLIC[:19], disguised, scheme=scheme)
    with pytest.raises(InputRangeError, match=r"at least 20 disguised images, got 3"):
        attacks.match_moments(PUBLIC, disguised[:3], scheme=scheme)
    with pytest.raises(InputShapeError, match="one size"):
        attacks.match_moments(PUBLIC[:, :, :12, :12], disguised, scheme=scheme)
    with pytest.raises(InputShapeError, match="labels"):
        attacks.match_moments(PUBLIC, disguised, scheme=scheme, public_labels=LABELS[:5], labels=TRUE)
    with pytest.raises(LabelError):
        attacks.match_moments(PUBLIC, disguised, scheme=scheme, public_labels=LABELS, labels=TRUE - 1)
    with pytest.raises(LabelError, match="1048575"):
        attacks.match_moments(PUBLIC, disguised, scheme=scheme, public_labels=LABELS * 2**40, labels=TRUE)
    with pytest.raises(InputShapeError, match=r"scheme is of images \(32, 32\)"):
        attacks.match_moments(PUBLIC, disguised, scheme=rmt_scheme(image_size=(32, 32)))
    with pytest.raises(InputRangeError, match="too large to be compared"):
        attacks.match_moments(PUBLIC, disguised * 1e30, scheme=rmt_scheme(permuted=True))
    with pytest.raises(InputTypeError, match="public_labels was given without labels"):
        attacks.match_moments(PUBLIC, disguised, scheme=scheme, public_labels=LABELS)
    with pytest.raises(InputTypeError, match="labels was given without public_labels"):
        attacks.match_moments(PUBLIC, disguised, scheme=scheme, labels=TRUE)
    with pytest.raises(InputRangeError, match="RMTDisguise alone"):
        attacks.match_moments(PUBLIC, disguised, scheme=attacks.Scheme("AESECBDisguise", block_size=(4, 4)))


def test_matrices_are_those_of_the_key_as_far_as_pictures_tell():
    key = keys.RMTKey.generate(image_size=(16, 16), block_size=(4, 4), shared=True)
    delta = 10 * torch.rand(PLAIN.shape, generator=torch.Generator().manual_seed(0))
    found = attacks.match_moments(
        PUBLIC, functional.rmt_disguise(PLAIN, key, delta), scheme=rmt_scheme(noise=10.0, shared=True)
    )
    assert found.matrices.shape == (1, 1, 4, 4)
    assert "matrices" not in found.to_json()
    assert (found.matrices[0, 0] - key.matrices[0, 0]).norm() < 0.2 * key.matrices[0, 0].norm()


def test_a_given_order_is_undone_first():
    order = random_order()
    disguised = rmt(PLAIN, noise=40.0, order=order)
    scheme = rmt_scheme(permuted=True, noise=40.0)
    one = attacks.match_moments(PUBLIC, disguised, scheme=scheme, order=order.order)
    other = attacks.match_moments(PUBLIC, undo_order(disguised, order.order, (4, 4)), scheme=rmt_scheme(noise=40.0))
    assert torch.equal(one.images, other.images)
