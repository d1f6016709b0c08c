"""The reproductions of "Adversarial Data Encryption" run as they stand."""

import dataclasses
import importlib

import pytest
import torch
from PIL import Image
from scripts import REPRODUCE, numbers, reproduce, run

from torchprotect import adversarial, keys

TABLES = {*(f"table{number}" for number in (1, 2, 3, 5, 7, 8, 9, 10, 12)), "search", "strength", "countermeasures"}


@pytest.mark.slow
def test_every_table_is_written(tmp_path):
    tables = reproduce("adversarial", tmp_path / "out")
    assert tables.keys() == TABLES
    assert all(0 <= number <= 1000 for number in numbers(tables))
    assert tables["table8"]["rows"][-1][1] == 1000  # m^2 x m trials, as in the paper
    run("reproduce/adversarial/pictures.py", "--scale", "check", "--out", tmp_path / "out", cwd=tmp_path)
    assert (tmp_path / "out" / "adversarial" / "check" / "adversarial.png").stat().st_size > 10_000


def folder_of_images(root, count):
    """Write images, each with a grey level of its own, in two classes."""
    for number in range(count):
        folder = root / str(number % 2)
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, number, number)).save(folder / f"{number:03}.png")
    return str(root)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("source", ["folder", "drawn"])
def test_sets_have_no_image_in_common(monkeypatch, tmp_path, source, whole):
    monkeypatch.syspath_prepend(str(REPRODUCE / "adversarial"))
    module = importlib.import_module("adversarial_bench")
    sizes = dataclasses.replace(
        importlib.import_module("adversarial_world").CHECK, train=None if whole else 10, other=6, test=4
    )
    given = folder_of_images(tmp_path / "images", 40) if source == "folder" else None
    bench = module.Bench(sizes, given, tmp_path, torch.device("cpu"))
    sets = [bench.train, bench.other, bench.test]
    assert [len(each.labels) for each in sets[1:]] == [6, 4]
    if source == "folder":
        assert len(sets[0].labels) == (30 if whole else 10)
    seen = [{image.numpy().tobytes() for image in each.images} for each in sets]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


@pytest.mark.slow
def test_networks(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE))
    networks = importlib.import_module("common.networks")
    for name in ["small-alexnet", *networks.NETWORKS]:
        if name.startswith(("preresnet", "densenet100")):
            pytest.importorskip("pytorchcv", reason="the extra `reproduce` is not installed")
        network = networks.make_network(name, 1, 5, (32, 32)).eval()
        assert network(torch.rand(2, 1, 32, 32)).shape == (2, 5)


@pytest.mark.parametrize("plan", ["basic", "horizontal-concat", "mixup-and-concat"])
def test_a_release_is_what_the_package_makes(monkeypatch, tmp_path, plan):
    """The bench searches each version once for all plans."""
    monkeypatch.syspath_prepend(str(REPRODUCE / "adversarial"))
    module = importlib.import_module("adversarial_bench")
    sizes = dataclasses.replace(importlib.import_module("adversarial_world").CHECK, eps=2.0, step=1.0)
    bench = module.Bench(sizes, None, tmp_path, torch.device("cpu"))
    images, labels = module.as_floats(bench.train)
    key = keys.CorrespondenceKey.preset(plan)
    made = adversarial.perturb_toward(
        bench.base(0), images, *key.of(labels), bench.settings, mix_mode=key.mix_mode
    ).images
    assert torch.equal(bench.released(plan, 0).images, made.mul(255).round().byte())
    assert not torch.equal(bench.released(plan, 0).images, bench.train.images)
