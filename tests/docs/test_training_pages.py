"""After pages on training have run, no checkpoint holds the key, and predictions are those of the network."""

import os
import warnings
from pathlib import Path

import PIL.Image
import pytest
import torch
from snippets import run_page
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect import data, keys, transforms
from torchprotect.demo import PHOTOGRAPHS
from torchprotect.errors import KeyPickledWarning
from torchprotect.predict import Predictor, read_header

pytestmark = pytest.mark.slow

PICTURES = [f"{PHOTOGRAPHS}/{kind}/0{number}.jpg" for kind in ("fish", "tools", "windmills") for number in (1, 2)]
JPEG = Path(PICTURES[0]).read_bytes()[1000:1100]


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory):
    """Keep caches of Hugging Face in a folder of the tests, and their packages away from the network."""
    home = tmp_path_factory.mktemp("hugging-face")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(home))
        patch.setenv("HF_DATASETS_CACHE", str(home / "datasets"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        yield home


def assert_answers(predictor, network, bundle, mean=0.5, std=0.25):
    """Compare answers with those of a network that gets its input as its training images were made, with mean noise."""
    prepare = data.Preparation(exif=True, mode="rgb", resize=72, crop=(64, 64))
    disguise = transforms.RMTDisguise(bundle.transform, permutation=bundle.permutation, noise=25)
    disguise.noise_source = lambda shape: torch.full(shape, 0.5)
    mean, std = (torch.tensor(each).reshape(-1, 1, 1) for each in (mean, std))
    network.eval()
    answers = list(predictor.predict(PICTURES))
    for path, answer in zip(PICTURES, answers, strict=True):
        image = pil_to_tensor(prepare(PIL.Image.open(path))).float() / 255
        with torch.no_grad():
            renamed = network((disguise(image[None]) - mean) / std).softmax(1)[0]
        expected = [renamed[bundle.labels.map(label)] for label in range(7)]
        torch.testing.assert_close(answer.scores, torch.stack(expected), rtol=1e-4, atol=1e-5)
        assert answer.label == bundle.labels.unmap(int(renamed.argmax()))
        assert answer.name == sorted(os.listdir(PHOTOGRAPHS))[answer.label]
    assert len({tuple(answer.scores.tolist()) for answer in answers}) == len(PICTURES)


def share_right(predictor):
    """Return how many of all pictures are given their class."""
    files = sorted(Path(PHOTOGRAPHS).rglob("*.jpg"))
    return sum(answer.name == file.parent.name for file, answer in zip(files, predictor.predict(files))) / len(files)


def files_with_the_key(folder, bundle):
    """Return the files below a folder that hold a tensor of a key: as it is, or as pickle's protocol 2 writes bytes."""
    secrets = [tensor.numpy().tobytes() for tensor in bundle.tensors().values()]
    spellings = [*secrets, *(each.decode("latin1").encode() for each in secrets)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in files if any(each in path.read_bytes() for each in spellings)}


def test_a_key_in_a_checkpoint_is_found(folder):
    size = {"image_size": (8, 8), "block_size": (4, 4)}
    bundle = keys.KeyBundle(keys.RMTKey.generate(**size), labels=keys.LabelKey.generate(classes=7))
    keys.save(bundle, "my.key")
    torch.save({"weights": torch.zeros(3)}, "free.ckpt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeyPickledWarning)
        torch.save({"hyper_parameters": {"labels": bundle.labels}}, "pickled.ckpt")
    torch.save({"matrices": bundle.transform.matrices}, "tensor.ckpt")
    assert files_with_the_key(folder, bundle) == {"my.key", "pickled.ckpt", "tensor.ckpt"}


def test_pytorch(folder):
    names = run_page("docs/guides/training.md")
    make, bundle = names["make"], names["bundle"]
    assert_answers(names["predictor"], names["network"], bundle)

    live = Predictor.load("live.model", key=bundle, network=make, class_names=names["plain"].classes)
    assert_answers(live, live.network, bundle)
    assert share_right(live) > 0.3  # chance is 1/7; renamed labels that stay renamed, less
    exported = Predictor.load("export.model", key=bundle, network=make, export="protected/val")
    assert share_right(exported) > 0.3
    assert files_with_the_key(folder, bundle) == {"my.key"}


def test_torchrun(folder):
    names = run_page("docs/guides/torchrun.md")
    bundle = names["bundle"]
    together = Predictor.load("torchrun.model", network=network_of_the_pages(), key=bundle, export="protected")
    assert_answers(together, together.network, bundle)
    assert share_right(together) > 0.3
    assert files_with_the_key(folder, bundle) == {"my.key"}


def network_of_the_pages():
    flat = [torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32 * 64, 7)]
    return torch.nn.Sequential(torch.nn.Conv2d(3, 32, 8, stride=8), *flat)


def test_kornia(folder):
    names = run_page("docs/guides/kornia.md")
    assert names["predictor"].header == read_header("kornia.model")
    assert_answers(names["predictor"], names["network"], names["bundle"])
    assert files_with_the_key(folder, names["bundle"]) == {"my.key"}


@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*is deprecated:FutureWarning")  # of torch, by lightning
@pytest.mark.filterwarnings("ignore:.*does not have many workers")  # depends on how many cores there are
def test_lightning(folder):
    names = run_page("docs/guides/lightning.md")
    bundle = names["bundle"]
    assert_answers(names["predictor"], names["trained"], bundle)
    checkpoint = torch.load(names["checkpoint"], weights_only=True)
    assert checkpoint["datamodule_hyper_parameters"]["key_file"] == "my.key"
    assert len(list(folder.rglob("*.ckpt"))) == 2
    assert files_with_the_key(folder, bundle) == {"my.key"}
    exported = Predictor.load("export.model", key=bundle, network=names["Classifier"], export="protected/train")
    assert_answers(exported, names["model"], bundle)


def test_timm(folder):
    names = run_page("docs/guides/timm.md")
    assert_answers(names["predictor"], names["network"], names["bundle"], names["mean"], names["std"])
    assert files_with_the_key(folder, names["bundle"]) == {"my.key"}


def test_hugging_face(folder, offline):
    names = run_page("docs/guides/hugging-face.md")
    bundle, plain = names["bundle"], names["plain"]
    trained = Predictor.load(
        "vit.model", key=bundle, network=names["predictor"].network, class_names=names["predictor"].class_names
    )
    assert_answers(trained, trained.network, bundle, std=0.5)
    assert (folder / "trainer" / "checkpoint-7" / "model.safetensors").exists()
    assert files_with_the_key(folder, bundle) == {"my.key"}
    assert not files_with_the_key(offline, bundle)
    assert not [path for path in (folder / "trainer").rglob("*.json") if "windmills" in path.read_text()]

    sample, wrapped = names["transformed"][0], names["train_set"][0]
    assert sample["labels"] == wrapped["labels"] == bundle.labels.map(plain[0]["label"])
    assert sample["pixel_values"].shape == wrapped["pixel_values"].shape == (3, 64, 64)


def test_what_datasets_writes(folder, offline):
    datasets = pytest.importorskip("datasets", "3.0", reason="the extra `integration-test` is not installed")

    def written():
        return {path: path.read_bytes() for path in [*offline.rglob("*.arrow"), *folder.rglob("*.arrow")]}

    def new_files(call):
        before = written()
        made = call()
        return made, [content for path, content in written().items() if path not in before]

    def load():
        return datasets.load_dataset("imagefolder", data_dir=PHOTOGRAPHS, split="train", cache_dir=offline / "cache")

    plain, (listed,) = new_files(load)
    assert JPEG not in listed
    transformed, none = new_files(lambda: plain.with_transform(lambda batch: {"label": batch["label"]}))
    assert none == []
    _, (mapped,) = new_files(lambda: plain.map(lambda sample: {"image": sample["image"].resize((8, 8))}))
    assert mapped.count(b"JFIF") + mapped.count(b"PNG") >= len(plain)
    _, (saved,) = new_files(lambda: plain.save_to_disk("saved"))
    assert JPEG in saved
    with pytest.raises(TypeError, match="transform"):
        transformed.save_to_disk("other")

    features = datasets.Features({"image": datasets.Image()})
    rows = {"image": [{"bytes": Path(PICTURES[0]).read_bytes(), "path": None}]}
    datasets.Dataset.from_dict(rows, features=features).to_parquet("pictures.parquet")
    options = {"data_files": "pictures.parquet", "cache_dir": str(offline / "parquet")}
    _, (copied,) = new_files(lambda: datasets.load_dataset("parquet", split="train", **options))
    assert JPEG in copied
