import copy
import warnings

import numpy as np
import PIL.Image
import pytest
import torch
from support import Pictures, Stream, make_bundle, make_image, sent_to_worker
from torch.utils.data import DataLoader
from torchvision import transforms as v1
from torchvision.transforms import v2

from torchprotect import data, keys, transforms
from torchprotect.errors import InputTypeError, KeyKindError, LabelError, LabelsLeftPlainWarning

AES = make_bundle("aes")
TRANSFORM = transforms.from_key(AES)


def test_samples_labels_and_back():
    dataset = data.ProtectedDataset(Pictures(12), TRANSFORM, AES.labels)
    assert len(dataset) == 12
    image, label = dataset[3]
    assert torch.equal(image, TRANSFORM(make_image(1, 16, 16, seed=3)))
    assert label == AES.labels.map(3)
    assert dataset.unmap(label) == 3
    assert dataset.unmap(torch.tensor([label])).tolist() == [3]
    plain = data.ProtectedDataset(Pictures(12), transforms.from_key(AES.transform))
    assert plain[3][1] == plain.unmap(3) == 3


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("kind", ["map", "iterable"])
def test_workers_give_the_same(context, kind):
    if kind == "map":
        dataset = data.ProtectedDataset(Pictures(12), TRANSFORM, AES.labels)
    else:
        dataset = data.ProtectedIterableDataset(Stream(12), TRANSFORM, AES.labels)
    alone = [(image[0], int(label)) for image, label in DataLoader(dataset, batch_size=1)]
    loader = DataLoader(dataset, batch_size=1, num_workers=2, multiprocessing_context=context)
    workers = [(image[0], int(label)) for image, label in loader]
    assert len(alone) == len(workers) == 12
    for (image, label), (other, same) in zip(alone, workers, strict=True):
        assert label == same
        assert torch.equal(image, other)


def test_sent_to_a_worker():
    dataset = data.ProtectedDataset(Pictures(3), TRANSFORM, AES.labels)
    again = sent_to_worker(dataset)
    assert torch.equal(again[2][0], dataset[2][0])


def test_structures():
    image = make_image(1, 16, 16)
    for sample, position in (({"image": image, "label": 4}, "label"), ((image, 4, "id"), 1), ([image, 4], 1)):
        out = data.ProtectedDataset([sample], TRANSFORM, AES.labels)[0]
        assert type(out) is type(sample)
        assert out[position] == AES.labels.map(4)
    for sample in (image, (image,)):
        with pytest.raises(LabelError, match="no label in a"):
            data.ProtectedDataset([sample], TRANSFORM, AES.labels)[0]


PICTURE = PIL.Image.new("RGB", (16, 16))
MAPPED = AES.labels.map(4)


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        ({"image": PICTURE, "label": 4}, "label"),
        ({"img": PICTURE, "labels": 4}, "labels"),
        ({"img": PICTURE, "fine_label": 4}, "fine_label"),
        ({"image": PICTURE, "label": np.int64(4)}, "label"),
        ({"image": PICTURE, "label": torch.tensor([4])}, "label"),
        ({"__key__": "0", "png": PICTURE, "cls": 4}, "cls"),
        ({"pixels": [PICTURE, PICTURE], "Label": torch.tensor([4, 4])}, "Label"),
    ],
)
def test_dict_samples(sample, name):
    out = data.ProtectedDataset([sample], TRANSFORM, AES.labels)[0]
    assert out.keys() == sample.keys()
    assert torch.equal(torch.as_tensor(out[name]).flatten().unique(), torch.tensor([MAPPED]))
    assert all(out[other] != sample[other] for other in sample if other not in (name, "__key__"))


@pytest.mark.parametrize(
    ("sample", "error", "message"),
    [
        ({"image": PICTURE, "target": 4}, LabelError, r"no label in a dict of \['image', 'target'\].*rename"),
        (
            {"img": PICTURE, "fine_label": 4, "coarse_label": 1},
            LabelError,
            "several labels.*stay plain; keep one",
        ),
        ({"img": PICTURE, "label": 4, "label_name": "cat"}, LabelError, "several labels"),
        ({"image": PICTURE, "label": torch.eye(10)[4].long()}, InputTypeError, r"shape \[10\].*argmax"),
        ((PICTURE, torch.eye(10)[4].long()), InputTypeError, r"shape \[10\].*argmax"),
        ((torch.zeros(1, 16, 16, dtype=torch.uint8), torch.tensor([0, 1])), InputTypeError, r"shape \[2\]"),
        ((PICTURE, torch.eye(10)[4]), InputTypeError, "argmax"),
        ((PICTURE, np.array([4])), InputTypeError, "torch.from_numpy"),
        ({"image": [PICTURE], "label": [4]}, InputTypeError, "torch.tensor makes"),
        ({"image": PICTURE, "label": None}, InputTypeError, "an integer or a tensor of integers, got NoneType"),
        ({"image": {"bytes": b"x", "path": None}, "label": 4}, InputTypeError, "decode the file first"),
        ({"image": np.zeros((16, 16, 3), np.uint8), "label": 4}, InputTypeError, r"v2.ToImage\(\)"),
    ],
)
def test_samples_that_are_refused(sample, error, message):
    with pytest.raises(error, match=message):
        data.ProtectedDataset([sample], TRANSFORM, AES.labels)[0]


def test_labels_outside_the_map():
    with pytest.raises(LabelError):
        data.ProtectedDataset([(make_image(1, 16, 16), 10)], TRANSFORM, AES.labels)[0]


def test_reading_an_export_in_workers(tmp_path):
    data.export(Pictures(30), tmp_path, transform=TRANSFORM, key=AES, shard_size=5)
    alone = {bytes(image.flatten().tolist()): label for image, label in data.read(tmp_path)}
    loader = DataLoader(data.read(tmp_path).batched(4), batch_size=None, num_workers=2)
    seen = {
        bytes(image.flatten().tolist()): int(label)
        for images, labels in loader
        for image, label in zip(images, labels, strict=True)
    }
    assert seen == alone
    assert len(seen) == 30


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": AES}, KeyKindError, r"labels must be a LabelKey, got KeyBundle; give bundle\.labels"),
        (
            {"transform": AES},
            KeyKindError,
            r"transform must be a disguise, got KeyBundle; use transforms.from_key",
        ),
        ({"dataset": DataLoader(Pictures(4))}, InputTypeError, r"got a DataLoader; give loader\.dataset"),
    ],
)
def test_arguments_that_are_mixed_up_are_refused(options, error, message):
    given = {"dataset": Pictures(4), "transform": transforms.from_key(AES), **options}
    for wrapper in (data.ProtectedDataset, data.ProtectedIterableDataset):
        with pytest.raises(error, match=message):
            wrapper(**given)


def test_pipelines_without_a_disguise_are_refused():
    plain = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    for transform in (v2.Compose(plain), plain[0], v1.Compose([v1.ToTensor()]), v2.Compose([v2.Compose(plain)])):
        for wrapper in (data.ProtectedDataset, data.ProtectedIterableDataset):
            with pytest.raises(InputTypeError, match="every picture would be left unprotected"):
                wrapper(Pictures(4), transform)
    disguise = transforms.from_key(AES.transform)
    for transform in (v2.Compose([*plain[:1], disguise]), v2.Lambda(disguise), disguise, lambda sample: sample):
        data.ProtectedDataset(Pictures(4), transform)


WRAPPERS = pytest.mark.parametrize("wrapper", [data.ProtectedDataset, data.ProtectedIterableDataset])
FLOATS = v2.ToDtype(torch.float32, scale=True)


@WRAPPERS
class TestLabelMapOfABundle:
    """The transform of a bundle disguises pictures only: a data set without ``labels`` leaves the labels plain."""

    @pytest.mark.parametrize(
        "transform",
        [
            TRANSFORM,
            v2.Compose([TRANSFORM, FLOATS]),
            torch.nn.Sequential(v2.Identity(), v2.Compose([TRANSFORM])),
            copy.deepcopy(TRANSFORM),
            sent_to_worker(TRANSFORM),
        ],
    )
    def test_one_warning_says_what_to_pass(self, wrapper, transform):
        message = rf"{wrapper.__name__} leaves the labels plain, .*pass labels=bundle\.labels"
        with pytest.warns(LabelsLeftPlainWarning, match=message) as caught:
            dataset = wrapper(Pictures(3), transform)
        assert len(caught) == 1
        assert caught[0].filename == __file__
        for again in (sent_to_worker(dataset), copy.deepcopy(dataset)):  # a further warning would be an error
            assert again.labels is None

    @pytest.mark.parametrize(
        ("transform", "labels"),
        [
            (TRANSFORM, AES.labels),
            (transforms.from_key(AES.transform, permutation=AES.permutation), None),
            (transforms.from_key(keys.KeyBundle(AES.transform, AES.permutation)), None),
            (transforms.from_key(AES, inverse=True), None),
            (transforms.AESECBDisguise(AES.transform), None),
        ],
    )
    def test_no_warning_where_nothing_is_missing(self, wrapper, transform, labels):
        with warnings.catch_warnings():
            warnings.simplefilter("error", LabelsLeftPlainWarning)
            wrapper(Pictures(3), transform, labels)


@pytest.mark.parametrize("kind", ["aes", "rmt", "permutation"])
def test_a_transform_shows_that_it_leaves_the_labels(kind):
    bundle = make_bundle(kind)
    with_map = transforms.from_key(bundle)
    without = transforms.from_key(bundle.transform, permutation=bundle.permutation) if bundle.permutation else None
    without = without or transforms.from_key(bundle.transform)
    assert repr(with_map) == f"{repr(without)[:-1]}, labels=left to the data set)"
    assert "labels" not in repr(without) + repr(transforms.from_key(bundle, inverse=True))
    assert "labels=left to the data set" in repr(v2.Compose([with_map]))
    assert with_map.describe() == without.describe()
    for again in (copy.deepcopy(with_map), sent_to_worker(with_map)):
        assert repr(again) == repr(with_map)
