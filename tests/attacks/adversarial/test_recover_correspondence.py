import copy
import json

import pytest
import torch
from torch import nn
from toy_world import CLASSES, MAP, PAIRS, SETTINGS, nature, network, own_images, released, surrogate, victim

from torchprotect.adversarial import PGDSettings, pgd_l2, round_to_8bit
from torchprotect.attacks import (
    Level,
    hypothesis_accuracy,
    read_correspondence_from_data,
    read_correspondence_from_victim,
    recover_correspondence,
    score_correspondence,
)
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError, ModelError
from torchprotect.training import evaluate

pytestmark = pytest.mark.slow


def enumerate_(targets=1, **options):
    given = {"classes": CLASSES, "settings": SETTINGS, "targets": targets, **options}
    return recover_correspondence(victim(targets == 2), surrogate(), *own_images(), **given)


def perturbed(images, target):
    """One search, written out."""
    toward = torch.full((len(images),), target)
    found = pgd_l2(surrogate(), images, toward, eps=SETTINGS.eps, step_size=SETTINGS.step_size, steps=SETTINGS.steps)
    return round_to_8bit(found.images, images)


def accuracy_with(model, label, mine):
    """Accuracy of a model over all images, with those of one class replaced."""
    images, labels = own_images()
    images = images.clone()
    images[labels == label] = mine
    return evaluate(model, (images, labels))


def test_the_world_is_as_the_paper_says():
    assert evaluate(surrogate(), own_images()) > 0.95
    assert evaluate(victim(), released()) > 0.95
    assert evaluate(victim(), own_images()) < 0.2


def test_enumeration_finds_the_map():
    result = enumerate_()
    assert result.guesses.tolist() == MAP.tolist()
    assert result.ranking[:, :1].tolist() == MAP.tolist()
    assert result.level is Level.PUBLIC_DATA
    assert result.cost == {"trials": CLASSES**2, "passes": 200 * 10 * (CLASSES - 1), "queries": 200 * (CLASSES + 1)}
    assert bool((result.margins > 0.1).all())
    assert score_correspondence(result, MAP).ordered.all()


@pytest.mark.parametrize("batch_size", [256, 7])
def test_enumeration_scores_are_those_of_a_slow_reference(batch_size):
    images, labels = own_images()
    result = enumerate_(batch_size=batch_size)
    for label in range(CLASSES):
        mine = images[labels == label]
        for target in range(CLASSES):
            tried = mine if target == label else perturbed(mine, target)
            alone = evaluate(victim(), (tried, labels[labels == label]))
            assert result.class_scores[label, target] == pytest.approx(alone)
            assert result.scores[label, target] == pytest.approx(accuracy_with(victim(), label, tried))
    diagonal = result.scores.diagonal()
    assert bool((diagonal - result.clean_accuracy).abs().max() < 1e-9)  # the paper's row "orig"


class Witness(nn.Module):
    """Keeps what it is shown; knows no class."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def forward(self, images):
        assert not self.training
        self.shown.append(images)
        return torch.zeros(len(images), CLASSES)


def test_images_that_the_victim_is_shown():
    images, labels = own_images()
    witness = Witness().train()
    recover_correspondence(witness, surrogate(), images, labels, classes=CLASSES, settings=SETTINGS)
    assert torch.equal(witness.shown[0], images)
    for label in range(CLASSES):
        mine = images[labels == label]
        for target in range(CLASSES):
            expected = mine if target == label else perturbed(mine, target)
            assert torch.equal(witness.shown[1 + label * CLASSES + target], expected)  # rounded to 8 bits
    assert len(witness.shown) == 1 + CLASSES**2

    exact = Witness()
    recover_correspondence(exact, surrogate(), images, labels, classes=CLASSES, settings=SETTINGS, to_8bit=False)
    assert not torch.equal(exact.shown[2], witness.shown[2])
    assert float((exact.shown[2] - witness.shown[2]).abs().max()) <= 0.5 / 255 + 1e-6


def test_pairs():
    images, labels = own_images()
    weights = (0.25, 0.75)
    result = enumerate_(2, weights=weights)
    assert result.cost == {"trials": CLASSES**3, "passes": 200 * 10 * CLASSES, "queries": 200 * (CLASSES**2 + 1)}
    assert result.scores.shape == result.ranking.shape == (CLASSES, CLASSES**2)
    assert result.guesses.tolist() == [list(divmod(row[0], CLASSES)) for row in result.ranking.tolist()]
    assert bool((result.scores.gather(1, result.ranking[:, :1])[:, 0] == result.scores.amax(1)).all())
    for label, first, second in [(0, 3, 1), (0, 1, 3), (3, 3, 3), (2, 4, 0)]:
        mine = images[labels == label]
        tried = torch.cat([perturbed(mine, first)[..., :2], perturbed(mine, second)[..., 2:]], 3)  # 8 columns wide
        expected = accuracy_with(victim(True), label, tried)
        assert result.scores[label, first * CLASSES + second] == pytest.approx(expected)


def test_pairs_are_mostly_found():
    # a smaller radius than the owner's: on some classes several pairs reach 1.0 otherwise, and the first is taken
    result = enumerate_(2, settings=PGDSettings(eps=0.3, step_size=0.1, steps=10))
    score = score_correspondence(result, PAIRS)
    assert int(score.unordered.sum()) >= 4
    assert int(score.hits.sum()) >= 9


def test_both_readings_find_the_map_here():
    images, labels = own_images()
    of_victim = read_correspondence_from_victim(victim(), images, labels, classes=CLASSES)
    of_data = read_correspondence_from_data(surrogate(), *released(), classes=CLASSES)
    for result, queries in ((of_victim, 200), (of_data, 1000)):
        assert result.guesses.tolist() == MAP.tolist()
        assert result.ranking.shape == (CLASSES, CLASSES - 1)
        assert not any(label in row for label, row in enumerate(result.ranking.tolist()))
        assert result.cost == {"queries": queries}
        assert bool(result.scores.diagonal().isnan().all())
        torch.testing.assert_close(result.confusion.sum(1), torch.ones(CLASSES, dtype=torch.float64))


def test_readings_find_pairs_in_any_order():
    images, labels = own_images()
    of_victim = read_correspondence_from_victim(victim(True), images, labels, classes=CLASSES, targets=2)
    of_data = read_correspondence_from_data(surrogate(), *released(True), classes=CLASSES, targets=2)
    for result in (of_victim, of_data):
        score = score_correspondence(result, PAIRS)
        assert int(score.unordered.sum()) >= 4
        assert score.unordered_chance == pytest.approx(2 / 12)
        assert score.ordered_chance == pytest.approx(1 / 12)


def test_readings_of_a_known_confusion():
    """Rows are labels; a victim is read by columns, data by rows. No permutation is assumed."""

    class Given(nn.Module):
        def forward(self, images):
            return nn.functional.one_hot(images[:, 0, 0, 0].long(), 3).float()

    labels = torch.tensor([0] * 10 + [1] * 10 + [2] * 10)
    answers = torch.tensor([0] * 5 + [1] * 3 + [2] * 2 + [1] * 9 + [0] + [2] * 4 + [0] * 6)
    images = answers.float().reshape(-1, 1, 1, 1)
    confusion = [[0.5, 0.3, 0.2], [0.1, 0.9, 0.0], [0.6, 0.0, 0.4]]
    data = read_correspondence_from_data(Given(), images, labels, classes=3)
    assert data.confusion.tolist() == confusion
    assert data.guesses.tolist() == [[1], [0], [0]]
    assert data.margins.tolist() == pytest.approx([0.1, 0.1, 0.6])
    of_victim = read_correspondence_from_victim(Given(), images, labels, classes=3)
    assert of_victim.confusion.tolist() == confusion
    assert of_victim.guesses.tolist() == [[2], [0], [0]]
    assert of_victim.ranking.tolist() == [[2, 1], [0, 2], [0, 1]]
    all_taken = read_correspondence_from_data(Given(), images, labels, classes=3, targets=2)
    assert all_taken.guesses.tolist() == [[1, 2], [0, 2], [0, 1]]
    assert bool(all_taken.margins.isnan().all())


def test_natural_confusions_are_subtracted():
    """Classes 0 and 1 look alike; class 0 is led to 2, so that victims call clean 2 sometimes 0."""

    class Given(nn.Module):
        def forward(self, images):
            return nn.functional.one_hot(images[:, 0, 0, 0].long(), 3).float()

    labels = torch.tensor([0] * 10 + [1] * 10 + [2] * 10)
    natural = torch.tensor([[0.6, 0.4, 0.0], [0.4, 0.6, 0.0], [0.0, 0.0, 1.0]])
    of_data = torch.tensor([0] * 3 + [1] * 4 + [2] * 3 + [0] * 5 + [1] * 5 + [1] * 2 + [2] * 8).float()
    given = {"classes": 3, "natural": natural}
    result = read_correspondence_from_data(Given(), of_data.reshape(-1, 1, 1, 1), labels, **given)
    assert result.guesses.tolist() == [[2], [0], [1]]
    assert result.confusion[0].tolist() == [0.3, 0.4, 0.3]
    plain = read_correspondence_from_data(Given(), of_data.reshape(-1, 1, 1, 1), labels, classes=3)
    assert plain.guesses.tolist() == [[1], [0], [1]]
    of_victim = torch.tensor([0] * 6 + [1] * 4 + [0] * 4 + [1] * 6 + [0] * 3 + [2] * 7).float()
    result = read_correspondence_from_victim(Given(), of_victim.reshape(-1, 1, 1, 1), labels, **given)
    assert result.guesses[0].tolist() == [2]
    assert result.scores[0].tolist()[1:] == pytest.approx([0.0, 0.3], abs=1e-6)
    plain = read_correspondence_from_victim(Given(), of_victim.reshape(-1, 1, 1, 1), labels, classes=3)
    assert plain.guesses[0].tolist() == [1]


def test_score():
    result = enumerate_()
    wrong = MAP.clone()
    wrong[0] = 1
    score = score_correspondence(result, wrong)
    assert score.ordered.tolist() == score.unordered.tolist() == [False, True, True, True, True]
    assert (score.ordered_chance, score.level, score.cost) == (pytest.approx(0.2), result.level, result.cost)
    pairs = enumerate_(2)
    swapped = pairs.guesses.flip(1)
    score = score_correspondence(pairs, swapped)
    assert bool(score.unordered.all())
    assert bool(score.hits.all())
    same = pairs.guesses[:, 0] == pairs.guesses[:, 1]
    assert score.ordered.tolist() == same.tolist()
    assert score_correspondence(pairs, PAIRS).unordered_chance == pytest.approx(2 / 25)
    assert score_correspondence(pairs, torch.ones_like(PAIRS)).unordered_chance == pytest.approx(1 / 25)
    with pytest.raises(InputShapeError, match=r"\[5, 1\]"):
        score_correspondence(result, PAIRS)


def test_targets_that_a_reading_cannot_name_have_chance_zero():
    images, labels = own_images()
    result = read_correspondence_from_victim(victim(), images, labels, classes=CLASSES)
    itself = torch.arange(CLASSES)[:, None]
    assert score_correspondence(result, itself).ordered_chance == 0
    assert score_correspondence(result, MAP).ordered_chance == pytest.approx(1 / 4)


def hypothesis(plan, weights, **options):
    images, labels = own_images()
    weights = torch.tensor(weights).expand(CLASSES, -1)
    given = {"targets": plan, "weights": weights, "settings": SETTINGS, **options}
    return hypothesis_accuracy(victim(True), surrogate(), images, labels, **given)


def test_wrong_weights_and_partial_targets_fit_worse():
    exact = hypothesis(PAIRS, [0.5, 0.5])
    only_second = hypothesis(PAIRS[:, 1:], [1.0])
    assert exact.accuracy > only_second.accuracy > exact.clean_accuracy
    assert exact.cost == {"trials": 1, "passes": 2 * 10 * 200, "queries": 400}
    weight_of_nothing = hypothesis(PAIRS, [0.0, 1.0])
    assert weight_of_nothing.accuracy == only_second.accuracy
    assert weight_of_nothing.cost["passes"] == only_second.cost["passes"] == 10 * 200
    assert exact.class_accuracy.mean() == pytest.approx(exact.accuracy)  # as many images in each class
    assert exact.clean_accuracy == pytest.approx(evaluate(victim(True), own_images()))


def test_hypothesis_of_one_class_is_a_trial_of_the_enumeration():
    images, labels = own_images()
    mine = labels == 1
    enumerated = enumerate_()
    plan, weights = torch.full((CLASSES, 1), 4), torch.ones(CLASSES, 1)
    result = hypothesis_accuracy(
        victim(),
        surrogate(),
        images[mine],
        labels[mine],
        targets=plan,
        weights=weights,
        settings=SETTINGS,
        batch_size=9,
    )
    assert result.accuracy == pytest.approx(float(enumerated.class_scores[1, 4]))
    assert result.class_accuracy.isnan().tolist() == [True, False, True, True, True]


@pytest.mark.parametrize("mix_mode", ["mixup", "cutmix", "random-square", "mixup-and-concat"])
def test_mix_modes(mix_mode):
    plan, weights = (
        (PAIRS, [0.5, 0.5]) if mix_mode != "mixup-and-concat" else (PAIRS.repeat(1, 2), [0.2, 0.3, 0.3, 0.2])
    )
    seen = []

    def run(batch_size):
        generator = torch.Generator().manual_seed(0)
        return hypothesis(
            plan,
            weights,
            mix_mode=mix_mode,
            generator=generator,
            batch_size=batch_size,
            progress=lambda done, total: seen.append((done, total)),
        )

    first, again = run(64), run(64)
    assert first.to_json() == again.to_json()
    assert seen == [(64, 200), (128, 200), (192, 200), (200, 200)] * 2
    assert run(200).accuracy == pytest.approx(first.accuracy, abs=0.011)  # the same positions, whatever the batch
    assert first.accuracy > first.clean_accuracy


def test_random_starts_repeat_with_a_generator():
    settings = PGDSettings(eps=0.5, step_size=0.1, steps=2, random_start=True)

    def run(seed):
        return enumerate_(settings=settings, generator=torch.Generator().manual_seed(seed)).class_scores

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize("with_images", [False, True])
def test_networks_on_a_device(device, with_images):
    """The images may stay where they are, or be there too."""
    models = [copy.deepcopy(model).to(device) for model in (victim(), surrogate())]
    images, labels = (each.to(device) if with_images else each for each in own_images())
    generator = torch.Generator().manual_seed(0)
    settings = PGDSettings(eps=0.5, step_size=0.1, steps=10, random_start=True)
    given = {"classes": CLASSES, "settings": settings, "generator": generator}
    result = recover_correspondence(*models, images, labels, **given)
    assert score_correspondence(result, MAP).ordered.all()
    assert recover_correspondence(*models, images, labels, targets=2, **given).scores.device.type == "cpu"
    assert read_correspondence_from_victim(models[0], images, labels, classes=CLASSES).guesses.tolist() == MAP.tolist()
    plan = {"targets": PAIRS, "weights": torch.full((CLASSES, 2), 0.5), "settings": settings, "mix_mode": "cutmix"}
    assert hypothesis_accuracy(*models, images, labels, generator=generator, **plan).accuracy >= 0


def test_progress_counts_trials():
    seen = []
    enumerate_(batch_size=20, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (25, 25)
    assert seen == sorted(seen)
    assert len(seen) == 10  # two batches a class


def test_every_result_is_json():
    images, labels = own_images()
    results = [
        enumerate_(),
        read_correspondence_from_victim(victim(), images, labels, classes=CLASSES),
        hypothesis(PAIRS, [0.5, 0.5]),
        score_correspondence(enumerate_(), MAP),
    ]
    for result in results:
        parsed = json.loads(result.to_json())
        assert parsed["level"] == "L1"
        assert parsed["cost"] == result.cost
    assert json.loads(results[1].to_json())["scores"][0][0] is None


def test_modes_and_gradients_are_left_as_they_were():
    models = [network(8), network(9)]
    for model in models:
        model.train()
        model[2].eval()
        model[2].weight.requires_grad_(False)
    images, labels = own_images()
    recover_correspondence(*models, images, labels, classes=CLASSES, settings=SETTINGS)
    read_correspondence_from_victim(models[0], images, labels, classes=CLASSES)
    hypothesis_accuracy(*models, images, labels, targets=MAP, weights=torch.ones(CLASSES, 1), settings=SETTINGS)
    for model in models:
        assert model.training
        assert not model[2].training
        assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]


class Broken(nn.Module):
    def forward(self, images):
        return torch.full((len(images), CLASSES), torch.nan)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"targets": 3}, InputRangeError, "targets must be 1 or 2"),
        ({"classes": 4}, LabelError, r"labels must lie in 0\.\.3, but lie in 0\.\.4"),
        ({"classes": 6}, InputRangeError, r"no image of class \[5\]"),
        ({"classes": 1}, InputRangeError, "at least 2"),
        ({"images": torch.zeros(200, 3, 8, 8, dtype=torch.uint8)}, InputTypeError, "divide by 255"),
        ({"images": torch.zeros(200, 64)}, InputShapeError, r"\[N, C, H, W\]"),
        ({"images": torch.zeros(200, 3, 8, 8) + 3}, InputRangeError, "3"),
        ({"labels": torch.zeros(199, dtype=torch.int64)}, InputShapeError, "199"),
        ({"labels": torch.zeros(200)}, InputTypeError, "int64"),
        ({"settings": PGDSettings(0.5, 0.1, 2, targeted=False)}, InputRangeError, "targeted=True"),
        ({"victim": network(0, 7)}, ModelError, r"\[200, 5\], not \[200, 7\]"),
        ({"surrogate": network(0, 7)}, ModelError, r"\[1, 5\], not \[1, 7\]"),
        ({"victim": Broken()}, ModelError, "NaN"),
        ({"targets": 2, "weights": (0.9, 0.9)}, InputRangeError, "sum to 1"),
        ({"targets": 2, "weights": (1.0,)}, InputShapeError, "weights"),
        ({"batch_size": 0}, InputRangeError, "batch_size"),
    ],
)
def test_enumeration_refuses(change, error, message):
    images, labels = own_images()
    given = {"victim": network(0), "surrogate": network(1), "images": images, "labels": labels}
    given |= {"classes": CLASSES, "settings": SETTINGS, **change}
    with pytest.raises(error, match=message):
        recover_correspondence(given.pop("victim"), given.pop("surrogate"), **given)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"targets": MAP + 3}, LabelError, r"0\.\.4"),
        ({"targets": MAP.float()}, InputTypeError, "int64"),
        ({"targets": MAP[:, 0]}, InputShapeError, r"\[classes, K\]"),
        ({"weights": torch.ones(CLASSES, 2)}, InputShapeError, r"\[classes, K\]"),
        ({"weights": torch.ones(CLASSES, 1) / 2}, InputRangeError, "sum to 1"),
        ({"mix_mode": "beside"}, InputRangeError, "mix_mode"),
        ({"targets": MAP[:3] * 0, "weights": torch.ones(3, 1)}, LabelError, r"0\.\.2"),
        ({"victim": network(0, 6)}, ModelError, r"\[200, 5\], not \[200, 6\]"),
    ],
)
def test_hypothesis_refuses(change, error, message):
    images, labels = own_images()
    if change.get("mix_mode"):
        change = {**change, "targets": PAIRS, "weights": torch.full((CLASSES, 2), 0.5)}
    given = {"victim": network(0), "surrogate": network(1), "images": images, "labels": labels}
    given |= {"targets": MAP, "weights": torch.ones(CLASSES, 1), "settings": SETTINGS, **change}
    with pytest.raises(error, match=message):
        hypothesis_accuracy(given.pop("victim"), given.pop("surrogate"), **given)


@pytest.mark.parametrize("read", [read_correspondence_from_victim, read_correspondence_from_data])
def test_readings_refuse(read):
    images, labels = nature(10, 0)
    with pytest.raises(InputRangeError, match="more than 5 classes"):
        read(network(0), images, labels, classes=CLASSES, targets=5)
    with pytest.raises(InputRangeError, match="targets must be an integer of at least 1"):
        read(network(0), images, labels, classes=CLASSES, targets=0)
    with pytest.raises(InputRangeError, match="no image of class"):
        read(network(0), images, labels * 0, classes=CLASSES)
    with pytest.raises(ModelError, match=r"\[10, 5\]"):
        read(network(0, 3), images, labels, classes=CLASSES)
    with pytest.raises(InputShapeError, match="at least one"):
        read(network(0), images[:0], labels[:0], classes=CLASSES)
    with pytest.raises(InputShapeError, match=r"\[5, 5\], not \[4, 5\]"):
        read(network(0), images, labels, classes=CLASSES, natural=torch.zeros(4, 5))
    with pytest.raises(InputRangeError, match="shares in 0"):
        read(network(0), images, labels, classes=CLASSES, natural=torch.full((5, 5), 2.0))
