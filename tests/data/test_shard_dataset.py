"""Random access to an export gives what reading it from start to end gives."""

import contextlib
import errno
import io
import json
import os
import pickle
import shutil
import struct
import threading
import zlib

import numpy as np
import PIL.Image
import pytest
import torch
from support import Pictures, content, make_bundle, make_image, run_export, sent_to_worker, write_folder
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, RandomSampler, Subset

from torchprotect import data
from torchprotect.data import cache
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


def in_place_of(out, images, number=1):
    """Put other images in the place of a shard, with a manifest that fits."""
    members = []
    for index, image in enumerate(images):
        name = f"{index:032x}"
        members += [(f"{name}.{extension(image)}", next(encode(image[None]))), (f"{name}.cls", b"3")]
    rewrite(out, members, len(images), number)


def rewrite(out, members, count, number=1):
    """Put other members in the place of those of a shard, with a manifest that fits."""
    name = f"shard-{number:06d}.tar"
    with (out / name).open("wb") as file:
        stream = TarStream(file)
        stream.write(members)
        stream.finish()
    document = json.loads((out / "manifest.json").read_text())
    digest = documents.sha256_of(open_store(out), name)
    document["shards"][number].update(count=count, size=(out / name).stat().st_size, sha256=digest)
    (out / "manifest.json").write_text(json.dumps(document))


# the same as data.read


def test_every_sample_is_that_of_read(out):
    dataset, expected = data.ShardDataset(out), list(data.read(out))
    assert len(dataset) == len(expected)
    for index, sample in enumerate(expected):
        assert_same(dataset[index], sample)
        assert_same(dataset[index - len(dataset)], sample)
    for three in (np.int64(3), torch.tensor(3), np.array(3), torch.tensor(3, dtype=torch.uint8)):
        assert_same(dataset[three], expected[3])


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
    for form in (torch.tensor(wanted), np.array(wanted), tuple(wanted), np.array(wanted, np.int8)):
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
        dataset.labels.zero_()  # of a copy
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
    assert_same(Subset(dataset, torch.tensor([9, 3]))[1], dataset[3])
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
    dataset, expected = data.ShardDataset(tmp_path / "out"), list(data.read(tmp_path / "out"))
    for index in [*range(20), *range(19, -1, -1)]:
        assert_same(dataset[index], expected[index])
    assert 0 < len(open_files(tmp_path)) <= 3
    del dataset
    assert not open_files(tmp_path)


def open_files(folder):
    """Return the files below a folder that this process has open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that listed them
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return [path for path in found if path.startswith(str(folder))]


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


def test_a_shard_that_is_put_back(own):
    """The file that stood in its place must not be read any more."""
    dataset, path = data.ShardDataset(own), own / SHARD
    expected = dataset[8]
    del dataset
    dataset = data.ShardDataset(own)
    path.rename(own / "kept")
    shutil.copy(own / "shard-000000.tar", path)
    with pytest.raises(VerificationError, match="written to"):
        dataset[8]
    path.unlink()
    (own / "kept").rename(path)
    assert_same(dataset[8], expected)


def test_images_that_differ_are_watched_too(own):
    in_place_of(own, [make_image(3, 16, 16), make_image(1, 16, 16)])
    dataset = data.ShardDataset(own)
    body = bytearray((own / "shard-000000.tar").read_bytes())
    body[700] ^= 255
    (own / "shard-000000.tar").write_bytes(body)
    with pytest.raises(VerificationError, match="damaged, or it was replaced"):
        dataset[0]
    with pytest.raises(VerificationError, match="damaged, or it was replaced"):
        dataset[[0, 1]]
    dataset[7]
    shutil.copy(own / "shard-000002.tar", own / "shard-000000.tar")  # whole, but another one
    with pytest.raises(VerificationError, match="written to"):
        dataset[0]


def test_a_pipe_in_place_of_a_shard(own):
    dataset = data.ShardDataset(own)
    (own / SHARD).unlink()
    os.mkfifo(own / SHARD)
    with pytest.raises(VerificationError, match="written to"):
        dataset[8]  # and does not wait for somebody to write


def test_too_many_open_files(own, monkeypatch):
    dataset = data.ShardDataset(own)

    def refuse(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StoreError, match="ulimit"):
        dataset[8]


def test_processes_that_fill_one_cache(tmp_path, s3, monkeypatch):
    """The copy of whoever is first stays: it may be open already."""
    run_export(f"{s3}/out", dataset=Pictures(20, 3))
    blocks, others = cache._blocks, []

    def another_is_faster(*given):
        monkeypatch.setattr(cache, "_blocks", blocks)
        others.append(data.ShardDataset(f"{s3}/out", cache=tmp_path))
        return blocks(*given)

    monkeypatch.setattr(cache, "_blocks", another_is_faster)
    late = data.ShardDataset(f"{s3}/out", cache=tmp_path)
    assert_same(late[8], others[0][8])


# hostile exports


def test_a_stored_png_cut_into_other_blocks(tmp_path):
    """A decoder takes it, but its pixels lie elsewhere."""
    run_export(tmp_path / "out", make_bundle("aes", (256, 256), (16, 16)), Pictures(9, 1, (256, 256)))
    image = make_image(1, 256, 256)
    stored = next(encode(image[None]))
    stream = b"".join(bytes(1) + bytes(row.tolist()) for row in image[0])
    parts = [stream[:267], stream[267:]]
    blocks = [struct.pack("<BHH", n, len(part), len(part) ^ 0xFFFF) + part for n, part in enumerate(parts)]
    body = b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(stream))
    chunk = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
    other = stored[:33] + chunk + stored[-12:]
    assert np.array_equal(np.array(PIL.Image.open(io.BytesIO(other))), image[0].numpy())
    rewrite(tmp_path / "out", [(f"{0:032x}.png", other), (f"{0:032x}.cls", b"3")], 1)
    for read in (list, data.ShardDataset):
        with pytest.raises(VerificationError, match="pixels are damaged"):
            read(data.read(tmp_path / "out") if read is list else tmp_path / "out")


@pytest.mark.parametrize("first", [True, False])
def test_sizes_are_those_of_the_manifest(own, first):
    images = [make_image(3, 8, 8)] * 2 if first else [make_image(3, 16, 16), make_image(3, 8, 8)]
    if first:
        shutil.copy(own / SHARD, own / "kept")
    in_place_of(own, images)
    with pytest.raises(VerificationError, match=r"8 x 8 pixels, the manifest says \(16, 16\)"):
        data.ShardDataset(own)


def test_a_png_by_the_name_of_npy(own):
    stored = next(encode(make_image(1, 3, 16, 16)))
    rewrite(own, [(f"{0:032x}.npy", stored), (f"{0:032x}.cls", b"3")], 1)
    with pytest.raises(VerificationError, match="npy"):
        data.ShardDataset(own)


@pytest.mark.parametrize("shape", [(0, 16, 16), (3, 0, 16), (3, 16, 0)])
def test_images_without_pixels(tmp_path, shape):
    run_export(tmp_path / "out", RMT, Pictures(20, 3))
    document = json.loads((tmp_path / "out" / "manifest.json").read_text())
    del document["transform"][-1]["image_size"]
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(document))
    for number in range(3):
        in_place_of(tmp_path / "out", [torch.zeros(shape)], number)
    dataset = data.ShardDataset(tmp_path / "out")
    assert dataset[0][0].shape == shape
    assert dataset[[0, 1, 2]][0].shape == (3, *shape)


# refusals


def test_indices_that_are_refused(own):
    dataset = data.ShardDataset(own)
    for index in (20, -21, [3, 20], torch.tensor([-21])):
        with pytest.raises(IndexError, match="out of range: the export has 20 images"):
            dataset[index]
    for index in ("3", 1.5, [1.5], [[1]], [1, [2]], torch.tensor([True]), torch.tensor(True), None, True):
        with pytest.raises(InputTypeError, match="an index must be an int, or a list"):
            dataset[index]
    for index in (torch.ones(1, dtype=torch.bfloat16), torch.ones(1, requires_grad=True), torch.ones(1, device="meta")):
        with pytest.raises(InputTypeError, match="an index must be an int, or a list"):
            dataset[index]
    for indices in ([1.5], ["3"], [True, False], [2**70]):
        with pytest.raises(InputTypeError, match="an index must be"):
            dataset.__getitems__(indices)
    with pytest.raises(IndexError, match="out of range"):
        dataset[np.array([2**64 - 1], np.uint64)]


def test_no_images(own, tmp_path):
    run_export(tmp_path / "sealed", dataset=Pictures(20, 3), recipients=[generate_identity(tmp_path / "alice")])
    for dataset in (data.ShardDataset(own), data.ShardDataset(tmp_path / "sealed", identity=tmp_path / "alice")):
        for nothing in ([], slice(5, 5), torch.tensor([], dtype=torch.int64), torch.tensor([])):
            images, labels = dataset[nothing]
            assert images.shape == (0, 3, 16, 16)
            assert images.dtype == torch.uint8
            assert labels.shape == (0,)


def test_an_export_of_empty_shards(own):
    for number in range(3):
        rewrite(own, [], 0, number)
    dataset = data.ShardDataset(own)
    assert len(dataset) == 0
    assert list(dataset) == []
    with pytest.raises(InputShapeError, match="no shape"):
        dataset[:]


def test_an_export_that_is_unfinished(own):
    (own / "manifest.json").unlink()
    with pytest.raises(ExportError, match="unfinished"):
        data.ShardDataset(own)


def test_some_images_without_a_label(own):
    rewrite(own, [(f"{0:032x}.png", next(encode(make_image(1, 3, 16, 16))))], 1)
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
