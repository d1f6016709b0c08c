import pytest
import torch
from disguised_shapes import random_order, rmt_scheme
from support import make_image

from torchprotect import attacks, functional, keys
from torchprotect.errors import InputRangeError

SIZES = {"image_size": (16, 16), "block_size": (4, 4)}


def dim(count=300, channels=1, seed=0):
    """Images of few grey levels, in which pixels of one grey level are frequent."""
    return make_image(count, channels, 16, 16, seed=seed) // 100


def in_key(found, key, order):
    """Count the rows that stand in the key, at the place where they are said to stand."""
    matrices = key.matrices.mT if key.side == "left" else key.matrices
    places = [0 if key.shared else int(order[place]) for place, _ in found.groups.tolist()]
    own = matrices[places, found.groups[:, 1]]
    return int(((own @ found.rows[..., None]).abs().amax((1, 2)) > 0.999).sum())


@pytest.mark.parametrize(
    "options", [{}, {"channels": 3}, {"shared": True}, {"side": "left"}, {"shared": True, "channels": 3}]
)
def test_rows_of_the_key_are_read_off_the_images(options):
    key, order = keys.RMTKey.generate(**SIZES, **options), random_order()
    disguised = functional.rmt_disguise(dim(channels=3), key, permutation=order)
    found = attacks.read_matrix_rows(disguised, scheme=rmt_scheme(permuted=True, **options))
    assert found.total == key.matrices.shape[0] * key.matrices.shape[1] * 4 // (16 if key.shared else 1)
    assert found.found == found.total == in_key(found, key, order.order)
    assert found.complete == found.total // 4


def test_float_images_are_read_on_their_scale():
    key = keys.RMTKey.generate(**SIZES)
    disguised = functional.rmt_disguise(dim().float() / 255, key)
    assert attacks.read_matrix_rows(disguised, scheme=rmt_scheme(white=1)).found == 64


def test_images_without_single_grey_levels_give_nothing():
    key = keys.RMTKey.generate(**SIZES)
    found = attacks.read_matrix_rows(functional.rmt_disguise(3 * dim(), key), scheme=rmt_scheme())
    assert found.found == found.complete == 0
    assert found.total == 64


def test_noise_gives_nothing():
    noise = 255 * torch.rand(200, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert attacks.read_matrix_rows(noise, scheme=rmt_scheme()).found == 0


@pytest.mark.parametrize("width", [2, 4])
def test_noise_in_narrow_blocks_gives_nothing(width):
    """One line in some hundred of such noise has length 1 by chance."""
    noise = 3 * torch.randn(500, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert attacks.read_matrix_rows(noise, scheme=rmt_scheme((4, width))).found == 0


def test_images_rounded_to_half_precision_give_no_wrong_rows():
    bright = 200 + dim(2000)
    bright[:20] = dim(20)
    key, order = keys.RMTKey.generate(**SIZES), random_order()
    disguised = functional.rmt_disguise(bright, key, permutation=order).half()
    found = attacks.read_matrix_rows(disguised, scheme=rmt_scheme(permuted=True))
    matrices = key.matrices[order.order[found.groups[:, 0]], 0]
    assert found.found > 40
    assert float((matrices @ found.rows[..., None]).abs().amax((1, 2)).min()) > 0.99


def test_pieces_of_the_key_are_not_printed():
    key = keys.RMTKey.generate(**SIZES)
    found = attacks.read_matrix_rows(functional.rmt_disguise(dim(), key), scheme=rmt_scheme())
    assert "rows" not in found.to_json()
    assert str(round(float(found.rows[0, 0]), 3)) not in repr(found)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"noise": 1.0}, "noise covers"),
        ({"matrix": "uniform"}, "uniform"),
        ({"matrix": "gaussian"}, "gaussian"),
        ({"block_size": (4, 1)}, "one number"),
        ({"block_size": (1, 4), "side": "left"}, "one number"),
    ],
)
def test_where_no_rows_can_stand_it_says_so(options, reason):
    with pytest.raises(InputRangeError, match=reason):
        attacks.read_matrix_rows(torch.zeros(2, 1, 16, 16), scheme=rmt_scheme(**options))
