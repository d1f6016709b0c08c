"""A training that is stopped goes on where it stopped, with the same result."""

import stat

import pytest
import safetensors.torch
import torch

from torchprotect.errors import ModelError
from torchprotect.models import SmallAlexNet
from torchprotect.training import Recipe, fit

SGD = Recipe("sgd", 0.02, 1e-4, "one-cycle")


class Stopped(Exception):  # noqa: N818 - it is not an error
    pass


def make_data():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(48, 1, 16, 16, generator=generator), torch.arange(48) % 2


def train(checkpoint=None, stop_after=None, recipe=SGD, epochs=4, own_generator=False, channels_last=False, model=None):
    torch.manual_seed(1)
    model = model or SmallAlexNet(1, 2, (16, 16))  # with dropout, which draws from the global generator
    generator = torch.Generator().manual_seed(2) if own_generator else None

    def stop(done, _):
        if done == stop_after:
            raise Stopped

    fit(
        model,
        make_data(),
        epochs=epochs,
        batch_size=16,
        recipe=recipe,
        generator=generator,
        progress=stop,
        checkpoint=checkpoint,
        channels_last=channels_last,
    )
    return model.state_dict()


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("own_generator", [False, True])
@pytest.mark.parametrize("recipe", [SGD, Recipe()], ids=["sgd", "adamw"])
def test_a_stopped_training_ends_with_the_same_weights(tmp_path, recipe, own_generator, channels_last):
    path, options = tmp_path / "state.safetensors", {"own_generator": own_generator, "channels_last": channels_last}
    expected = train(recipe=recipe, **options)
    for epoch in (1, 3):
        with pytest.raises(Stopped):
            train(path, epoch, recipe, **options)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = train(path, recipe=recipe, **options)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert [each.name for each in tmp_path.iterdir()] == []


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    with pytest.raises(Stopped):
        train(path, 2)
    with pytest.raises(ModelError, match=r"another network or another training .*; remove it to start anew"):
        train(path, epochs=5)
    with pytest.raises(ModelError, match="another network"):
        train(path, model=SmallAlexNet(1, 3, (16, 16)))


def test_a_missing_folder_is_noticed_before_the_first_epoch(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*missing for the checkpoint; make it first"):
        train(tmp_path / "missing" / "state.safetensors", stop_after=1)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"no safetensors")
    with pytest.raises(ModelError):
        train(path)
    safetensors.torch.save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match="another network"):
        train(path)
