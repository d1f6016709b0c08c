import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchprotect.errors import InputRangeError, InputTypeError
from torchprotect.models import SmallAlexNet
from torchprotect.training import evaluate, fit


def two_classes(count=64):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    return torch.randn(count, 1, 16, 16, generator=generator) * 0.1 + labels.reshape(-1, 1, 1, 1), labels


@pytest.mark.parametrize("loader", [False, True])
def test_learns(loader):
    torch.manual_seed(0)
    data = two_classes()
    seen = []
    model = SmallAlexNet(1, 2, (16, 16))
    before = evaluate(model, data)
    batches = DataLoader(TensorDataset(*data), batch_size=16, shuffle=True) if loader else data
    assert fit(model, batches, epochs=6, progress=lambda done, total: seen.append((done, total))) is model
    assert not model.training
    assert evaluate(model, batches) == 1.0 > before
    assert seen[-1] == (6, 6)


@pytest.mark.parametrize("kind", ["generator", "list_iterator"])
def test_iterators_give_one_epoch(kind):
    """Three epochs were asked for, one was trained, three were reported."""

    def batches():
        return (batch for batch in [two_classes()]) if kind == "generator" else iter([two_classes()])

    model = SmallAlexNet(1, 2, (16, 16))
    with pytest.raises(InputTypeError, match=f"data must give its batches 3 times, but a {kind} gives them once"):
        fit(model, batches(), epochs=3)
    fit(model, batches(), epochs=1)
    used_up = batches()
    assert 0 <= evaluate(model, used_up) <= 1
    with pytest.raises(InputRangeError, match="no images"):
        evaluate(model, used_up)


class Once:
    """An iterable that is not an iterator, but gives its batches only once."""

    def __init__(self):
        self.batches = [two_classes()]

    def __iter__(self):
        while self.batches:
            yield self.batches.pop()


def test_an_epoch_without_batches_is_an_error():
    model = SmallAlexNet(1, 2, (16, 16))
    with pytest.raises(InputRangeError, match="epoch 2 of 3 had no batch"):
        fit(model, Once(), epochs=3)
    with pytest.raises(InputRangeError, match="epoch 1 of 1 had no batch"):
        fit(model, [], epochs=1)


def test_repeatable_with_a_generator():
    def weights():
        torch.manual_seed(0)
        model = SmallAlexNet(1, 2, (16, 16))
        fit(model, two_classes(), epochs=1, generator=torch.Generator().manual_seed(1))
        return torch.cat([p.flatten() for p in model.parameters()])

    assert torch.equal(weights(), weights())


def test_evaluate_counts_and_restores_the_mode():
    class Constant(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images):
            assert not self.training
            return torch.tensor([[0.0, 1.0]]).expand(len(images), 2)

    model = Constant().train()
    images, labels = two_classes(10)
    labels[:3] = 1
    assert evaluate(model, (images, labels), batch_size=4) == int((labels == 1).sum()) / 10
    assert model.training


@pytest.mark.parametrize(("channels", "size"), [(1, (16, 16)), (3, (32, 32)), (3, (224, 224)), (1, (28, 40))])
def test_sizes(channels, size):
    assert SmallAlexNet(channels, 7, size).eval()(torch.zeros(2, channels, *size)).shape == (2, 7)


def test_prepare_changes_what_is_learned():
    images, labels = two_classes()
    torch.manual_seed(0)
    seen = []

    def prepare(part, its_labels):
        assert part.shape[0] == its_labels.shape[0]
        seen.append(len(part))
        return part + 1 - 2 * its_labels.reshape(-1, 1, 1, 1)  # swaps the brightness of the classes

    model = fit(SmallAlexNet(1, 2, (16, 16)), (images, labels), epochs=6, batch_size=16, prepare=prepare)
    assert sum(seen) == 6 * len(images)
    assert evaluate(model, (images, labels)) < 0.5


def test_evaluate_leaves_each_module_in_its_own_mode():
    model = SmallAlexNet(1, 2, (16, 16)).train()
    model.features[1].eval()
    evaluate(model, two_classes(4))
    assert model.training
    assert model.features[0].training
    assert not model.features[1].training
