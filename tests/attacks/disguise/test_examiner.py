import pytest
import safetensors.torch
import torch
from support import make_image
from torch import nn

from torchprotect import attacks, data, keys, models, transforms
from torchprotect.attacks import Level
from torchprotect.attacks.results import Reconstruction
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError, ModelError

SIZE = (16, 16)


def bars(count=120, seed=0, dtype=torch.uint8):
    """Three classes: a bright bar high, in the middle, or low."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.rand(count, 1, *SIZE, generator=generator) * 0.3
    for number, label in enumerate(labels.tolist()):
        images[number, :, 5 * label + 1 : 5 * label + 4] += 0.6
    return ((images * 255).byte() if dtype == torch.uint8 else images.to(dtype)), labels


def linear(classes=3, seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(256, classes))


def examiner(dtype=torch.uint8, seed=0, **options):
    made = attacks.DNNExaminer(3, SIZE, 1, network=linear())
    return made.fit(*bars(dtype=dtype), generator=torch.Generator().manual_seed(seed), **{"epochs": 3, **options})


def weights(made):
    return torch.cat([each.flatten() for each in made._fitted.parameters()]).detach()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_recognises_originals_and_not_noise(dtype, device):
    images, labels = (each.to(device) for each in bars(dtype=dtype))
    made = attacks.DNNExaminer(3, SIZE).fit(
        images, labels, epochs=4, batch_size=20, generator=torch.Generator().manual_seed(0)
    )
    clean = attacks.examiner_score(made, *(each.to(device) for each in bars(60, 1, dtype)))
    assert clean.accuracy > 0.95
    assert clean.baseline is clean.success_rate is None
    assert clean.chance == pytest.approx(1 / 3)
    assert clean.level is Level.PUBLIC_DATA
    assert clean.cost == {"epochs": 4, "images": 480, "passes": 60}
    noise, truth = make_image(300, 1, *SIZE, seed=3).to(device), torch.arange(300) % 3
    score = attacks.examiner_score(made, noise, truth, clean.accuracy)
    assert score.low < score.chance < score.high
    assert score.success_rate == score.accuracy / clean.accuracy


def test_the_default_network_and_one_of_your_own():
    made = attacks.DNNExaminer(3, SIZE).fit(*bars(8), epochs=1)
    assert isinstance(made._fitted.network, models.SmallAlexNet)
    network = linear()
    before = network[1].weight.clone()
    attacks.DNNExaminer(3, SIZE, network=network).fit(*bars(8), epochs=1)
    assert not torch.equal(network[1].weight, before)
    assert not network.training


def test_standardises_by_its_training_images():
    images, labels = bars(30)
    made = attacks.DNNExaminer(3, SIZE, network=linear()).fit(images, labels, epochs=1)
    values = images.double() / 255
    assert float(made._fitted.mean) == pytest.approx(float(values.mean()))
    assert float(made._fitted.deviation) == pytest.approx(float(values.std(correction=0)))
    seen = []
    made._fitted.network = nn.Sequential(Spy(seen), made._fitted.network)
    made.predict(images[:5])
    torch.testing.assert_close(seen[0].double(), (values[:5] - values.mean()) / values.std(correction=0))


class Spy(nn.Module):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, images):
        self.seen.append(images)
        return images


def test_constant_channels_are_no_trouble():
    images, labels = bars(30)
    images = torch.cat([images, torch.full_like(images, 9)], 1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(512, 3))
    made = attacks.DNNExaminer(3, SIZE, 2, network=network).fit(images, labels, epochs=1)
    assert made.predict(images).guesses.shape == (30,)


def test_scales():
    """uint8 and the same numbers as floats are read alike, whatever the training images were."""
    images, _ = bars(30, 5)
    for dtype in (torch.uint8, torch.float32):
        made = examiner(dtype)
        expected = made.predict(images).guesses
        assert torch.equal(made.predict(images / 255, scale=1).guesses, expected)
        assert torch.equal(made.predict(images.float(), scale=255).guesses, expected)
    assert torch.equal(examiner(torch.float32).predict(images / 255).guesses, expected)
    assert torch.equal(examiner().predict(images.float()).guesses, examiner().predict(images).guesses)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_takes_the_output_of_rmt(dtype):
    key = keys.RMTKey.generate(image_size=SIZE, block_size=(8, 8))
    images, labels = bars(60, 5, dtype)
    disguised = transforms.RMTDisguise(key, noise=50)(images)
    assert float(disguised.min()) < 0
    score = attacks.examiner_score(examiner(dtype), disguised, labels, 1.0)
    assert 0 <= score.accuracy <= 1
    identity = transforms.RMTDisguise(key, inverse=True)(transforms.RMTDisguise(key)(images))
    assert attacks.examiner_score(examiner(dtype), identity, labels).accuracy > 0.95


def test_results_of_attacks_carry_their_level_and_cost():
    images, labels = bars(30, 5)
    result = Reconstruction(Level.KNOWN_PAIRS, {"pairs": 4}, images)
    score = attacks.examiner_score(examiner(), result, labels)
    assert (score.level, score.cost) == (Level.KNOWN_PAIRS, {"pairs": 4})
    assert score.accuracy == attacks.examiner_score(examiner(), images, labels).accuracy
    with pytest.raises(InputTypeError, match="ClassGuesses has none"):
        attacks.examiner_score(examiner(), examiner().predict(images), labels)


def test_repeats_and_leaves_other_draws_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = attacks.DNNExaminer(3, SIZE).fit(*bars(24), epochs=1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(8)
    again = attacks.DNNExaminer(3, SIZE).fit(*bars(24), epochs=1, generator=torch.Generator().manual_seed(1))
    other = attacks.DNNExaminer(3, SIZE).fit(*bars(24), epochs=1, generator=torch.Generator().manual_seed(2))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    again.fit(*bars(24), epochs=1, generator=torch.Generator().manual_seed(1))
    assert torch.equal(weights(first), weights(again))  # from the start, not on and on


def test_batch_equals_singles_and_progress_is_told():
    seen = []
    made = examiner(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    images, _ = bars(10, 5)
    singles = torch.cat([made.predict(images[n : n + 1]).guesses for n in range(10)])
    assert torch.equal(made.predict(images, batch_size=3).guesses, singles)
    assert singles.dtype == torch.int64


def test_a_single_image_left_over_is_left_out():
    made = attacks.DNNExaminer(3, SIZE).fit(*bars(21), epochs=1, batch_size=20)
    assert made.predict(bars(2)[0]).cost["images"] == 20


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: attacks.DNNExaminer(1, SIZE), InputRangeError, "classes"),
        (lambda: attacks.DNNExaminer(3, (0, 4)), InputRangeError, "image_size"),
        (lambda: attacks.DNNExaminer(3, SIZE, 0), InputRangeError, "channels"),
        (lambda: attacks.DNNExaminer(3, SIZE).predict(bars()[0]), ModelError, "not been trained"),
        (lambda: examiner().predict(torch.zeros(2, 3, 16, 16)), InputShapeError, r"\[1, 16, 16\]"),
        (lambda: examiner().predict(torch.rand(2, 1, 16, 16)), InputRangeError, "scale=1"),
        (lambda: examiner().predict(bars()[0], scale=2), InputRangeError, "255 or 1"),
        (lambda: examiner().predict(bars()[0].int()), InputTypeError, "int32"),
        (lambda: examiner().predict(torch.full((1, 1, 16, 16), torch.nan)), InputRangeError, "NaN"),
        (lambda: examiner(epochs=0), InputRangeError, "epochs"),
        (lambda: examiner(batch_size=0), InputRangeError, "batch_size"),
        (lambda: attacks.DNNExaminer(3, SIZE).fit(*bars(1)), InputRangeError, "at least two"),
        (lambda: attacks.DNNExaminer(2, SIZE).fit(*bars()), LabelError, "0..2"),
        (lambda: attacks.DNNExaminer(3, SIZE).fit(bars()[0], bars(5)[1]), InputShapeError, "images .* and labels"),
        (lambda: attacks.DNNExaminer(3, SIZE).fit(bars()[0], bars()[1].int()), InputTypeError, "int64"),
        (lambda: attacks.DNNExaminer(3, SIZE).fit(bars()[0].short(), bars()[1]), InputTypeError, "int16"),
        (lambda: attacks.DNNExaminer(3, (8, 8)).fit(*bars()), InputShapeError, r"\[1, 8, 8\]"),
        (lambda: attacks.examiner_score(examiner(), *bars(), baseline=0), InputRangeError, "baseline"),
        (lambda: attacks.examiner_score(examiner(), *bars(), baseline=97), InputRangeError, "baseline"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_network_for_other_classes():
    made = attacks.DNNExaminer(3, SIZE, network=linear(5)).fit(*bars(), epochs=1)
    with pytest.raises(ModelError, match="scores"):
        made.predict(bars()[0])


def test_direct_reidentification_of_digits(real):
    """Paper 001, Table II: an examiner is near chance on digits disguised by RMT, and high on originals."""
    source = data.open_source(f"mnist:{real}")
    images = torch.stack([source[n].image for n in range(1800)])
    labels = torch.tensor(source.known_labels()[:1800])
    made = attacks.DNNExaminer(10, (28, 28)).fit(
        images[:1500], labels[:1500], epochs=2, generator=torch.Generator().manual_seed(0)
    )
    baseline = attacks.examiner_score(made, images[1500:], labels[1500:]).accuracy
    assert baseline > 0.85
    key = keys.RMTKey.generate(image_size=(28, 28), block_size=(7, 7))
    order = keys.PermutationKey.generate(image_size=(28, 28), block_size=(7, 7))
    disguised = transforms.RMTDisguise(key, permutation=order, noise=100)(images[1500:])
    assert attacks.examiner_score(made, disguised, labels[1500:], baseline).success_rate < 0.35


@pytest.mark.parametrize("floating", [False, True])
def test_a_trained_examiner_is_taken_over(floating):
    images, labels = bars(24)
    images = images / 255 if floating else images
    first = attacks.DNNExaminer(3, SIZE).fit(images, labels, epochs=1)
    other = attacks.DNNExaminer(3, SIZE).load_state_dict(first.state_dict())
    expected, found = (each.classifier(images[:5].float()) for each in (first, other))
    assert torch.equal(expected, found)
    assert torch.equal(first.predict(images).guesses, other.predict(images).guesses)


def test_the_state_of_another_examiner_is_refused():
    state = attacks.DNNExaminer(3, SIZE).fit(*bars(24), epochs=1).state_dict()
    with pytest.raises(ModelError, match="the weights in the state of an examiner do not match the model"):
        attacks.DNNExaminer(4, SIZE).load_state_dict(state)
    with pytest.raises(ModelError, match="not been trained"):
        attacks.DNNExaminer(3, SIZE).state_dict()
    for scale in ({}, {"scale": torch.tensor(7)}, {"scale": torch.tensor([1, 2])}):
        weights = {name: tensor for name, tensor in state.items() if name != "scale"}
        with pytest.raises(ModelError, match="which value is white"):
            attacks.DNNExaminer(3, SIZE).load_state_dict({**weights, **scale})


def test_the_state_is_a_copy_that_safetensors_takes():
    made = attacks.DNNExaminer(3, SIZE).fit(*bars(24), epochs=1, channels_last=True)
    state = made.state_dict()
    safetensors.torch.save(state)
    state["network.features.0.weight"].zero_()
    assert made.state_dict()["network.features.0.weight"].any()
