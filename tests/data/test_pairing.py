"""All images of an export, and the plain image of each."""

import pytest
import torch
from support import Pictures, make_bundle, run_export

from torchprotect import data, transforms
from torchprotect.data import manifest as documents
from torchprotect.data.images import read_images
from torchprotect.data.pairing import find_plain_images
from torchprotect.data.sources import as_source
from torchprotect.data.store import open_store
from torchprotect.errors import SourceError

BUNDLE = make_bundle()


def read(folder, limit=1000):
    store = open_store(folder)
    return read_images(store, documents.read_manifest(store), limit)


@pytest.fixture
def folder(tmp_path):
    run_export(tmp_path / "export", BUNDLE)
    return tmp_path / "export"


@pytest.mark.parametrize(("limit", "per_shard"), [(1000, [7, 7, 6]), (14, [7, 7]), (9, [7, 2]), (1, [1])])
def test_the_first_images_in_the_order_of_the_shards(folder, limit, per_shard):
    exported = read(folder, limit)
    assert exported.per_shard == per_shard
    assert len(exported.ids) == len(exported.images) == sum(per_shard)
    assert exported.labels.tolist() == [label for _, label in data.read(folder)][: sum(per_shard)]


def test_each_exported_image_is_the_disguise_of_its_plain_image(folder):
    exported = read(folder, 9)
    plain = find_plain_images(open_store(folder), as_source(Pictures(20)), BUNDLE, exported)
    assert torch.equal(transforms.from_key(BUNDLE)(plain.images), exported.images)
    assert torch.equal(BUNDLE.labels.map(plain.labels), exported.labels)


def test_sources_of_another_length_are_refused(folder):
    with pytest.raises(SourceError, match="holds 19 images, the one that was exported 20"):
        find_plain_images(open_store(folder), as_source(Pictures(19)), BUNDLE, read(folder))


def test_another_key_finds_nothing(folder):
    with pytest.raises(SourceError, match="20 of 20 images have other ids"):
        find_plain_images(open_store(folder), as_source(Pictures(20)), make_bundle(), read(folder))
