"""Random access to an export gives what reading it from start to end gives."""

import json
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
import torch
from support import Pictures, content, make_bundle, make_image, run_export, sent_to_worker, write_folder
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler, Subset

from torchprotect import data
from torchprotect.data import manifest as documents
from torchprotect.data._encode import encode, extension
from torchprotect.data._tar import TarStream
from torchprotect.data.store import open_store
from torchprotect.envelope import generate_identity
from torchprotect.errors import (
    EnvelopeError,
    ExportError,
    InputShapeError,
    InputTypeError,
    LabelError,
    StoreError,
    VerificationError,
)

RMT = make_bundle("rmt")
SHARD = "shard-000001.tar"


def tagged(root):
    """Return a source whose images have none, one or several labels."""
    write_folder(root / "in", classes=4)
    names = [f"class{label}/{n}.png" for label in range(4) for n in range(4)]
    rows = [{"file_name": name, "labels": list("abcd")[: number % 5]} for number, name in enumerate(names)]
    (root / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data.open_source(root / "in", labels_from=root / "labels.jsonl")


class Unlabelled(Pictures):
    def __getitem__(self, index):
        return super().__getitem__(index)[0]


BUNDLE, PLAIN = make_bundle("permutation"), make_bundle("permutation").transform
EXPORTS = {
    "png, grey": {},
    "png, rgb": {"dataset": Pictures(20, 3)},
    "png of several blocks": {
        "dataset": Pictures(9, 3, (160, 144)),
        "bundle": make_bundle("aes", (160, 144), (16, 16)),
    },
    "npy, float32": {"bundle": RMT, "dataset": Pictures(20, 3)},
    "npy, float16": {"bundle": RMT, "store": "float16"},
    "several labels": {"bundle": PLAIN, "dataset": tagged},
    "no labels": {"bundle": PLAIN, "dataset": Unlabelled()},
}


@pytest.fixture(scope="module", params=EXPORTS)
def given(request, tmp_path_factory):
    """Return the arguments of an export."""
    options = dict(EXPORTS[request.param])
    if options.get("dataset") is tagged:
        options["dataset"] = tagged(tmp_path_factory.mktemp("tagged"))
    return options


@pytest.fixture(scope="module")
def out(given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports") / "out"
    run_export(folder, **given)
    return folder


@pytest.fixture
def own(tmp_path):
    """Return an export that a test may change."""
    run_export(tmp_path / "out", dataset=Pictures(20, 3))
    return tmp_path / "out"


def assert_same(found, expected):
    (image, label), (other, other_label) = found, expected
    assert image.dtype == other.dtype
    assert torch.equal(image, other)
    assert type(label) is type(other_label)
    assert torch.equal(label, other_label) if isinstance(label, torch.Tensor) else label == other_label


def in_place_of(out, images):
    """Put other images in the place of a shard, with a manifest that fits."""
    with (out / SHARD).open("wb") as file:
        stream = TarStream(file)
        for number, image in enumerate(images):
            name = f"{number:032x}"
            stream.write([(f"{name}.{extension(image)}", next(encode(image[None]))), (f"{name}.cls", b"3")])
        stream.finish()
    document = json.loads((out / "manifest.json").read_text())
    digest = documents.sha256_of(open_store(out), SHARD)
    document["shards"][1].update(count=len(images), size=(out / SHARD).stat().st_size, sha256=digest)
    (out / "manifest.json").write_text(json.dumps(document))


# the same as data.read


def test_every_sample_is_that_of_read(out):
    dataset, expected = data.ShardDataset(out), list(data.read(out))
    assert len(dataset) == len(expected)
    for index, sample in enumerate(expected):
        assert_same(dataset[index], sample)
        assert_same(dataset[index - len(dataset)], sample)
    assert_same(dataset[np.int64(3)], expected[3])


def test_a_batch_is_a_stack_of_samples(out):
    dataset, expected = data.ShardDataset(out), list(data.read(out))
    wanted = [5, -1, 0, 5, 8]
    images, labels = dataset[wanted]
    assert torch.equal(images, torch.stack([expected[index][0] for index in wanted]))
    if expected[0][1] is None:
        assert labels is None
    else:
        assert labels.dtype == torch.int64
        assert labels.tolist() == [torch.as_tensor(expected[index][1]).tolist() for index in wanted]
    for form in (torch.tensor(wanted), np.array(wanted), tuple(wanted)):
        assert torch.equal(dataset[form][0], images)
    assert torch.equal(dataset[2:7:2][0], torch.stack([expected[index][0] for index in (2, 4, 6)]))


def test_many_samples_for_a_loader(out):
    dataset = data.ShardDataset(out)
    for index, sample in zip((7, 0, 7), dataset.__getitems__([7, 0, 7])):
        assert_same(sample, dataset[index])


def test_more_images_than_are_read_at_once(tmp_path):
    run_export(tmp_path / "out", make_bundle("aes", (64, 64)), Pictures(60, 3, (64, 64)), shard_size=25)
    dataset, expected = data.ShardDataset(tmp_path / "out"), list(data.read(tmp_path / "out"))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    images, labels = dataset[order]
    assert torch.equal(images, torch.stack([expected[index][0] for index in order.tolist()]))
    assert labels.tolist() == [expected[index][1] for index in order.tolist()]


def test_labels_are_one_tensor(out):
    dataset, expected = data.ShardDataset(out), [label for _, label in data.read(out)]
    if isinstance(expected[0], int):
        assert dataset.labels.dtype == torch.int64
        assert dataset.labels.tolist() == expected
    else:
        assert dataset.labels is None


def test_images_of_8_bits_lie_channels_last(own):
    images, _ = data.ShardDataset(own)[[0, 1]]
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_sealed(tmp_path, given, out):
    recipient = generate_identity(tmp_path / "alice")
    run_export(tmp_path / "sealed", **given, recipients=[recipient])
    sealed, expected = data.ShardDataset(tmp_path / "sealed", identity=tmp_path / "alice"), list(data.read(out))
    for index, sample in enumerate(expected):
        assert_same(sealed[index], sample)
    images, _ = sealed[[4, 0, 5]]
    assert torch.equal(images, torch.stack([expected[index][0] for index in (4, 0, 5)]))
    with pytest.raises(EnvelopeError, match="is sealed"):
        data.ShardDataset(tmp_path / "sealed")


@pytest.mark.parametrize(
    ("other", "shown"),
    [(make_image(1, 16, 16), r"\[3, 16, 16\]"), (torch.rand(3, 16, 16), "torch.float32")],
)
def test_images_that_differ(own, other, shown):
    in_place_of(own, [make_image(3, 16, 16, seed=1), other])
    dataset, expected = data.ShardDataset(own), list(data.read(own))
    for index, sample in enumerate(expected):
        assert_same(dataset[index], sample)
    with pytest.raises(InputShapeError, match=f"{shown}.*one by one"):
        dataset[[0, 8]]
    assert torch.equal(dataset[[0, 7]][0], torch.stack([expected[0][0], expected[7][0]]))


def test_npy_files_of_one_size_and_two_shapes(tmp_path):
    """Their headers have the same length, so only what stands in them tells them apart."""
    run_export(tmp_path / "out", RMT, Pictures(20, 3))
    document = json.loads((tmp_path / "out" / "manifest.json").read_text())
    del document["transform"][-1]["image_size"]  # as of a transform that takes any size
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(document))
    in_place_of(tmp_path / "out", [torch.rand(3, 8, 32), torch.rand(3, 32, 8)])
    dataset, expected = data.ShardDataset(tmp_path / "out"), list(data.read(tmp_path / "out"))
    for index, sample in enumerate(expected):
        assert_same(dataset[index], sample)


def test_a_url_needs_a_cache(tmp_path, s3):
    run_export(f"{s3}/out", dataset=Pictures(20, 3))
    with pytest.raises(StoreError, match="cache=FOLDER"):
        data.ShardDataset(f"{s3}/out")
    dataset = data.ShardDataset(f"{s3}/out", cache=tmp_path)
    for sample, expected in zip(dataset, data.read(f"{s3}/out"), strict=True):
        assert_same(sample, expected)


# in a loader


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_workers(own, context):
    dataset, expected = data.ShardDataset(own), list(data.read(own))
    batches = BatchSampler(range(len(dataset)), 6, drop_last=False)
    loader = DataLoader(dataset, sampler=batches, batch_size=None, num_workers=2, multiprocessing_context=context)
    images, labels = map(torch.cat, zip(*loader))
    assert torch.equal(images, torch.stack([image for image, _ in expected]))
    assert labels.tolist() == [label for _, label in expected]


def test_the_default_collate_function(out):
    dataset = data.ShardDataset(out)
    if dataset[0][1] is None:
        pytest.skip("None is nothing that torch collates")
    images, labels = map(torch.cat, zip(*DataLoader(dataset, batch_size=4)))
    assert torch.equal(images, dataset[:][0])
    assert torch.equal(labels, dataset[:][1])


def test_samplers_and_subsets(own):
    dataset = data.ShardDataset(own)
    ranks = [DistributedSampler(dataset, num_replicas=2, rank=rank, shuffle=True) for rank in (0, 1)]
    assert sorted(index for rank in ranks for index in rank) == list(range(20))
    assert_same(Subset(dataset, [9, 3])[1], dataset[3])
    seen = [
        labels
        for _, labels in DataLoader(dataset, sampler=BatchSampler(RandomSampler(dataset), 8, False), batch_size=None)
    ]
    assert sorted(torch.cat(seen).tolist()) == sorted(dataset.labels.tolist())


def test_a_worker_gets_no_pixels(own):
    dataset = data.ShardDataset(own)
    dataset[0]  # opens a file
    copy = sent_to_worker(dataset)
    assert_same(copy[13], dataset[13])
    assert len(pickle.dumps(dataset)) < 6000


def test_a_process_may_change_its_folder(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    dataset = data.ShardDataset("out")
    expected = dataset[15]
    monkeypatch.chdir("/")
    assert_same(dataset[15], expected)
    assert_same(sent_to_worker(dataset)[2], dataset[2])


def test_threads(own):
    dataset = data.ShardDataset(own)
    expected, wrong = dataset[:][0], []

    def read(seed):
        for _ in range(50):
            order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
            if not torch.equal(dataset[order][0], expected[order]):
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="nothing lists open files here")
def test_few_files_are_open(tmp_path, monkeypatch):
    monkeypatch.setattr("torchprotect.data._shard_files._OPEN_FILES", 3)
    run_export(tmp_path / "out", dataset=Pictures(20, 3), shard_size=2)
    dataset, before = data.ShardDataset(tmp_path / "out"), len(os.listdir("/proc/self/fd"))
    expected = list(data.read(tmp_path / "out"))
    for index in [*range(20), *range(19, -1, -1)]:
        assert_same(dataset[index], expected[index])
    assert len(os.listdir("/proc/self/fd")) <= before + 3
    del dataset
    assert len(os.listdir("/proc/self/fd")) == before


# damage


def test_a_wrong_hash(own):
    body = bytearray((own / SHARD).read_bytes())
    body[600] ^= 1
    (own / SHARD).write_bytes(body)
    with pytest.raises(VerificationError, match="SHA-256"):
        data.ShardDataset(own)
    assert len(data.ShardDataset(own, verify=False)) == 20


@pytest.mark.parametrize("change", ["written to", "replaced", "cut", "removed"])
@pytest.mark.parametrize("opened", [False, True])
def test_files_that_change(own, change, opened):
    dataset = data.ShardDataset(own)
    if opened:
        dataset[10]
    path, body = own / SHARD, bytearray((own / SHARD).read_bytes())
    if change == "replaced":
        shutil.copy(own / "shard-000000.tar", own / "new")
        (own / "new").replace(path)
    elif change == "removed":
        path.unlink()
    elif change == "cut":
        with path.open("r+b") as file:
            file.truncate(len(body) // 2)
    else:
        body[5 * 2048 + 700] ^= 255
        path.write_bytes(body)
    with pytest.raises(VerificationError, match=SHARD):
        dataset[[0, 13]]
    with pytest.raises(VerificationError, match=SHARD):
        dataset[13]
    dataset[0]  # of another shard


def test_a_sealed_file_that_changes(tmp_path):
    run_export(tmp_path / "out", recipients=[generate_identity(tmp_path / "alice")])
    dataset = data.ShardDataset(tmp_path / "out", identity=tmp_path / "alice")
    path = tmp_path / "out" / f"{SHARD}.sealed"
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    with pytest.raises(VerificationError):
        dataset[10]


# refusals


def test_indices_that_are_refused(own):
    dataset = data.ShardDataset(own)
    for index in (20, -21, [3, 20], torch.tensor([-21])):
        with pytest.raises(IndexError, match="out of range: the export has 20 images"):
            dataset[index]
    for index in ("3", 1.5, [1.5], [[1]], torch.tensor([True]), None, True):
        with pytest.raises(InputTypeError, match="an index must be an int, or a list"):
            dataset[index]
    images, labels = dataset[[]]
    assert images.shape == (0, 3, 16, 16)
    assert labels.shape == (0,)


def test_an_export_that_is_unfinished(own):
    (own / "manifest.json").unlink()
    with pytest.raises(ExportError, match="unfinished"):
        data.ShardDataset(own)


def test_some_images_without_a_label(own):
    with (own / SHARD).open("wb") as file:
        stream = TarStream(file)
        stream.write([(f"{0:032x}.png", next(encode(make_image(1, 3, 16, 16))))])
        stream.finish()
    document = json.loads((own / "manifest.json").read_text())
    digest = documents.sha256_of(open_store(own), SHARD)
    document["shards"][1].update(count=1, size=(own / SHARD).stat().st_size, sha256=digest)
    (own / "manifest.json").write_text(json.dumps(document))
    dataset = data.ShardDataset(own)
    assert dataset[7][1] is None
    assert dataset.labels is None
    assert dataset[[0, 8]][1].shape == (2,)
    with pytest.raises(LabelError, match="read them one by one"):
        dataset[[0, 7]]


def test_nothing_is_written(own):
    before = content(own)
    dataset = data.ShardDataset(own)
    dataset[[0, 13]]
    assert content(own) == before
    assert repr(dataset) == "ShardDataset(20 images in 3 shards)"
