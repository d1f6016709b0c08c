"""What wrappers of data sets pass on of the data set they wrap, and what they keep back."""

import copy
import pickle
import warnings

import pytest
import torch
from support import Pictures, Stream, make_bundle, make_image, sent_to_worker, write_folder
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset, random_split
from torchvision.datasets import FakeData, ImageFolder
from torchvision.transforms import v2

from torchprotect import data, keys, transforms
from torchprotect.errors import InputTypeError

BUNDLE = make_bundle("permutation")
DISGUISE = transforms.BlockPermute(BUNDLE.transform)
NAMES = [f"class {n}" for n in range(10)]


class Named(Pictures):
    """A data set with plain content in its attributes, as those of torchvision."""

    def __init__(self, count=20):
        super().__init__(count)
        self.classes = NAMES
        self.class_to_idx = {name: n for n, name in enumerate(NAMES)}
        self.targets = [n % 10 for n in range(count)]
        self.data = make_image(count, 1, 16, 16)

    def __getitem__(self, index):
        return make_image(1, 16, 16, seed=index), index % 10


class Batched(Named):
    """A data set that reads several samples at once."""

    calls = 0

    def __getitems__(self, indices):
        self.calls += 1
        return [self[index] for index in indices]


def protect(dataset, labels=BUNDLE.labels, wrapper=data.ProtectedDataset):
    return wrapper(dataset, DISGUISE, labels)


WRAPPERS = pytest.mark.parametrize("wrapper", [data.ProtectedDataset, data.ProtectedIterableDataset])


@WRAPPERS
class TestNamesOfClasses:
    def test_they_agree_with_renamed_labels(self, wrapper):
        plain = Named()
        protected = protect(plain, wrapper=wrapper)
        for plain_label, (_, label) in enumerate(protect(plain)[n] for n in range(10)):
            assert protected.classes[label] == NAMES[plain_label]
            assert protected.class_to_idx[NAMES[plain_label]] == label
        assert sorted(protected.classes) == NAMES
        assert plain.classes == NAMES

    def test_without_a_label_map(self, wrapper):
        protected = protect(Named(), None, wrapper)
        assert protected.classes == NAMES
        assert protected.class_to_idx == {name: n for n, name in enumerate(NAMES)}

    def test_names_that_do_not_belong_to_the_map(self, wrapper):
        for names, message in ((NAMES[:3], "3 classes, but the label map has 10"), (10, "a list of names, got int")):
            plain = Named()
            plain.classes = names
            with pytest.raises(AttributeError, match=message):
                _ = protect(plain, wrapper=wrapper).classes
            assert not hasattr(protect(plain, wrapper=wrapper), "classes")
        plain.class_to_idx = {"other": 10}
        with pytest.raises(AttributeError, match=r"class_to_idx .*outside the map"):
            _ = protect(plain, wrapper=wrapper).class_to_idx

    def test_data_sets_without_names(self, wrapper):
        for dataset in (Subset(Named(), [0, 1]), FakeData(2), [(1, 2)]):
            protected = protect(dataset, wrapper=wrapper)
            assert not hasattr(protected, "classes")
            assert not hasattr(protected, "class_to_idx")


@WRAPPERS
class TestOtherAttributes:
    @pytest.mark.parametrize("name", ["targets", "data", "samples", "imgs", "target_transform", "_load", "nothing"])
    def test_they_are_kept_back(self, wrapper, name):
        protected = protect(Named(), wrapper=wrapper)
        assert not hasattr(protected, name)
        with pytest.raises(AttributeError, match=rf"no attribute '{name}'.*plain pictures.*\.dataset\.{name}"):
            getattr(protected, name)
        assert getattr(protected, name, "default") == "default"

    def test_they_can_be_had_knowingly(self, wrapper):
        assert protect(Named(), wrapper=wrapper).dataset.targets[3] == 3

    def test_copies_and_workers(self, wrapper):
        protected = protect(Named(), wrapper=wrapper)
        copies = [copy.copy(protected), copy.deepcopy(protected), sent_to_worker(protected)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the pickled key
            copies.append(pickle.loads(pickle.dumps(protected)))  # noqa: S301
        for other in copies:
            assert other.classes == protected.classes
            assert not hasattr(other, "targets")

    def test_an_empty_wrapper_does_not_recurse(self, wrapper):
        empty = wrapper.__new__(wrapper)
        for name in ("dataset", "labels", "classes", "class_to_idx", "targets", "__setstate__"):
            assert not hasattr(empty, name)


def test_image_folders(tmp_path):
    folder = ImageFolder(write_folder(tmp_path / "plain", classes=3, each=2), v2.ToImage())
    labels = keys.LabelKey.generate(classes=3)
    protected = protect(folder, labels)
    for (image, label), (path, plain_label) in zip(list(protected), folder.samples):
        assert protected.classes[label] == folder.classes[plain_label] == path.split("/")[-2]
        assert not torch.equal(image, folder[plain_label * 2][0])
    for name in ("samples", "imgs", "targets", "transform_", "loader", "root"):
        assert not hasattr(protected, name)


def test_fake_data():
    protected = protect(FakeData(6, (3, 16, 16), 10, v2.ToImage()))
    assert [label for _, label in protected] == [BUNDLE.labels.map(n[1]) for n in protected.dataset]


class TestBatchedFetching:
    @pytest.mark.parametrize("around", [lambda d: d, lambda d: Subset(d, list(range(8)))], ids=["alone", "in a subset"])
    def test_samples_are_protected(self, around):
        plain = Batched(8)
        protected = protect(plain)
        batches = DataLoader(around(protected), batch_size=4)
        expected = [protect(Named(8))[n] for n in range(8)]
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        assert plain.calls == 2
        assert torch.equal(images, torch.stack([image for image, _ in expected]))
        assert labels.tolist() == [label for _, label in expected]

    def test_without_it_samples_are_read_one_by_one(self):
        batch = protect(Named()).__getitems__([3, 1])
        assert [label for _, label in batch] == [BUNDLE.labels.map(3), BUNDLE.labels.map(1)]

    def test_a_batch_that_is_no_list_of_samples_is_refused(self):
        class Columns(Dataset):
            def __getitems__(self, indices):
                return {"image": [make_image(1, 16, 16)], "label": [3]}

        with pytest.raises(InputTypeError, match="no picture"):
            protect(Columns(), None).__getitems__([0])


class TestSubsetsAndSums:
    def test_around(self):
        protected = protect(Named(20))
        part, rest = random_split(protected, [5, 15])
        both = ConcatDataset([part, rest])
        order = [*part.indices, *rest.indices]
        for position, index in enumerate(order):
            assert torch.equal(both[position][0], protected[index][0])
            assert both[position][1] == protected[index][1]
        assert len(protected + protected) == 40

    def test_inside(self):
        expected = protect(Named(20))
        shuffled, _ = random_split(Named(20), [15, 5])
        concatenated = ConcatDataset([Named(20), Named(3)])
        for dataset, indices in ((shuffled, shuffled.indices), (concatenated, [*range(20), *range(3)])):
            protected = protect(dataset)
            for (images, labels), index in zip(DataLoader(protected, batch_size=1), indices, strict=True):
                assert torch.equal(images[0], expected[index][0])
                assert int(labels) == expected[index][1]

    def test_streams(self):
        protected = protect(Stream(4), wrapper=data.ProtectedIterableDataset)
        assert [label for _, label in protected] == [BUNDLE.labels.map(n) for n in range(4)]
        assert not hasattr(protected, "pictures")
