"""A subset of a source keeps what the source knows of its samples."""

import pickle

import pytest
import torch
from support import make_bundle, run_export, write_folder
from torch.utils.data import Subset, TensorDataset

from torchprotect import data, transforms
from torchprotect.data.finished import open_finished, owner_of
from torchprotect.data.owner import Original
from torchprotect.data.sources import as_source
from torchprotect.errors import ExportError, KeySizeError, SourceError

PLACES = [7, 2, 9]
NAMES = ["class1/3.png", "class0/2.png", "class2/1.png"]


@pytest.fixture
def whole(tmp_path):
    return data.open_source(write_folder(tmp_path / "plain"))


@pytest.fixture
def part(whole):
    return as_source(Subset(whole, PLACES))


def test_samples_names_and_labels(whole, part):
    assert len(part) == 3
    assert [part.name(n) for n in range(3)] == NAMES
    assert part.locate(1) == str(whole.root / NAMES[1])
    assert part.known_labels() == [1, 0, 2]
    assert part.class_names == whole.class_names
    for copy in (part, pickle.loads(pickle.dumps(part))):  # noqa: S301
        for index, (image, label) in enumerate(copy.read([0, 1, 2])):
            assert torch.equal(image, whole[PLACES[index]].image)
            assert label == whole[PLACES[index]].label
    assert part.header(0).shape == whole.header(7).shape
    assert list(part.digests()) == [list(whole.digests())[place] for place in PLACES]


def test_subsets_of_subsets_and_other_indices(whole):
    nested = Subset(Subset(Subset(whole, range(1, 12)), torch.tensor([6, 1, 8])), [-1, 0])
    assert [as_source(nested).name(n) for n in range(2)] == [NAMES[2], NAMES[0]]


def test_an_index_that_the_source_does_not_have(whole):
    with pytest.raises(SourceError, match="the subset has the index 12, but the source has 12 samples"):
        as_source(Subset(whole, [3, 12]))


def test_other_subsets_are_read_as_data_sets(whole):
    class Brighter(Subset):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return image // 2 + 128, label

        def __getitems__(self, indices):
            return [self[index] for index in indices]

    brighter = as_source(Brighter(whole, PLACES))
    assert int(brighter[0].image.min()) >= 128
    assert not hasattr(brighter, "header")
    pixels = TensorDataset(torch.zeros(5, 3, 16, 16, dtype=torch.uint8), torch.arange(5))
    assert as_source(Subset(pixels, [4, 1]))[0].label == 4


def test_what_the_source_cannot_do_the_subset_cannot(whole):
    class Bare(list):
        folders, left_out = (), {}
        listing = content = name = locate = None

    bare = as_source(Subset(Bare([1, 2]), [1]))
    for name in ("header", "digests", "known_labels"):
        assert hasattr(as_source(Subset(whole, PLACES)), name)
        assert not hasattr(bare, name)


def test_restored_pictures_have_their_names(tmp_path, whole):
    key = make_bundle("aes")
    run_export(tmp_path / "out", key, Subset(whole, PLACES), transforms.from_key(key))
    originals = owner_of(open_finished(tmp_path / "out"), key).originals.values()
    assert sorted(originals) == [Original(n, name) for n, name in enumerate(NAMES)]
    data.restore(tmp_path / "out", tmp_path / "restored", key=key)
    found = {path.relative_to(tmp_path / "restored").as_posix() for path in (tmp_path / "restored").rglob("*.png")}
    assert found == set(NAMES)


def test_a_source_is_not_overwritten_by_an_export_of_its_subset(whole):
    with pytest.raises(ExportError, match="the source"):
        run_export(whole.root / "out", make_bundle(), Subset(whole, PLACES))
    assert not (whole.root / "out").exists()


def test_sizes_are_checked_before_anything_is_written(tmp_path, whole):
    with pytest.raises(KeySizeError):
        run_export(tmp_path / "out", make_bundle(size=(32, 32)), Subset(whole, PLACES))


def test_files_in_two_splits_are_found(tmp_path, whole):
    key = make_bundle()
    (whole.root / "class1" / "3.png").write_bytes((whole.root / "class0" / "0.png").read_bytes())
    parts = {"train": Subset(whole, [0, 1, 3]), "val": Subset(whole, PLACES)}
    with pytest.raises(SourceError, match=r"1 image is in both train and val, such as .*class0/0.png and .*1/3.png"):
        data.export_splits(parts, tmp_path / "out", transform=transforms.from_key(key), key=key)


def test_an_interrupted_export_goes_on_only_with_the_same_samples(tmp_path, whole):
    key = make_bundle()
    run_export(tmp_path / "out", key, Subset(whole, PLACES))
    with pytest.raises(ExportError, match="source"):
        run_export(tmp_path / "out", key, Subset(whole, [7, 2, 8]))
