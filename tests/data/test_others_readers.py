"""Exports in other readers: what docs/guides/readers.md shows runs as it stands, and gives the samples of data.read."""

import http.server
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from support import Pictures, content, make_bundle, run_export, tar_members
from torchvision.transforms.v2.functional import pil_to_tensor
from typer.testing import CliRunner

from torchprotect import data
from torchprotect.cli import app

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "readers.md").read_text()


class Unlabeled(Pictures):
    def __getitem__(self, index):
        return super().__getitem__(index)[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def section(heading):
    return re.search(rf"^## {heading}.*?(?=^## |\Z)", PAGE, re.M | re.S)[0]


def python_of(heading):
    (code,) = re.findall(r"```python\n(.*?)```", section(heading), re.S)
    return code


def run_commands(heading):
    """Run the commands of torchprotect below a heading."""
    for command in re.findall(r"^torchprotect (.*)$", section(heading), re.M):
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == 0, result.output


def run_section(heading):
    """Run commands and Python below a heading; return the names that it leaves."""
    run_commands(heading)
    names = {"__name__": heading}
    exec(compile(python_of(heading), heading, "exec"), names)  # noqa: S102 - our own page
    return names


def as_tensor(image):
    return torch.from_numpy(np.asarray(image)) if isinstance(image, np.ndarray) else pil_to_tensor(image)


def assert_same(found, export="out"):
    expected = list(data.read(export))
    assert len(found) == len(expected)
    for (image, label), (true_image, true_label) in zip(found, expected):
        assert torch.equal(image, true_image)
        assert label == true_label


def of_wids(dataset):
    samples = [dataset[index] for index in range(len(dataset))]
    dataset.close()
    return [(as_tensor(sample.get(".png", sample.get(".npy"))), sample[".cls"]) for sample in samples]


def test_shard_dataset(folder):
    run_export("out", dataset=Pictures(20, 3))
    names = run_section("ShardDataset: random access, whole batches")
    assert len(names["dataset"]) == 20
    assert names["images"].shape == (20, 3, 16, 16)


def test_webdataset(folder):
    run_export("out", dataset=Pictures(20, 3))
    assert_same(list(run_section("webdataset")["dataset"]))


@pytest.mark.parametrize("kind", ["aes", "rmt"])
def test_wids(folder, kind):
    pytest.importorskip("wids")
    run_export("out", make_bundle(kind), Pictures(20, 3))
    before = content(Path("out"))
    if kind == "aes":
        dataset = run_section("wids")["dataset"]
    else:
        dataset = open_with_wids("out", transformations=partial(decode, format="PIL"))
    assert_same(of_wids(dataset))
    assert content(Path("out")) == before


def decode(sample, format):
    from wids.wids_decode import default_decoder

    return default_decoder(sample, format)


def open_with_wids(export, **options):
    import wids

    Path("index.json").write_text(json.dumps(data.wids_index(export)))
    return wids.ShardListDataset("index.json", cache_dir="cache", **options)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(folder):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="wids fetches by curl")
def test_wids_and_croissant_of_a_url(server):
    pytest.importorskip("wids")
    pytest.importorskip("aiohttp")
    run_export("out", dataset=Pictures(20, 3))
    assert_same(of_wids(open_with_wids(f"{server}/out", transformations=partial(decode, format="PIL"))))
    document = data.croissant_metadata(f"{server}/out")
    assert document["distribution"][0]["contentUrl"] == f"{server}/out/shard-000000.tar"
    assert document["name"] == "out"


RECORDS = """
import sys, mlcroissant
name = sys.argv[1]
dataset = mlcroissant.Dataset("out.croissant.json")
assert not dataset.metadata.ctx.issues.errors
for record in dataset.records(name):
    image = record[f"{name}/image"]
    content = image if isinstance(image, bytes) else image.tobytes()
    print("record", record[f"{name}/id"].decode(), content.hex(), record.get(f"{name}/label"))
"""


def by_croissant(record_set, program=""):
    """Return pixels or file content, and label, of each id. In a process of its own: mlcroissant leaves files open."""
    pytest.importorskip("mlcroissant")
    command = [sys.executable, "-c", program + RECORDS, record_set]
    environment = {**os.environ, "CROISSANT_CACHE": "unpacked"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    records = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("record ")]
    return {name: (bytes.fromhex(image), label) for name, image, label in records}


def in_shards():
    """Return file content and label of each id."""
    found = {}
    for path in sorted(Path("out").glob("*.tar")):
        for name, body in tar_members(path).items():
            stem, _, kind = name.partition(".")
            found.setdefault(stem, [None, "None"])[kind == "cls"] = body.decode() if kind == "cls" else body
    return {name: tuple(sample) for name, sample in found.items()}


def pixels(body):
    return PIL.Image.open(io.BytesIO(body)).tobytes()


@pytest.mark.slow
def test_croissant(folder):
    run_export("out", dataset=Pictures(20, 3))
    run_commands("Croissant")
    expected = {name: (pixels(image), label) for name, (image, label) in in_shards().items()}
    assert len(expected) == 20
    assert by_croissant("samples", python_of("Croissant")) == expected


@pytest.mark.slow
def test_croissant_of_arrays_without_labels(folder):
    run_export("out", make_bundle("rmt").transform, Unlabeled(20, 3))
    run_commands("Croissant")
    assert [each["@id"] for each in json.loads(Path("out.croissant.json").read_bytes())["recordSet"]] == ["images"]
    assert by_croissant("images") == in_shards()


@pytest.mark.slow
def test_croissant_of_arrays(folder):
    run_export("out", make_bundle("rmt"))
    run_commands("Croissant")
    assert by_croissant("samples") == in_shards()
