"""Helpers for user-supplied models."""

from types import SimpleNamespace

import pytest
import torch
from nets import Function
from torch import nn

from torchprotect import training
from torchprotect.errors import ModelError


class RightHalf(nn.Module):
    """Scores two classes by one pixel; counts the images of each forward pass."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, images):
        self.batches.append(len(images))
        return images.flatten(1)[:, :2]


def test_device_and_dtype():
    bare, double = nn.Identity(), nn.Linear(1, 1).double()
    assert training.device_of(bare) == torch.device("cpu")
    assert training.device_of(bare, torch.device("meta")) == torch.device("meta")
    assert training.device_of(nn.Linear(1, 1, device="meta")) == torch.device("meta")
    assert training.device_of(nn.BatchNorm1d(1, affine=False, device="meta")) == torch.device("meta")
    kinds = [training.input_dtype_of(model) for model in (bare, double, nn.Linear(1, 1), nn.Linear(1, 1).half())]
    assert kinds == [torch.float32, torch.float64, torch.float32, torch.float32]


@pytest.mark.parametrize(("batch_size", "batches"), [(None, [5]), (2, [2, 2, 1])])
def test_predict(batch_size, batches):
    model = RightHalf().train()
    images = torch.eye(5)[:, :2].reshape(5, 1, 1, 2)
    assert training.predict(model, images, classes=2, batch_size=batch_size).tolist() == [0, 1, 0, 0, 0]
    assert model.batches == batches
    assert model.training


def test_predict_no_images():
    assert training.predict(RightHalf(), torch.zeros(0, 1, 1, 2), classes=2).tolist() == []


def test_predict_ignores_the_callers_autocast():
    dtypes = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2))
    model.register_forward_hook(lambda *call: dtypes.append(call[2].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        training.predict(model, torch.zeros(1, 1, 1, 2), classes=2)
        training.predict(model, torch.zeros(1, 1, 1, 2), classes=2, precision=torch.bfloat16)
    assert dtypes == [torch.float32, torch.bfloat16]


def test_predict_refuses_other_scores():
    with pytest.raises(ModelError, match="NaN or infinite"):
        training.predict(RightHalf(), torch.full((1, 1, 1, 2), torch.nan), classes=2)
    with pytest.raises(ModelError, match=r"must return scores \[1, 3\], not \[1, 2\]"):
        training.predict(RightHalf(), torch.zeros(1, 1, 1, 2), classes=3)
    with pytest.raises(ModelError, match=r"not a types.SimpleNamespace; wrap it in a module that returns its \.logits"):
        training.predict(Function(lambda images: SimpleNamespace(logits=images)), torch.zeros(1, 2), classes=2)


def test_modes_are_restored_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    with pytest.raises(KeyError), training.eval_mode(model):
        assert not any(module.training for module in model.modules())
        raise KeyError
    assert [module.training for module in model.modules()] == [True, True, False]


def test_digest_depends_on_weights_class_and_key():
    model, other = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    assert training.model_digest(model, b"a") == training.model_digest(model, b"a")
    assert training.model_digest(model, b"a") != training.model_digest(model, b"b")
    assert training.model_digest(model, b"a") != training.model_digest(other, b"a")


def test_batch_norm_without_running_statistics():
    training.require_running_statistics("encoder", nn.Sequential(nn.BatchNorm2d(3)))
    with pytest.raises(ModelError, match=r"^the encoder normalises over the batch .* neighbours: 0 keeps no running"):
        training.require_running_statistics("encoder", nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False)))
