import json
import re
import shutil
from pathlib import Path

import fsspec
import pytest
from support import SHARED_AES, make_bundle, run_export

from torchprotect import data
from torchprotect.data.indexes import write_indexes
from torchprotect.errors import ExportError, StoreError, VerificationError

MAKERS = [data.wids_index, data.croissant_metadata]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    out = tmp_path_factory.mktemp("indexes") / "out"
    run_export(out)
    return out


@pytest.fixture
def copy(out, tmp_path):
    return shutil.copytree(out, tmp_path / "out")


def test_wids_index(out):
    manifest = json.loads((out / "manifest.json").read_bytes())
    index = data.wids_index(out)
    assert index["wids_version"] == 1
    assert [each["url"] for each in index["shardlist"]] == [str(path) for path in sorted(out.glob("*.tar"))]
    assert [each["nsamples"] for each in index["shardlist"]] == [7, 7, 6]
    assert [each["filesize"] for each in index["shardlist"]] == [each["size"] for each in manifest["shards"]]


def test_croissant_metadata(out):
    manifest = json.loads((out / "manifest.json").read_bytes())
    document = data.croissant_metadata(out)
    shards = [each for each in document["distribution"] if each["@type"] == "cr:FileObject"]
    assert [each["sha256"] for each in shards] == [each["sha256"] for each in manifest["shards"]]
    assert [each["contentSize"] for each in shards] == [f"{each['size']} B" for each in manifest["shards"]]
    assert document["name"] == "out"
    for words in ("20 images", "AESECBDisguise", "obfuscation, not cryptographic confidentiality"):
        assert words in document["description"]
    assert [each["@id"] for each in document["recordSet"]] == ["images", "samples"]


def test_croissant_contains_no_fingerprint(out):
    document = data.croissant_metadata(out)
    hashes = {each["sha256"] for each in document["distribution"] if "sha256" in each}
    assert set(re.findall(r"\b[0-9a-f]{64}\b", json.dumps(document))) == hashes
    assert SHARED_AES.fingerprint not in hashes


def test_paths_are_absolute(out, monkeypatch):
    monkeypatch.chdir(out)
    assert data.wids_index(".") == data.wids_index(f"file://{out}") == data.wids_index(out)
    assert data.croissant_metadata(".") == data.croissant_metadata(out)


def test_urls_stay_urls(out):
    fsspec.filesystem("memory").put(str(out), "/indexed/out", recursive=True)
    url = "memory://indexed/out"
    assert data.wids_index(url)["shardlist"][0]["url"] == f"{url}/shard-000000.tar"
    document = data.croissant_metadata(f"{url}/")
    assert document["distribution"][0]["contentUrl"] == f"{url}/shard-000000.tar"
    assert document["name"] == "out"


def change(copy, **members):
    manifest = json.loads((copy / "manifest.json").read_bytes())
    (copy / "manifest.json").write_text(json.dumps(manifest | members))


@pytest.mark.parametrize("make", MAKERS)
def test_shards_without_samples_are_left_out(copy, make):
    entries = json.loads((copy / "manifest.json").read_bytes())["shards"]
    change(copy, shards=[entries[0] | {"count": 0}, *entries[1:]])
    assert "shard-000000.tar" not in json.dumps(make(copy))
    change(copy, shards=[each | {"count": 0} for each in entries])
    with pytest.raises(ExportError, match="holds no images"):
        make(copy)


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_no_export_is_refused(tmp_path, make):
    with pytest.raises(ExportError, match="not a finished export"):
        make(tmp_path)
    with pytest.raises(StoreError, match="credentials"):
        make("s3://user:word@bucket/out")


def test_the_description_says_that_a_perturbation_hides_nothing(copy):
    change(copy, distance={"max": 1.0, "mean": 1.0})
    assert "hides nothing" in data.croissant_metadata(copy)["description"]


def test_a_damaged_beginning_is_noticed(copy):
    (copy / "shard-000000.tar").write_bytes(bytes(10_240))
    with pytest.raises(VerificationError, match="does not begin with an image"):
        data.croissant_metadata(copy)


def test_arrays_are_described_as_what_they_are(tmp_path):
    run_export(tmp_path / "out", make_bundle("rmt"))
    (files,) = (
        each for each in data.croissant_metadata(tmp_path / "out")["distribution"] if each["@id"] == "image-files"
    )
    assert files["includes"] == "*.npy"


def test_indexes_are_never_written_into_the_export_or_over_a_file(copy, tmp_path):
    (tmp_path / "link").symlink_to(copy)
    (copy / "sub").mkdir()
    for path in (copy / "a.json", copy / "sub" / "a.json", tmp_path / "link" / "a.json"):
        with pytest.raises(ExportError, match="lies inside the export"):
            write_indexes([(tmp_path / "b.json", {}), (path, {})], export=copy)
    with pytest.raises(ExportError, match="s3://bucket/a.json is a URL"):
        write_indexes([(Path("s3://bucket/a.json"), {})], export=copy)
    assert not (tmp_path / "b.json").exists()
    write_indexes([(tmp_path / "b.json", {"a": "\udcff"})], export=copy)
    assert json.loads((tmp_path / "b.json").read_text()) == {"a": "\udcff"}
    with pytest.raises(FileExistsError, match="never overwritten"):
        write_indexes([(tmp_path / "b.json", {})], export=copy)
