"""Half precision and channels_last: what the model sees, and that the same seeds give the same weights."""

import pytest
import torch

from torchprotect.errors import InputTypeError
from torchprotect.models import SmallAlexNet
from torchprotect.training import Recipe, evaluate, fast_precision, fit

OPTIONS = {"precision": torch.bfloat16, "channels_last": True}


class Seen(SmallAlexNet):
    """Remembers how its images and first products come."""

    def forward(self, images):
        scores = super().forward(images)
        self.layout = images.is_contiguous(memory_format=torch.channels_last)
        self.weights = self.features[4].weight.is_contiguous(memory_format=torch.channels_last)
        self.dtype = scores.dtype
        return scores


def two_classes():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    return torch.randn(64, 3, 16, 16, generator=generator) * 0.1 + labels.reshape(-1, 1, 1, 1), labels


def train():
    torch.manual_seed(0)
    model = Seen(3, 2, (16, 16))
    return fit(model, two_classes(), epochs=4, batch_size=16, recipe=Recipe(schedule="one-cycle"), **OPTIONS)


def test_the_model_computes_as_it_is_told():
    model = train()
    assert (model.layout, model.weights, model.dtype) == (True, True, torch.bfloat16)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert evaluate(model, two_classes(), **OPTIONS) == 1.0
    assert model.dtype == torch.bfloat16
    assert evaluate(model, two_classes()) == 1.0
    assert (model.layout, model.dtype) == (False, torch.float32)


def test_the_same_seeds_give_the_same_weights():
    first, second = train().state_dict(), train().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_without_precision_the_callers_autocast_stays():
    model = train()
    with torch.autocast("cpu", torch.bfloat16):
        evaluate(model, two_classes())
    assert model.dtype == torch.bfloat16


@pytest.mark.parametrize("precision", [torch.float64, torch.int8, "bfloat16"])
def test_only_half_precision(precision):
    model = Seen(3, 2, (16, 16))
    for call in (
        lambda: fit(model, two_classes(), epochs=1, precision=precision),
        lambda: evaluate(model, two_classes(), precision=precision),
    ):
        with pytest.raises(InputTypeError, match="precision must be torch.float16, torch.bfloat16 or None, not"):
            call()


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": False, "avx512_bf16": True}, torch.bfloat16),
        ({"avx512_f": True, "avx512_bf16": False}, None),
        ({}, None),
    ],
)
def test_fast_precision_follows_the_instructions_of_the_cpu(monkeypatch, found, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert fast_precision(torch.device("cpu")) is expected


def test_fast_precision_without_knowledge_of_the_cpu(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fast_precision(torch.device("cpu")) is None
    assert fast_precision(torch.device("meta")) is None
