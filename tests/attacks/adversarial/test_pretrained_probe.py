import json

import pytest
import torch
from nets import Function
from torch import nn
from toy_world import CLASSES, nature, own_images, patterns, released

from torchprotect.attacks import Level, pretrained_probe
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError, ModelError
from torchprotect.training import Recipe, evaluate


def strong_features(images):
    """Read the strong pattern alone, as a network would that has never seen the perturbation."""
    return (images - 0.5).flatten(1) @ patterns()[0].flatten(1).T


def probe(data=None, **options):
    images, labels = released() if data is None else data
    given = {
        "encoder": strong_features,
        "classes": CLASSES,
        "epochs": 15,
        "recipe": Recipe(learning_rate=2e-2),
        **options,
    }
    test = given.pop("test", own_images())
    return pretrained_probe(images, labels, test, generator=torch.Generator().manual_seed(0), **given)


def test_features_unaffected_by_the_perturbation_reach_plain_accuracy():
    found, plain, on_pixels = probe(), probe(nature(1000, 3)), probe(encoder=nn.Flatten())
    assert found.level is Level.PUBLIC_DATA
    assert found.cost == {"epochs": 15, "images": 15_000, "passes": 1_200}
    assert found.peak >= found.last >= 0.65
    assert found.last == pytest.approx(plain.last, abs=0.05)
    assert on_pixels.peak < 0.2  # the same probe of the pixels follows the perturbation
    assert json.loads(found.to_json())["accuracies"] == found.accuracies.tolist()


def test_shuffled_labels_give_chance():
    images, labels = released()
    drawn = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    assert probe((images, drawn)).last < 0.3


def test_the_encoder_is_frozen_and_keeps_its_mode():
    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.modes, self.sizes = nn.Linear(192, 8), set(), []

        def forward(self, images):
            self.modes.add(self.training)
            self.sizes.append(len(images))
            return self.linear(images.mul_(1).flatten(1))  # what it does to its input is its own affair

    torch.manual_seed(0)
    encoder = Watched().train()
    before, images = encoder.linear.weight.clone(), released()[0].clone()
    probe(encoder=encoder, batch_size=100, epochs=1)
    assert encoder.training
    assert encoder.modes == {False}
    assert encoder.sizes == [100] * 12
    assert torch.equal(encoder.linear.weight, before)
    assert encoder.linear.weight.grad is None
    assert torch.equal(released()[0], images)


def test_it_is_a_linear_classifier_of_standardised_features():
    """A slow reference: the same training written out."""
    images, labels = nature(100, 3)
    features = strong_features(images)
    scaled = (features - features.mean(0)) / features.std(0, correction=0)
    clean = (strong_features(own_images()[0]) - features.mean(0)) / features.std(0, correction=0)
    model = nn.Linear(CLASSES, CLASSES)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2, weight_decay=0.01)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    for part in order.split(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(scaled[part]), labels[part]).backward()
        optimizer.step()
    found = probe((images, labels), epochs=1, batch_size=30)
    assert found.last == evaluate(model, (clean, own_images()[1]))


def test_a_constant_feature_does_no_harm():
    def with_constant(images):
        return torch.cat([strong_features(images), torch.ones(len(images), 1)], 1)

    assert probe(encoder=with_constant).last == pytest.approx(probe().last, abs=0.02)


def test_probe_on_a_device(device):
    images, labels = (each.to(device) for each in nature(50, 3))
    test = tuple(each.to(device) for each in own_images())
    assert 0 <= probe((images, labels), test=test, encoder=nn.Flatten(), epochs=1).last <= 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"encoder": "resnet"}, InputTypeError, "function of images, got str"),
        ({"encoder": lambda x: x}, ModelError, r"\[64, E\], not \[64, 3, 8, 8\]"),
        ({"encoder": lambda x: None}, ModelError, "not NoneType"),
        ({"encoder": lambda x: x.flatten(1) / 0}, ModelError, "NaN or infinite"),
        ({"encoder": nn.Linear(5, 5)}, ModelError, r"does not take images of \[64, 3, 8, 8\]"),
        ({"encoder": Function(lambda x: x.flatten(1)[:3])}, ModelError, r"\[64, E\], not \[3, 192\]"),
        ({"epochs": 0}, InputRangeError, "epochs"),
        ({"batch_size": 0}, InputRangeError, "batch_size"),
        ({"classes": 4}, LabelError, r"0\.\.3"),
        ({"test": (torch.zeros(9, 3, 8, 9), torch.zeros(9).long())}, InputShapeError, "one size"),
    ],
)
def test_probe_refuses(change, error, message):
    with pytest.raises(error, match=message):
        probe(**change)
