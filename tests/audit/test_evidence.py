import hashlib
import json
import shutil

import PIL.Image
import pytest
import torch
from audit_world import BLOCK, CLASSES, SIZE, World, export, make_key, pictures
from support import Pictures, write_folder

from torchprotect import attacks, audit, data, keys, transforms
from torchprotect.data._encode import encode
from torchprotect.data._tar import TarStream
from torchprotect.errors import (
    BlockSizeError,
    ExportError,
    InputRangeError,
    InputShapeError,
    InputTypeError,
    ProtectError,
    SourceError,
    VerificationError,
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    out = tmp_path_factory.mktemp("audit") / "out"
    return out, export(out)


def undone(evidence, key):
    """Return what the key holder gets back from the disguised images."""
    return transforms.from_key(key, inverse=True)(evidence.disguised)


def test_each_disguised_image_is_paired_with_its_own_plain_one(exported):
    out, key = exported
    evidence = audit.open_evidence(out, World(), key)
    paired = evidence.plain[evidence.pairing]
    assert (undone(evidence, key) - paired).abs().max() < 0.01
    assert torch.equal(evidence.labels, key.labels.map(evidence.plain_labels[evidence.pairing]))
    assert torch.equal(evidence.order, key.permutation.order)
    assert torch.equal(evidence.label_map, key.labels.labels)
    assert evidence.about["key_fingerprint"] == key.fingerprint
    assert evidence.about["hmac_checked"] is True


def test_limit_takes_the_first_ones_as_written(exported):
    out, key = exported
    whole, part = audit.open_evidence(out, World(), key), audit.open_evidence(out, World(), key, limit=130)
    assert torch.equal(part.disguised, whole.disguised[:130])
    assert torch.equal(part.plain, whole.plain[:130])
    with pytest.raises(InputRangeError, match="at least 1"):
        audit.open_evidence(out, limit=0)


def test_skipped_images_do_not_shift_the_pairs(tmp_path):
    source = write_folder(tmp_path / "in", classes=3, each=30, mode="L")
    for place in (4, 17):
        (source / "class1" / f"{place}.png").write_bytes(b"no picture")
    key = make_key("BlockPermute")
    opened = data.open_source(str(source))
    transform = transforms.from_key(key)
    data.export(opened, tmp_path / "out", transform=transform, key=key, shard_size=20, on_error="skip")
    evidence = audit.open_evidence(tmp_path / "out", str(source), key)
    assert len(evidence.disguised) == 88
    assert torch.equal(undone(evidence, key), evidence.plain[evidence.pairing])


def test_without_the_key_there_are_no_pairs(exported):
    evidence = audit.open_evidence(exported[0], World(), limit=100)
    assert evidence.pairing is None
    assert evidence.order is None
    assert evidence.label_map is None
    assert evidence.about["hmac_checked"] is False
    assert evidence.plain.shape == (100, 1, *SIZE)
    assert torch.equal(evidence.plain[10], World().images[24])  # evenly spaced


def test_without_plain_images(exported):
    evidence = audit.open_evidence(exported[0], None, exported[1])
    assert evidence.plain is None
    assert len(evidence.disguised) == 240


def test_a_data_set_that_was_exported_by_index(tmp_path):
    """As of the demo, which exports a subset by index while the command line opens the set by name."""
    folder = tmp_path / "in"
    images, labels = pictures(80)
    for place, label in enumerate(labels.tolist()):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(images[place, 0].numpy()).save(folder / str(label) / f"{place:03d}.png")
    opened = data.open_source(str(folder))
    listed = [(opened[place].image, opened[place].label) for place in range(80)]
    key = export(tmp_path / "out", "BlockPermute", dataset=listed)
    evidence = audit.open_evidence(tmp_path / "out", str(folder), key)
    assert torch.equal(undone(evidence, key), evidence.plain[evidence.pairing])


def test_another_source_is_refused(exported):
    out, key = exported
    with pytest.raises(SourceError, match="holds 100 images, the one that was exported 240"):
        audit.open_evidence(out, World(100), key)
    with pytest.raises(SourceError, match="240 of 240 images have other ids"):
        audit.open_evidence(out, Pictures(240, classes=4), key)
    changed = World()
    changed.images[7] = 0
    with pytest.raises(SourceError, match="1 of 240 images have other ids"):
        audit.open_evidence(out, changed, key)


def test_an_export_that_fails_verification(exported, tmp_path):
    shutil.copytree(exported[0], tmp_path / "out")
    shard = tmp_path / "out" / "shard-000001.tar"
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    with pytest.raises(VerificationError, match="shard-000001.tar was changed"):
        audit.open_evidence(tmp_path / "out", World(), exported[1])
    with pytest.raises(VerificationError, match="was made with key"):
        audit.open_evidence(exported[0], World(), make_key("RMTDisguise"))
    with pytest.raises(ExportError, match="not a finished export"):
        audit.open_evidence(tmp_path, World())


def test_images_of_several_sizes(tmp_path):
    key = keys.CorrespondenceKey.generate(classes=CLASSES)
    model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(16, CLASSES))
    transform = transforms.AdversarialEncrypt(model, key, eps=0.1, step_size=0.1, steps=1, batch_size=4)
    mixed = [(torch.zeros(1, 16 + 4 * (place % 2), 16, dtype=torch.uint8), place % 4) for place in range(24)]
    data.export(mixed, tmp_path / "out", transform=transform, key=key)
    with pytest.raises(ExportError, match="images of one size"):
        audit.open_evidence(tmp_path / "out")


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"png": b"no picture"}, "PNG is cut short"),
        ({"npy": b"\x93NUMPY"}, "npy"),
        ({"pyd": b""}, "is not ID.png, ID.npy or ID.cls"),
        ({"png": next(encode(torch.zeros(1, 1, 16, 16, dtype=torch.uint8))), "cls": b"x1"}, "not a class number"),
    ],
)
def test_shards_that_hold_something_else(exported, tmp_path, members, message):
    with (tmp_path / "shard-000000.tar").open("wb") as file:
        stream = TarStream(file)
        stream.write([(f"{'0' * 32}.{kind}", body) for kind, body in members.items()])
        stream.finish()
    manifest = json.loads((exported[0] / "manifest.json").read_text())
    shard = tmp_path / "shard-000000.tar"
    entry = {
        "name": shard.name,
        "count": 1,
        "size": shard.stat().st_size,
        "sha256": hashlib.sha256(shard.read_bytes()).hexdigest(),
    }
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "images": 1, "shards": [entry]}))
    for name in ("plan.json", "owner.sealed"):
        shutil.copy(exported[0] / name, tmp_path)
    with pytest.raises(VerificationError, match=message):
        audit.open_evidence(tmp_path)


def test_scheme_of_each_disguise(tmp_path):
    for kind in ("BlockPermute", "RMTDisguise", "AESECBDisguise"):
        export(tmp_path / kind, kind)
        scheme = audit.open_evidence(tmp_path / kind).scheme
        assert (scheme.name, scheme.block_size, scheme.permuted) == (kind, BLOCK, True)
    assert scheme.unit_pixels == 16
    key = make_key("RMTDisguise", matrix="gaussian", side="left", channels=1)
    export(tmp_path / "left", "RMTDisguise", keys.KeyBundle(key.transform), noise=30)
    scheme = audit.open_evidence(tmp_path / "left").scheme
    told = scheme.permuted, scheme.side, scheme.matrix, scheme.channels, scheme.noise
    assert told == (False, "left", "gaussian", 1, 30)
    assert "fingerprint" not in json.dumps(scheme.steps)


def test_scheme_of_a_composition():
    blocks = {"image_size": [16, 16], "block_size": [4, 4], "key": "0" * 64}
    steps = [{"name": "SaltAndPepper", "amount": 0.02}, {"name": "RMTDisguise", **blocks}]
    assert attacks.Scheme.of(steps).other == ()
    scheme = attacks.Scheme.of([*steps, {"name": "BlockPermute", **blocks}])
    assert (scheme.name, scheme.other, scheme.preserved) == ("BlockPermute", ("RMTDisguise",), None)
    with pytest.raises(InputTypeError, match="does not tell the sizes"):
        attacks.Scheme.of([{"name": "RMTDisguise", "key": ""}])
    for broken in ([], [{"name": "Resize()"}]):
        with pytest.raises(InputTypeError, match="no keyed disguise"):
            attacks.Scheme.of(broken)
    for broken in (
        None,
        {},
        ["x"],
        [{"key": ""}],
        [steps[0], {**steps[1], "block_size": [4]}],
        [{**steps[1], "block_size": 4}],
    ):
        with pytest.raises(ProtectError, match="must be a list of named steps|block_size must be a pair"):
            attacks.Scheme.of(broken)
    with pytest.raises(BlockSizeError):
        attacks.Scheme("RMTDisguise")


def test_evidence_that_cannot_be():
    scheme, images = attacks.Scheme("BlockPermute", block_size=(4, 4)), torch.zeros(30, 1, 8, 8)
    some = torch.arange(30)
    with pytest.raises(InputRangeError, match="at least 20"):
        audit.Evidence(images[:19], scheme)
    with pytest.raises(InputShapeError, match="labels must be int64"):
        audit.Evidence(images, scheme, labels=some[:29])
    with pytest.raises(InputShapeError, match="without plain images"):
        audit.Evidence(images, scheme, pairing=some)
    with pytest.raises(InputShapeError, match="outside the 29 plain"):
        audit.Evidence(images, scheme, plain=images[:29], pairing=some)
    assert audit.Evidence(images, scheme, plain=images).duplicates == 29
    assert audit.Evidence(images, scheme).duplicates == 0
    assert "not paired" in repr(audit.Evidence(images, scheme, plain=images))


def test_scheme_of_a_scrambling_has_no_blocks():
    scheme = attacks.Scheme.of([{"name": "OWSDScramble", "key": "0" * 64, "image_size": [32, 32]}])
    assert (scheme.name, scheme.block_size, scheme.preserved, scheme.permuted) == ("OWSDScramble", None, None, False)
