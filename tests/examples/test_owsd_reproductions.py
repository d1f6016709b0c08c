"""The reproductions of "One Way Scrambling by Deconvolution" run as they stand."""

import dataclasses
import importlib
import shutil

import pytest
import torch
from scripts import REPRODUCE, numbers, read_tables, reproduce
from support import make_image, png, write_tar

TABLES = {*(f"usecase{number}" for number in range(1, 6)), "figure3", "table5", "table6", "figure4_cifar10"}
TABLES |= {f"attacks_{name}" for name in ("linking", "labels", "other")}
FIGURE4 = {"figure4", "figure4_labels", "figure4_cifar10"}  # with photographs
NAN = float("nan")


@pytest.mark.slow
def test_every_table_is_written(tmp_path):
    tables = reproduce("owsd", tmp_path / "out")
    assert tables.keys() == TABLES
    assert all(-100 <= number <= 10_000 for number in numbers(tables))
    encoders = [(row[0], row[1]) for row in tables["usecase4"]["rows"]]
    assert ("trained on CIFAR-10", "random:1 + random:2 + random:3") in encoders
    assert not [cloud for cloud, asked in encoders if cloud == "ImageNet's, random:3" and "random:3" in asked]
    for name in ("figure4", "figure5"):
        assert (tmp_path / "out" / "owsd" / "check" / f"{name}.png").stat().st_size > 1000


@pytest.fixture
def world(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE / "owsd"))
    return importlib.import_module("owsd_world")


@pytest.fixture
def opened(world, tmp_path):
    """Open the world at the scale that only shows that everything runs, maybe with photographs."""

    def make(photographs=None):
        return world.World(world.Given("check", (), tmp_path / "out", "cpu"), world.SCALES["check"], photographs)

    return make


def test_a_cloud_is_never_one_of_the_encoders(world, opened):
    for name, scale in world.SCALES.items():
        assert scale.sizes.cloud not in scale.sizes.encoders_for(world.IMAGENET), name
        assert scale.sizes.encoders_for(world.OWN) == scale.sizes.encoders
        assert len(scale.sizes.encoders_for(world.IMAGENET)) >= 2
    made = opened()
    for encoders in (("random:3",), ("random:1", "random:3")):
        with pytest.raises(ValueError, match="random:3 is the cloud"):
            made.bench.observe(world.IMAGENET, encoders, 0)
    sizes = dataclasses.replace(made.scale.sizes, cloud="random:1")
    with pytest.raises(ValueError, match="random:1 is the cloud"):
        world.World(made.given, dataclasses.replace(made.scale, sizes=sizes), None)


def test_answers_belong_to_the_key_of_their_fold(opened):
    bench = opened().bench
    first, again, other = (bench.answers("random:1", fold) for fold in (0, 0, 1))
    assert torch.equal(first["imagenet"], again["imagenet"])
    assert not torch.equal(first["small"], other["small"])
    assert "imagenet" not in bench.answers("random:3", 0)
    scrambled = bench.scramble(bench.embeddings("random:1")[:3], bench.key(0))
    asked = bench.cloud("imagenet")(scrambled)
    assert torch.allclose(asked, first["imagenet"][:3], atol=1e-6)  # batches of other sizes round otherwise
    assert not torch.allclose(asked, other["imagenet"][:3], atol=1e-6)


def test_figure4_of_photographs_with_and_without_a_cache(opened, tmp_path, capsys):
    groups = (151, 404, 7, 0, 281)
    images = {f"{n:02}.png": png(make_image(3, 240, 260, seed=n)) for n in range(15)}
    labels = {f"{n:02}.cls": b"%d" % groups[n % 5] for n in range(15)}
    shards = write_tar(tmp_path / "val-0.tar", dict(sorted((images | labels).items())))
    figure4 = importlib.import_module("figure4")
    opened(str(shards)).run(figure4.tables)
    picture = tmp_path / "out" / "check" / "figure4.png"
    assert read_tables(picture.parent).keys() == FIGURE4
    assert read_tables(picture.parent)["figure4"]["title"].endswith("10 pairs of groups")
    assert picture.exists()
    assert "left out" not in capsys.readouterr().out
    shutil.rmtree(picture.parent)
    shutil.rmtree(tmp_path / "out" / "kept")
    opened(str(shards)).run(figure4.tables)
    assert read_tables(picture.parent).keys() == FIGURE4
    assert not picture.exists()
    assert capsys.readouterr().out.count("figure4.png is left out") == 1


def test_the_test_images_of_a_fold_do_not_depend_on_the_number_for_training(world):
    measures, labels = importlib.import_module("owsd_measures"), torch.arange(10).repeat(30)
    few, many = (measures.split(labels, measures.Task(train=train, test=10), 1) for train in (5, 20))
    assert torch.equal(few.test, many.test)
    assert (len(few.train), len(many.train), len(few.test)) == (50, 200, 100)
    nine = measures.split(labels, measures.Task(), 1)
    assert torch.equal(torch.cat(nine).sort().values, torch.arange(300))
    assert torch.equal(labels[nine.test].bincount(), torch.full((10,), 3))


def test_probabilities_are_summed_over_superclasses(world):
    vectors = torch.rand(3, 1000, generator=torch.Generator().manual_seed(0)).softmax(1)
    sums = importlib.import_module("owsd_measures").over_superclasses(vectors)
    names = list(importlib.import_module("superclasses").SUPERCLASSES)
    assert torch.allclose(sums.sum(1), torch.ones(3))
    assert torch.allclose(sums[:, names.index("dogs")], vectors[:, 151:269].sum(1))


@pytest.mark.parametrize(
    ("gains", "p"),
    [([1.0, 2.0, 3.0], 0.0371), ([1.0, -1.0], 0.5), ([1.0, 1.0], 0.0), ([0.0, 0.0], 1.0), ([1.0, NAN], NAN)],
)
def test_p_of_a_paired_t_test(world, gains, p):
    assert world.p_value(gains) == pytest.approx(p, abs=1e-4, nan_ok=True)
