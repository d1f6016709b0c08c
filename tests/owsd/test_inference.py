"""The internal inference network: what it learns, its ablations, its file."""

import copy
import dataclasses
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError, ModelError
from torchprotect.models import InferenceNetwork
from torchprotect.owsd import Inference, InferenceSettings, Observations, _fit, _inference_file
from torchprotect.owsd.observations import INPUTS

KEYS = ("a" * 64,)
QUICK = InferenceSettings(hidden=32, learning_rate=1e-2, epochs=15)


def world(count, seed=0):
    """Labels whose first bit is in the embedding and whose second is in the cloud's vector."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    embeddings, vectors = torch.randn(count, 6, generator=generator), torch.randn(count, 5, generator=generator)
    embeddings[:, 0] += 6.0 * (labels // 2)
    vectors[:, 0] += 6.0 * (labels % 2)
    return Observations(embeddings, vectors, KEYS), labels


@pytest.fixture(scope="module")
def trained():
    return Inference.fit(*world(400), classes=4, settings=QUICK, generator=torch.Generator().manual_seed(0))


def test_ablations_learn_from_their_input_alone(trained):
    told = trained.evaluate(*world(400, seed=1))
    assert told.top1["both"] > 0.9
    assert 0.35 < told.top1["embedding"] < 0.65
    assert 0.35 < told.top1["cloud"] < 0.65
    assert told.top5 == dict.fromkeys(INPUTS, 1.0)  # there are only four classes
    assert "100.0%" not in str(told)
    assert "embedding only" in str(told)
    assert f"{told.top1['both']:.1%}" in str(told)


def test_top5_counts_the_first_five():
    observations, labels = world(60)
    wide = Inference.fit(observations, labels, classes=20, settings=QUICK)
    ranked = wide.predict(observations)
    assert ranked.shape == (60, 20)
    expected = sum(int(label) in row[:5].tolist() for label, row in zip(labels, ranked, strict=True)) / 60
    told = wide.evaluate(observations, labels)
    assert told.top5["both"] == pytest.approx(expected)
    assert f"{expected:.1%}" in str(told)


@pytest.mark.slow
def test_same_generator_same_network(trained):
    again = Inference.fit(*world(400), classes=4, settings=QUICK, generator=torch.Generator().manual_seed(0))
    for name in INPUTS:
        for one, other in zip(trained.networks[name].parameters(), again.networks[name].parameters(), strict=True):
            assert torch.equal(one, other)


def test_does_not_touch_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Inference.fit(*world(40), classes=4, settings=QUICK, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.rand(3), expected)


def test_seeds_no_other_device(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    Inference.fit(*world(40), classes=4, settings=QUICK)
    assert not seeded


def test_defaults_are_those_of_the_paper():
    settings = InferenceSettings()
    assert (settings.learning_rate, settings.epochs) == (1e-4, 40)


def test_one_hidden_layer_with_dropout_behind_batch_norms():
    layers = InferenceNetwork(7, 3, hidden=5, dropout=0.25).layers
    assert [type(layer).__name__ for layer in layers] == [
        *("BatchNorm1d", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear")
    ]
    assert layers[4].p == 0.25


def test_rate_decays_and_modes_alternate(monkeypatch):
    rates, modes = [], []
    step, forward = torch.optim.Adam.step, InferenceNetwork.forward

    def noting_step(optimizer, *args):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *args)

    def noting_forward(network, features):
        modes.append(network.training)
        return forward(network, features)

    monkeypatch.setattr(torch.optim.Adam, "step", noting_step)
    monkeypatch.setattr(InferenceNetwork, "forward", noting_forward)
    settings = InferenceSettings(learning_rate=0.01, decay=0.5, epochs=3, patience=3, batch_size=18)
    observed, labels = world(40)  # 4 held back, two batches
    _fit.fit_network(observed.embeddings, labels, 4, settings, None, None)
    assert rates == pytest.approx([0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025])
    assert modes == [True, True, False] * 3


def test_the_best_epoch_is_kept(monkeypatch):
    states, losses = [], iter([3.0, 1.0, 2.0, 5.0])

    def loss(network, *_):
        states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return next(losses)

    monkeypatch.setattr(_fit, "_loss", loss)
    observed, labels = world(40)
    network = _fit.fit_network(observed.embeddings, labels, 4, dataclasses.replace(QUICK, patience=2), None, None)
    assert len(states) == 4  # two epochs without a better one
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in network.state_dict().items())
    assert not all(torch.equal(tensor, states[3][name]) for name, tensor in network.state_dict().items())
    assert not network.training


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_ignores_the_callers_modes(dtype):
    torch.set_default_dtype(dtype)
    try:
        with torch.no_grad():
            fitted = Inference.fit(*world(400), classes=4, settings=QUICK)
        assert fitted.evaluate(*world(400, seed=1)).top1["both"] > 0.9
    finally:
        torch.set_default_dtype(torch.float32)


def test_stops_early_and_keeps_the_best_epoch():
    """Random labels, which inputs do not predict: the validation loss soon rises."""
    observations, _ = world(200)
    labels = torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(9))
    steps = []
    settings = InferenceSettings(hidden=64, learning_rate=1e-2, patience=2)
    Inference.fit(observations, labels, classes=4, settings=settings, progress=lambda *step: steps.append(step))
    assert len(steps) < 3 * settings.epochs
    assert steps[-1][1] == 3 * settings.epochs


def test_file(trained, tmp_path):
    path = tmp_path / "network"
    trained.save(path)
    again = Inference.load(path, KEYS)
    observations, labels = world(50, seed=2)
    assert torch.equal(again.predict(observations), trained.predict(observations))
    assert again.evaluate(observations, labels) == trained.evaluate(observations, labels)
    assert again.settings == QUICK
    with pytest.raises(ModelError, match="train it again"):
        Inference.load(path, ("b" * 64,))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelError, match="damaged"):
        Inference.load(path, KEYS)


def test_foreign_files(trained, tmp_path):
    path = tmp_path / "network"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(ModelError):
        Inference.load(path, KEYS)
    trained.save(path)
    tensors = load_file(path)
    header = {"format": "torchprotect-inference", "version": "1"}
    save_file(tensors, path, header)
    with pytest.raises(ModelError):
        Inference.load(path, KEYS)
    save_file(tensors, path, {**header, "version": "2", "params": "{}"})
    with pytest.raises(ModelError, match="version"):
        Inference.load(path, KEYS)
    for params in ({"classes": 4, "keys": [*KEYS], "settings": {"x": 1}}, {"classes": 4, "keys": [*KEYS]}):
        _inference_file.write(path, params, tensors)
        with pytest.raises(ModelError, match="do not match"):
            Inference.load(path, KEYS)


def craft(path, tensors, **params):
    """Write a file with a correct digest, as anyone can."""
    settings = {**vars(QUICK), **params.pop("settings", {})}
    _inference_file.write(path, {"classes": 4, "keys": [*KEYS], "settings": settings, **params}, tensors)


def test_small_files_that_claim_huge_sizes_are_refused_cheaply(tmp_path, monkeypatch):
    """A file of under 1 kB made a network of 3.2 GB."""
    empty = {f"{inputs}.layers.1.weight": torch.zeros(0, 1000) for inputs in INPUTS}
    craft(tmp_path / "network", empty, settings={"hidden": 800})
    assert (tmp_path / "network").stat().st_size < 1000
    devices = []
    real = torch.nn.Linear.__init__

    def noting(layer, *args, **kwargs):
        real(layer, *args, **kwargs)
        devices.append(layer.weight.device.type)

    monkeypatch.setattr(torch.nn.Linear, "__init__", noting)
    with pytest.raises(ModelError, match="do not match"):
        Inference.load(tmp_path / "network", KEYS)
    assert set(devices) == {"meta"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers.5.bias", torch.zeros(5)),
        ("layers.1.weight", torch.zeros(8, 3, dtype=torch.float16)),
        ("layers.0.weight", torch.zeros(1, dtype=torch.float64)),
        ("layers.0.num_batches_tracked", torch.tensor(1.0)),
        ("layers.9.weight", torch.zeros(1)),
    ],
)
def test_tensors_are_those_of_the_network(trained, tmp_path, name, value):
    trained.save(tmp_path / "network")
    craft(tmp_path / "crafted", {**load_file(tmp_path / "network"), f"cloud.{name}": value})
    with pytest.raises(ModelError, match="do not match"):
        Inference.load(tmp_path / "crafted", KEYS)


@pytest.mark.parametrize(
    "params",
    [
        {"classes": True},
        {"classes": "4"},
        {"classes": 4.0},
        {"classes": 1},
        {"keys": "a" * 64},
        {"keys": ["\x1b[2K forged"]},
        {"keys": [1]},
        {"settings": {"hidden": 1 << 80}},
    ],
)
def test_parameters_are_checked_and_not_shown(trained, tmp_path, params):
    trained.save(tmp_path / "network")
    craft(tmp_path / "crafted", load_file(tmp_path / "network"), **params)
    with pytest.raises(ModelError, match="do not match") as caught:
        Inference.load(tmp_path / "crafted", KEYS)
    assert "forged" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither")
def test_pipes_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ModelError, match="not a regular file"):
            Inference.load(path, KEYS)


def test_damage_is_detected(trained, tmp_path):
    path = tmp_path / "network"
    trained.save(path)
    whole = path.read_bytes()
    for changed in (whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:], whole.replace(b"a" * 64, b"b" * 64)):
        assert changed != whole
        path.write_bytes(changed)
        for wanted in (KEYS, ("b" * 64,)):
            with pytest.raises(ModelError, match="damaged"):
                Inference.load(path, wanted)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_nobody_else_reads_the_file(trained, tmp_path):
    trained.save(tmp_path / "network")
    assert (tmp_path / "network").stat().st_mode & 0o777 == 0o600


def test_keys_are_those_of_the_observations_and_in_order(tmp_path):
    observed, labels = world(40)
    pair = ("a" * 64, "b" * 64)
    fitted = Inference.fit(dataclasses.replace(observed, keys=pair), labels, classes=4, settings=QUICK)
    assert fitted.keys == pair
    for other in (pair[::-1], pair[:1], ()):
        with pytest.raises(ModelError, match="was trained with"):
            fitted.evaluate(dataclasses.replace(observed, keys=other), labels)
    fitted.save(tmp_path / "network")
    assert Inference.load(tmp_path / "network", list(pair)).keys == pair
    with pytest.raises(ModelError, match="train it again"):
        Inference.load(tmp_path / "network", pair[::-1])
    with pytest.raises(ModelError, match="not with key bbbbbbbbbbbb:"):
        Inference.load(tmp_path / "network", "b" * 64)


def test_refusals(trained):
    observations, labels = world(20)
    with pytest.raises(InputShapeError):
        Observations(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(InputShapeError, match="differ from those"):
        trained.predict(Observations(torch.zeros(3, 6), torch.zeros(3, 9), KEYS))
    with pytest.raises(LabelError):
        Inference.fit(observations, labels + 1, classes=4)
    with pytest.raises(InputShapeError):
        Inference.fit(observations, labels[:5], classes=4)
    with pytest.raises(InputRangeError, match="too few"):
        Inference.fit(observations[:2], labels[:2], classes=4)
    with pytest.raises(InputTypeError, match="list"):
        Inference.fit(observations, labels.tolist(), classes=4)
    for bad in (torch.nan, torch.inf):
        with pytest.raises(InputRangeError, match="finite"):
            Observations(torch.zeros(2, 2), torch.full((2, 2), bad))
    with pytest.raises(ModelError, match="learning rate"):
        Inference.fit(observations, labels, classes=4, settings=InferenceSettings(learning_rate=1e30))
    for options in ({"batch_size": 1}, {"epochs": 0}, {"dropout": 1.0}, {"validation": 0.0}, {"hidden": 2.5}):
        with pytest.raises(InputRangeError):
            InferenceSettings(**options)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_tensors_of_other_dtypes(trained, tmp_path, dtype):
    trained.save(tmp_path / "whole")
    _, tensors = _inference_file.read(tmp_path / "whole")
    first = next(iter(tensors))
    header = {"format": "torchprotect-inference", "version": "1", "params": "{}", "digest": ""}
    save_file({**tensors, first: tensors[first].to(dtype)}, tmp_path / "changed", header)
    with pytest.raises(ModelError, match="do not match"):
        Inference.load(tmp_path / "changed", KEYS)


def test_networks_in_double_precision_are_read_back(trained, tmp_path):
    doubled = {inputs: copy.deepcopy(network).double() for inputs, network in trained.networks.items()}
    dataclasses.replace(trained, networks=doubled).save(tmp_path / "file")
    for inputs, network in Inference.load(tmp_path / "file", KEYS).networks.items():
        for one, other in zip(network.parameters(), doubled[inputs].parameters(), strict=True):
            assert torch.equal(one, other)
