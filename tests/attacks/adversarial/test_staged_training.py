import pytest
import torch
from torch import nn
from toy_world import nature, network, own_images, released

from torchprotect.attacks import Level, staged_training, train_and_watch
from torchprotect.errors import InputRangeError, LabelError
from torchprotect.training import Recipe, evaluate


def staged(data=None, model=None, **options):
    given = {
        "epochs": 8,
        "stages": 2,
        "recipe": Recipe(learning_rate=5e-3),
        "generator": torch.Generator().manual_seed(0),
        **options,
    }
    model = network(0) if model is None else model
    return model, staged_training(model, released() if data is None else data, own_images(), **given)


def test_shallow_layers_stop_first():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 5))
    layers = [module for module in model if isinstance(module, nn.Linear)]
    after, seen = [], []

    def keep(done, total):
        seen.append((done, total))
        after.append([layer.weight.detach().clone() for layer in layers])

    before = [layer.weight.detach().clone() for layer in layers]
    staged(model=model, epochs=7, stages=3, progress=keep)
    assert seen == [(n, 7) for n in range(1, 8)]  # stages of 3, 2 and 2 epochs
    moved = [
        [not torch.equal(one, other) for one, other in zip(earlier, later)]
        for earlier, later in zip([before, *after], after)
    ]
    assert moved == [[True] * 3] * 3 + [[False, True, True]] * 2 + [[False, False, True]] * 2
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_one_stage_is_plain_training():
    generator = torch.Generator().manual_seed(0)
    plain = train_and_watch(
        network(0), released(), own_images(), epochs=3, recipe=Recipe(learning_rate=5e-3), generator=generator
    )
    assert torch.equal(staged(epochs=3, stages=1)[1].accuracies, plain.accuracies)


def test_curve():
    model, curve = staged()
    assert curve.level is Level.PUBLIC_DATA
    assert curve.cost == {"epochs": 8, "images": 8000}
    assert curve.accuracies.shape == (8,)
    assert curve.last == float(curve.accuracies[-1]) == evaluate(model, own_images())
    assert curve.peak == float(curve.accuracies[curve.peak_epoch - 1]) == float(curve.accuracies.max())


def test_plain_images_are_learned_and_shuffled_labels_are_not():
    images, labels = nature(1000, 3)
    assert staged((images, labels))[1].last > 0.95
    drawn = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    assert staged((images, drawn))[1].last < 0.35


def test_a_perturbation_that_the_first_stage_already_follows_is_not_undone():
    assert staged()[1].last < 0.2


def test_gradients_are_asked_for_again_after_an_error():
    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    model = network(0)
    model[2].bias.requires_grad_(False)  # the owner's own choice stays
    with pytest.raises(KeyboardInterrupt):
        staged(model=model, progress=stop)
    assert [name for name, each in model.named_parameters() if not each.requires_grad] == ["2.bias"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"stages": 0}, InputRangeError, "stages"),
        ({"epochs": 1}, InputRangeError, "epochs"),
        ({"stages": 3}, InputRangeError, "3 stages need as many layers with weights, but the model has 2"),
        ({"model": network(0, 3)}, LabelError, r"0\.\.2"),
    ],
)
def test_staged_training_refuses(change, error, message):
    with pytest.raises(error, match=message):
        staged(**change)
