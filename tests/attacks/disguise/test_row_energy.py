import json
import math

import pytest
import torch
from disguised_shapes import CLASSES, SIZE, blocks_with_loops, random_order, rmt, rmt_scheme, shapes, share
from support import make_image

from torchprotect import data
from torchprotect.attacks import Level, row_energy_attack, score_classes
from torchprotect.attacks.neighbours import vote
from torchprotect.errors import BlockSizeError, InputRangeError, InputShapeError, InputTypeError, LabelError

GIVEN = {"classes": CLASSES, "scheme": rmt_scheme()}
PLACES = torch.arange(16)


def classes_with_loops(public, labels, disguised, order, k, side):
    axis = -1 if side == "right" else -2

    def read(image, at):
        blocks = blocks_with_loops(image)
        return torch.cat([blocks[n].norm(dim=axis).flatten() for n in at]).tolist()

    known = [read(image, range(16)) for image in public]
    guesses = []
    for image in disguised:
        norms = read(image, order.argsort().tolist())
        near = sorted((math.dist(norms, each), label) for each, label in zip(known, labels.tolist()))[:k]
        votes = [sum(1 / far for far, label in near if label == each) for each in range(CLASSES)]
        guesses.append(max(range(CLASSES), key=votes.__getitem__))
    return guesses


@pytest.mark.parametrize("side", ["right", "left"])
def test_classes_as_with_loops(side, device):
    public, labels = shapes(40, 1, 2)
    order = random_order()
    disguised = rmt(shapes(30, 2, 2)[0], order=order, side=side)
    given = {"classes": CLASSES, "scheme": rmt_scheme(side=side), "order": order.order, "voters": 7}
    result = row_energy_attack(*(each.to(device) for each in (public, labels, disguised)), **given)
    assert result.guesses.tolist() == classes_with_loops(public, labels, disguised, order.order, 7, side)
    assert result.level is Level.PUBLIC_DATA
    assert result.cost == {"public": 40, "disguised": 30, "features": 16 * 2 * 4}
    assert json.loads(result.to_json())["guesses"] == result.guesses.tolist()
    single = row_energy_attack(public, labels, disguised[3:4], **given)
    assert single.guesses.tolist() == result.guesses[3:4].tolist()


def test_a_secret_order_is_recovered():
    public, labels = shapes(1500, 1)
    plain, truth = shapes(1500, 2)
    order = random_order()
    disguised = rmt(plain, noise=50, order=order)
    given = {"classes": CLASSES, "scheme": rmt_scheme(noise=50, permuted=True)}
    found = row_energy_attack(public, labels, disguised, **given)
    told = row_energy_attack(public, labels, disguised, **given, order=order.order)
    wrong = row_energy_attack(public, labels, disguised, **given, order=PLACES)
    assert share(told.guesses, truth) > 0.9
    assert share(found.guesses, truth) > share(told.guesses, truth) - 0.05
    assert share(wrong.guesses, truth) < 0.7


@pytest.mark.parametrize("matrix", ["uniform", "gaussian"])
def test_other_matrices_are_read_on_a_learned_scale(matrix):
    public, labels = shapes(800, 1, 3)
    plain, truth = shapes(800, 2, 3)
    scales = torch.logspace(-2, 2, 48)[torch.randperm(48, generator=torch.Generator().manual_seed(0))]
    scales = scales.reshape(3, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)
    disguised = rmt(plain, matrix=matrix, channels=3) * scales
    without, learned = (
        share(row_energy_attack(public, labels, disguised, classes=CLASSES, scheme=scheme).guesses, truth)
        for scheme in (rmt_scheme(channels=3), rmt_scheme(channels=3, matrix=matrix))
    )
    assert without + 0.02 < learned > 0.95


def test_the_mean_of_the_noise_is_counted_in():
    public, labels = shapes(800, 1)
    plain, truth = shapes(800, 2)
    disguised = rmt(plain, noise=200)
    shares = [
        share(row_energy_attack(public, labels, disguised, classes=CLASSES, scheme=rmt_scheme(noise=u)).guesses, truth)
        for u in (0.0, 200.0)
    ]
    assert shares[0] + 0.05 < shares[1] > 0.9


def test_controls():
    """Undisguised images that the attacker has are named; fresh noise gets no more than chance."""
    public, labels = shapes(400, 1)
    same = row_energy_attack(public, labels, public.float(), **GIVEN)
    assert torch.equal(same.guesses, labels)
    fresh = make_image(400, 1, *SIZE, seed=3).float()
    for scheme in (rmt_scheme(), rmt_scheme(permuted=True)):
        found = score_classes(row_energy_attack(public, labels, fresh, classes=CLASSES, scheme=scheme), labels)
        assert found.low <= found.chance


def test_floats_and_grey_levels_are_the_same():
    public, labels = shapes(300, 1)
    disguised = rmt(shapes(200, 2)[0], noise=30)
    given = {"classes": CLASSES, "scheme": rmt_scheme(noise=30)}
    one = row_energy_attack(public, labels, disguised, **given)
    other = row_energy_attack(public / 255, labels, disguised / 255, **given)
    assert torch.equal(one.guesses, other.guesses)


def test_nearer_neighbours_count_more():
    mine = torch.tensor([0.0, 3, 3.5, 9]).reshape(1, 4, 1)
    labels = torch.tensor([0, 1, 1, 2])
    theirs = torch.tensor([0.1, 1.4, 2.5, 100]).reshape(1, 4, 1)
    assert vote(mine, labels, theirs, 3, 3).tolist() == [0, 1, 1, 1]
    assert vote(mine, labels, theirs, 3, 1).tolist() == [0, 0, 1, 2]
    assert vote(mine, labels, mine, 3, 9).tolist() == [0, 1, 1, 2]  # as many as there are


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"classes": 1}, InputRangeError, "classes"),
        ({"classes": 3}, LabelError, r"0\.\.2"),
        ({"voters": 0}, InputRangeError, "voters must"),
        ({"scheme": rmt_scheme((5, 4))}, BlockSizeError, "do not divide"),
        ({"order": torch.zeros(16, dtype=torch.int64)}, BlockSizeError, "each once"),
        ({"order": torch.arange(4)}, BlockSizeError, "16 blocks"),
        ({"labels": torch.zeros(9)}, InputTypeError, "int64"),
        ({"labels": torch.zeros(8, dtype=torch.int64)}, InputShapeError, r"images .* and labels"),
        ({"disguised": torch.zeros(5, 1, 16, 12)}, InputShapeError, "one size"),
        ({"disguised": torch.zeros(0, 1, 16, 16)}, InputShapeError, "at least one"),
    ],
)
def test_refuses(change, error, message):
    public = shapes(9, 0)[0]
    given = {"public": public, "labels": torch.arange(9) % 4, "disguised": public.float(), **GIVEN, **change}
    with pytest.raises(error, match=message):
        row_energy_attack(given.pop("public"), given.pop("labels"), given.pop("disguised"), **given)


@pytest.mark.parametrize(("matrix", "least"), [("orthogonal", 0.8), ("uniform", 0.78)])
def test_mnist_digits_are_read_through_noise(real, matrix, least):
    source = data.open_source(f"mnist:{real}")
    images = torch.stack([source[n].image for n in range(4000)])
    labels = torch.tensor(source.known_labels()[:4000])
    disguised = rmt(images[3000:], noise=100, order=random_order((7, 7), (28, 28)), block_size=(7, 7), matrix=matrix)
    scheme = rmt_scheme((7, 7), noise=100, matrix=matrix, permuted=True)
    result = row_energy_attack(images[:3000], labels[:3000], disguised, classes=10, scheme=scheme)
    assert share(result.guesses, labels[3000:]) > least
