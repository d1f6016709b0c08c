"""The internal inference network: what it learns, its ablations, its file."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from torchprotect.errors import InputRangeError, InputShapeError, LabelError, ModelError
from torchprotect.owsd.inference import INPUTS, Inference, InferenceSettings, Observations

KEYS = ("a" * 64,)
QUICK = InferenceSettings(hidden=32, learning_rate=1e-2, epochs=15)


def world(count, seed=0):
    """Labels of which the embedding tells the first bit and the cloud's vector the second."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (count,), generator=generator)
    embeddings, vectors = torch.randn(count, 6, generator=generator), torch.randn(count, 5, generator=generator)
    embeddings[:, 0] += 6.0 * (labels // 2)
    vectors[:, 0] += 6.0 * (labels % 2)
    return Observations(embeddings, vectors), labels


@pytest.fixture(scope="module")
def trained():
    return Inference.fit(*world(400), classes=4, keys=KEYS, settings=QUICK, generator=torch.Generator().manual_seed(0))


def test_learns_and_ablations_learn_their_half(trained):
    told = trained.evaluate(*world(400, seed=1))
    assert told.top1["both"] > 0.9
    assert 0.35 < told.top1["embedding"] < 0.65
    assert 0.35 < told.top1["cloud"] < 0.65
    assert told.top5 == dict.fromkeys(INPUTS, 1.0)  # there are only four classes
    assert "embedding only" in str(told)
    assert f"{told.top1['both']:.1%}" in str(told)


def test_top5_counts_the_first_five():
    observations, labels = world(60)
    wide = Inference.fit(observations, labels, classes=20, keys=KEYS, settings=QUICK)
    ranked = wide.predict(observations)
    assert ranked.shape == (60, 20)
    expected = sum(int(label) in row[:5].tolist() for label, row in zip(labels, ranked, strict=True)) / 60
    assert wide.evaluate(observations, labels).top5["both"] == pytest.approx(expected)


def test_same_generator_same_network(trained):
    again = Inference.fit(*world(400), classes=4, keys=KEYS, settings=QUICK, generator=torch.Generator().manual_seed(0))
    for name in INPUTS:
        for one, other in zip(trained.networks[name].parameters(), again.networks[name].parameters(), strict=True):
            assert torch.equal(one, other)


def test_does_not_touch_the_global_generator():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Inference.fit(*world(40), classes=4, keys=KEYS, settings=QUICK, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.rand(3), expected)


def test_stops_early_and_keeps_the_best_epoch():
    """Labels that nothing tells: the validation loss soon rises."""
    observations, _ = world(200)
    labels = torch.randint(0, 4, (200,), generator=torch.Generator().manual_seed(9))
    steps = []
    settings = InferenceSettings(hidden=64, learning_rate=1e-2, patience=2)
    Inference.fit(
        observations, labels, classes=4, keys=KEYS, settings=settings, progress=lambda *step: steps.append(step)
    )
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
    save_file(tensors, path, {**header, "params": json.dumps({"classes": 4, "keys": [*KEYS], "settings": {"x": 1}})})
    with pytest.raises(ModelError, match="do not fit"):
        Inference.load(path, KEYS)
    save_file(tensors, path, {**header, "version": "2", "params": "{}"})
    with pytest.raises(ModelError, match="version"):
        Inference.load(path, KEYS)


def test_refusals(trained):
    observations, labels = world(20)
    with pytest.raises(InputShapeError):
        Observations(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(InputShapeError, match="differ from those"):
        trained.predict(Observations(torch.zeros(3, 6), torch.zeros(3, 9)))
    with pytest.raises(LabelError):
        Inference.fit(observations, labels + 1, classes=4, keys=KEYS)
    with pytest.raises(InputShapeError):
        Inference.fit(observations, labels[:5], classes=4, keys=KEYS)
    with pytest.raises(InputRangeError, match="too few"):
        Inference.fit(observations[:2], labels[:2], classes=4, keys=KEYS)
    for options in ({"epochs": 0}, {"dropout": 1.0}, {"validation": 0.0}, {"hidden": 2.5}):
        with pytest.raises(InputRangeError):
            InferenceSettings(**options)
