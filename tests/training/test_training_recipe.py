"""Recipes: optimizers, learning rates by the share of a training that is done, and the loss."""

import pytest
import torch

from torchprotect.errors import InputRangeError, InputTypeError, ModelError
from torchprotect.models import SmallAlexNet
from torchprotect.training import Recipe, fit


def test_cosine_is_that_of_torch():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([parameter], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 7)
    for epoch in range(7):
        assert Recipe(learning_rate=0.3).rate_at(epoch / 7) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    ("done", "expected"), [(0.0, 0.0), (0.125, 0.2), (0.25, 0.4), (0.625, 0.2), (0.925, 0.04), (1.0, 0.0)]
)
def test_one_cycle_rises_over_a_quarter_and_falls_to_zero(done, expected):
    assert Recipe(learning_rate=0.4, schedule="one-cycle").rate_at(done) == pytest.approx(expected)


def test_steps_of_250_epochs_are_at_100_150_and_200():
    recipe = Recipe("sgd", 0.1, schedule="steps")
    rates = [recipe.rate_at(epoch / 250) for epoch in (0, 99, 100, 149, 150, 199, 200, 249)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_optimizers():
    parameters = list(SmallAlexNet(1, 2, (16, 16)).parameters())
    sgd = Recipe("sgd", 0.1, 1e-4).make_optimizer(parameters)
    assert isinstance(sgd, torch.optim.SGD)
    group = sgd.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.1, 0.9, True, 1e-4)
    assert isinstance(Recipe().make_optimizer(parameters), torch.optim.AdamW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adam"}, "optimizer must be one of adamw, sgd, not 'adam'"),
        ({"schedule": "onecycle"}, "schedule must be one of cosine, one-cycle, steps"),
        ({"learning_rate": -1.0}, "learning_rate must be a finite number from 0 to inf, not -1.0"),
        ({"weight_decay": float("nan")}, "weight_decay"),
        ({"label_smoothing": 1.5}, "label_smoothing must be a finite number from 0 to 1, not 1.5"),
    ],
)
def test_wrong_recipes(options, message):
    with pytest.raises(InputRangeError, match=message):
        Recipe(**options)


class Recorded(torch.nn.Module):
    """One weight, whose changes tell the learning rate: the loss is linear in it for two classes far apart."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, images):
        self.seen.append(self.weight.item())
        return torch.stack([self.weight.expand(len(images)), torch.full((len(images),), 1e3)], 1)


@pytest.mark.parametrize("loader", [False, True])
def test_one_cycle_changes_with_every_batch(loader):
    """With labels that the network gets wrong by far, the gradient is -1, so that steps are learning rates."""
    images, labels = torch.zeros(8, 1), torch.zeros(8, dtype=torch.int64)
    data = [(images[:2], labels[:2])] * 4 if loader else (images, labels)
    model = Recorded()
    recipe = Recipe("sgd", 1e-3, 0.0, "one-cycle")
    fit(model, data, epochs=2, batch_size=2, recipe=recipe)
    momentum, weight, speed = 0.9, 0.0, 0.0
    for batch in range(8):
        assert model.seen[batch] == pytest.approx(weight, rel=1e-5, abs=1e-9)
        speed = momentum * speed + 1
        weight += recipe.rate_at((batch + 0.5) / 8) * (1 + momentum * speed)


def test_one_cycle_needs_a_length():
    class Endless:
        def __iter__(self):
            yield torch.zeros(2, 1, 16, 16), torch.zeros(2, dtype=torch.int64)

    with pytest.raises(InputTypeError, match=r"data must have a length, in batches; a .*Endless has none"):
        fit(SmallAlexNet(1, 2, (16, 16)), Endless(), epochs=1, recipe=Recipe(schedule="one-cycle"))


def test_one_cycle_with_a_loader_of_unknown_length():
    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            yield torch.zeros(1, 16, 16), 0

    loader = torch.utils.data.DataLoader(Stream(), batch_size=1)
    with pytest.raises(InputTypeError, match="must have a length, in batches; a .*DataLoader has none"):
        fit(SmallAlexNet(1, 2, (16, 16)), loader, epochs=1, recipe=Recipe(schedule="one-cycle"))


def test_the_learning_rate_is_0_after_the_announced_end():
    """A length may be an estimate."""
    assert Recipe(schedule="one-cycle").rate_at(1.2) == 0


def test_label_smoothing_is_that_of_torch():
    torch.manual_seed(0)
    images, labels = torch.rand(4, 3), torch.tensor([0, 1, 2, 0])
    ours, theirs = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    theirs.load_state_dict(ours.state_dict())
    fit(ours, [(images, labels)], epochs=1, recipe=Recipe("sgd", 0.1, 0.0, label_smoothing=0.2))
    torch.nn.functional.cross_entropy(theirs(images), labels, label_smoothing=0.2).backward()
    expected = theirs.weight - 0.1 * 1.9 * theirs.weight.grad  # Nesterov's first step
    torch.testing.assert_close(ours.weight, expected)


@pytest.mark.parametrize("images", [torch.rand(8, 3), torch.full((8, 3), torch.nan)])
def test_a_loss_that_is_not_finite_is_an_error(images):
    recipe = Recipe("sgd", 1e30 if images.isfinite().all() else 0.1)
    with pytest.raises(ModelError, match=r"the loss is (nan|inf) after epoch \d: train with a lower learning rate"):
        fit(torch.nn.Linear(3, 3), (images, torch.arange(8) % 3), epochs=3, batch_size=2, recipe=recipe)
