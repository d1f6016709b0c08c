"""A few known images, linked without pairs, open everybody else's image."""

from dataclasses import replace

import pytest
import torch
from disguised_shapes import SIZE, aes, aes_scheme, permute_scheme, random_order, rmt, rmt_scheme, shapes, share
from support import make_image

from torchprotect import functional
from torchprotect.attacks import Level, chain_from_known_images, recover_permutation, score_reconstruction
from torchprotect.attacks.disguise._links import _expected_squares
from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.attacks.disguise.linkage import features_of
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError, InputTypeError

COUNT, OTHERS = 300, 200  # images in the set; the first so many of them are opened


@pytest.fixture(scope="module")
def images():
    """Images of the set, and public ones."""
    found = shapes(700, 1)[0]
    return found[:COUNT], found[COUNT:]


def known_of(plain, count, seed=0):
    """Draw known images behind those that are opened, and their true places."""
    places = OTHERS + torch.randperm(COUNT - OTHERS, generator=torch.Generator().manual_seed(seed))[:count]
    return plain[places], places


def chance(plain, result):
    return score_reconstruction(result, plain[:OTHERS]).rmse_chance


def error(plain, result):
    return score_reconstruction(result, plain[:OTHERS]).mean_rmse


# where it succeeds


@pytest.mark.parametrize("count", [1, 20])
def test_permuted_blocks_are_opened_to_the_bit(images, count):
    plain, public = images
    order = random_order()
    disguised, (known, places) = functional.block_permute(plain, order), known_of(plain, count)
    result = chain_from_known_images(known, disguised, disguised[:OTHERS], scheme=permute_scheme(), public=public)
    assert torch.equal(result.images, plain[:OTHERS])
    assert torch.equal(result.links, places)
    assert result.kept.all()
    assert torch.equal(result.order, order.order)
    assert (result.level, result.hit_rate, result.cost["pairs"]) == (Level.PUBLIC_DATA, None, count)


OPTIONS = {
    "plain": {},
    "noise": {"noise": 40.0},
    "left": {"side": "left"},
    "shared": {"shared": True, "noise": 20.0},
    "uniform": {"matrix": "uniform"},
    "gaussian": {"matrix": "gaussian"},
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("permuted", [True, False])
def test_random_matrices(images, name, permuted):
    plain, public = images
    options, order = OPTIONS[name], random_order() if permuted else None
    disguised, (known, places) = rmt(plain, order=order, **options), known_of(plain, 30)
    scheme = rmt_scheme(permuted=permuted, **options)
    result = chain_from_known_images(known, disguised, disguised[:OTHERS], scheme=scheme, public=public)
    assert share(result.links[result.kept], places[result.kept]) > 0.95
    assert result.cost["pairs"] == int(result.kept.sum()) >= 20
    assert result.images.dtype == torch.uint8
    assert error(plain, result) < 0.25 * chance(plain, result)
    assert (result.order is None) is not permuted


def test_matrices_of_each_channel():
    plain = shapes(COUNT, 2, channels=3)[0]
    order = random_order()
    disguised, (known, places) = rmt(plain, order=order, channels=3), known_of(plain, 20)
    scheme = rmt_scheme(permuted=True, channels=3)
    result = chain_from_known_images(known, disguised, disguised[:OTHERS], scheme=scheme)  # no public images
    assert torch.equal(result.links, places)
    assert error(plain, result) < 0.1 * chance(plain, result)


def blocky(count, seed):
    """Draw images of even blocks, the darker the more frequent, and at each place in other proportions."""
    draws = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    scale = torch.linspace(0.6, 4, 16).reshape(4, 4)
    levels = (-draws.log() * scale).floor().clamp(max=7)
    return (30 * levels).repeat_interleave(4, 2).repeat_interleave(4, 3).to(torch.uint8)


@pytest.mark.parametrize("shared", [False, True])
def test_a_codebook_of_links(shared):
    plain, public = blocky(COUNT, 1), blocky(600, 5)
    order = random_order()
    disguised, (known, places) = aes(plain, order=order, shared=shared), known_of(plain, 60)
    scheme = aes_scheme(permuted=True, unit_pixels=16, shared=shared)
    result = chain_from_known_images(known, disguised, disguised[:OTHERS], scheme=scheme, public=public)
    right = result.links == places
    assert share(right[result.kept], torch.ones(int(result.kept.sum()))) > 0.8
    assert share(result.order, order.order) == 1
    assert result.hit_rate > 0.9
    assert error(plain, result) < 0.5 * chance(plain, result)


def test_floating_point_images_on_another_scale(images):
    plain, public = images
    order = random_order()
    disguised, (known, _) = functional.block_permute(plain.float(), order), known_of(plain, 3)
    scheme = permute_scheme(white=255)
    result = chain_from_known_images(known / 255, disguised, disguised[:OTHERS], scheme=scheme, public=public / 255)
    torch.testing.assert_close(result.images, plain[:OTHERS] / 255)


def test_equal_images_of_the_set_and_among_the_known(images):
    plain = images[0].clone()
    plain[0] = plain[1] = plain[250]
    known = plain[[250, 260, 260, 270]]
    order = random_order()
    disguised = rmt(plain, order=order)
    result = chain_from_known_images(known, disguised, disguised[:OTHERS], scheme=rmt_scheme(permuted=True))
    assert result.links.tolist() == [0, 260, 260, 270]  # of equal ones the first
    assert result.kept.all()


def test_a_prior_order_decides_where_pairs_leave_blocks_open(images):
    """In one image many blocks are empty."""
    plain, order = images[0], random_order()
    disguised, scheme = functional.block_permute(plain, order), permute_scheme()
    pair = plain[:1], disguised[:1]
    assert share(recover_permutation(*pair, scheme=scheme).guesses, order.order) < 1
    assert torch.equal(recover_permutation(*pair, scheme=scheme, prior=order.order).guesses, order.order)
    wrong = order.order.roll(1)
    told = recover_permutation(plain, disguised, scheme=scheme, prior=wrong).guesses
    assert torch.equal(told, order.order)  # the pairs know better
    with pytest.raises(BlockSizeError, match="a prior order must name each of the 16 blocks"):
        recover_permutation(*pair, scheme=scheme, prior=torch.zeros(16, dtype=torch.int64))


# where it cannot


@pytest.mark.parametrize("count", [1, 5, 50])
def test_images_that_are_not_in_the_set_are_distrusted(images, count):
    plain, public = images
    disguised = rmt(plain, order=random_order(), noise=20.0)
    scheme = rmt_scheme(permuted=True, noise=20.0)
    result = chain_from_known_images(public[:count], disguised, disguised[:OTHERS], scheme=scheme, public=public[50:])
    assert int(result.kept.sum()) <= 0.1 * count
    if not result.kept.any():
        assert (result.order, result.cost["pairs"]) == (None, 0)
        assert result.images.unique(dim=0).shape[0] == 1  # one guess for all


def test_strangers_among_the_known_do_little_harm(images):
    plain, public = images
    disguised, (known, places) = rmt(plain, order=random_order()), known_of(plain, 20)
    mixed = torch.cat([known, public[:20]])
    result = chain_from_known_images(mixed, disguised, disguised[:OTHERS], scheme=rmt_scheme(permuted=True))
    assert torch.equal(result.links[:20], places)
    assert result.kept[:20].all()
    assert int(result.kept[20:].sum()) <= 2
    assert error(plain, result) < 0.3 * chance(plain, result)


@pytest.mark.parametrize("kind", ["values", "energies", "equality"])
def test_noise_in_the_place_of_disguised_images_gives_chance(images, kind):
    plain, public = images
    scheme = {"values": permute_scheme(), "energies": rmt_scheme(permuted=True), "equality": aes_scheme(permuted=True)}
    noise = make_image(COUNT, 1, *SIZE, seed=4)
    noise = noise.float() if kind == "energies" else noise
    known, places = known_of(plain, 50)
    result = chain_from_known_images(known, noise, noise[:OTHERS], scheme=scheme[kind], public=public)
    assert share(result.links, places) < 0.1
    assert error(plain, result) > 0.95 * chance(plain, result)


def test_aes_with_fresh_vectors_gives_chance():
    """Each image under a key of its own: no unit repeats."""
    plain, public = blocky(100, 1), blocky(200, 5)
    order = random_order()
    disguised = torch.cat([aes(image[None], order=order) for image in plain])
    scheme = aes_scheme(permuted=True, unit_pixels=16)
    result = chain_from_known_images(plain[60:], disguised, disguised[:60], scheme=scheme, public=public)
    assert share(result.links, torch.arange(60, 100)) < 0.1
    assert result.hit_rate is None or result.hit_rate < 0.02


# what it refuses


def test_what_does_not_go_together(images):
    plain, public = images
    disguised, known = rmt(plain), plain[:5]
    given = {"scheme": rmt_scheme(), "public": public}

    def chain(known=known, disguised=disguised, target=disguised[:3], **options):
        return chain_from_known_images(known, disguised, target, **{**given, **options})

    with pytest.raises(InputShapeError, match="must have one size"):
        chain(known=known[..., :12])
    with pytest.raises(InputShapeError, match="must have one size"):
        chain(public=public[..., :12])
    with pytest.raises(InputShapeError, match="images to be opened"):
        chain(target=disguised[..., :12])
    with pytest.raises(InputTypeError, match="images to be opened must be torch.float32"):
        chain(target=disguised.to(torch.uint8))
    with pytest.raises(InputTypeError, match="public images must be torch.uint8"):
        chain(public=public / 255)
    with pytest.raises(InputRangeError, match="two different disguised images"):
        chain(disguised=disguised[:1].expand(9, -1, -1, -1))
    with pytest.raises(InputRangeError, match="rounds"):
        chain(rounds=0)
    with pytest.raises(BlockSizeError, match="order of the 16 blocks"):
        chain(prior=torch.arange(9), scheme=rmt_scheme(permuted=True))
    with pytest.raises(InputRangeError, match="for images under"):
        chain(scheme=replace(rmt_scheme(), other=("BlockPermute",)))


def test_how_many_public_images_are_wanted(images):
    plain, public = images
    for scheme, disguised in ((aes_scheme(), aes(plain)), (rmt_scheme(matrix="uniform"), rmt(plain, matrix="uniform"))):
        for few, count in ((None, 0), (public[:19], 19)):
            with pytest.raises(InputRangeError, match=f"at least 20, preferably a few thousand, not {count}"):
                chain_from_known_images(plain[:9], disguised, disguised, scheme=scheme, public=few)
    with pytest.raises(InputTypeError, match="needs disguised bytes"):
        disguised = aes(plain).float()
        chain_from_known_images(plain[:9], disguised, disguised, scheme=aes_scheme(), public=public)


def test_more_known_images_than_disguised_ones(images):
    plain, public = images
    disguised = rmt(plain[:40], order=random_order())
    known = torch.cat([plain, public])
    result = chain_from_known_images(known, disguised, disguised, scheme=rmt_scheme(permuted=True))
    assert torch.equal(result.links[:40], torch.arange(40))
    assert result.kept[:40].all()
    assert int(result.kept[40:].sum()) == 0  # each disguised image has its own already


def test_distances_that_noise_makes():
    """The mean over many draws of noise; matrices do not change them."""
    images = shapes(2, 7, channels=3)[0]
    disguised, noise = images.repeat(400, 1, 1, 1), 80.0
    seen = rmt(disguised, noise=noise)
    reading = Reading(rmt_scheme(noise=noise))
    expected = _expected_squares(reading, images, seen)
    mine, theirs = features_of(reading, images, seen)
    squares = (theirs.unflatten(1, (400, 2)) - mine[:, None]).square().sum((0, 3)).mean(0)
    torch.testing.assert_close(squares, expected, rtol=0.05, atol=0)
