"""Train, validation and test sets under one key."""

import json
import shutil

import pytest
import torch
from support import SHARED_AES, content, make_bundle, run_export, write_folder, write_tar

from torchprotect import data, keys, transforms
from torchprotect.data.keyed import keyed_order
from torchprotect.errors import ExportError, InputRangeError, KeyKindError, SourceError, VerificationError


@pytest.fixture
def parts(tmp_path):
    """Two image folders with the same classes and different pictures."""
    return {
        name: write_folder(tmp_path / f"photos-{name}", classes=3, each=each, seed=seed)
        for name, each, seed in (("train", 5, 0), ("val", 3, 5000))
    }


def opened(parts):
    return {name: data.open_source(path) for name, path in parts.items()}


def export_all(parts, out, key=SHARED_AES, **options):
    return data.export_splits(
        opened(parts), out, transform=transforms.from_key(key), key=key, **{"shard_size": 4, **options}
    )


def manifest_of(out):
    return json.loads((out / "manifest.json").read_text())


class TestOneKey:
    def test_the_disguise_is_the_same(self, tmp_path, parts):
        export_all(parts, tmp_path / "out")
        inverse = transforms.from_key(SHARED_AES, inverse=True)
        for name, root in parts.items():
            plain = {sample.image.numpy().tobytes() for sample in map(data.open_source(root).__getitem__, range(9))}
            found = {inverse(image).numpy().tobytes() for image, _ in data.read(tmp_path / "out" / name)}
            assert plain <= found

    def test_order_ids_and_noise_are_not(self, tmp_path, parts):
        key = make_bundle("rmt")
        source = data.open_source(parts["train"])
        found = {}
        for split in (None, "train", "val"):
            out = tmp_path / str(split)
            run_export(out, key, source, transforms.from_key(key, noise=50.0), split=split, shard_size=100)
            samples = list(data._stored.read_shard(data.store.open_store(out), manifest_of(out)["shards"][0], None))
            found[split] = {sample.id: sample.image for sample in samples}
        ids = [set(samples) for samples in found.values()]
        assert len(set.union(*ids)) == 3 * 15
        orders = [keyed_order(key.subkey("order", split), 15).tolist() for split in (None, "train", "val")]
        assert len({tuple(order) for order in orders}) == 3
        images = {
            split: dict(zip(order, samples.values(), strict=True))
            for (split, samples), order in zip(found.items(), orders, strict=True)
        }
        undo = transforms.from_key(key, inverse=True)
        noises = [undo(images[split][0]) - source[0].image for split in (None, "train", "val")]
        for first, second in ((0, 1), (1, 2), (0, 2)):
            correlation = torch.corrcoef(torch.stack([noises[first].flatten(), noises[second].flatten()]))[0, 1]
            assert abs(correlation) < 0.15
            assert (noises[first] - noises[second]).abs().mean() > 10

    def test_plan_and_manifest_name_it(self, tmp_path, parts):
        export_all(parts, tmp_path / "out")
        for name in parts:
            assert manifest_of(tmp_path / "out" / name)["split"] == name
            assert json.loads((tmp_path / "out" / name / "plan.json").read_text())["split"] == name

    def test_together_or_one_by_one(self, tmp_path, parts):
        export_all(parts, tmp_path / "out")
        for name, source in opened(parts).items():
            run_export(tmp_path / name, dataset=source, split=name, shard_size=4)
            assert content(tmp_path / name) == content(tmp_path / "out" / name)

    def test_the_way_back(self, tmp_path, parts):
        export_all(parts, tmp_path / "out")
        for name in parts:
            result = data.restore(tmp_path / "out" / name, tmp_path / name, key=SHARED_AES)
            assert result.exact == result.images


class TestSharedChecks:
    def test_an_image_in_two_splits(self, tmp_path, parts):
        for number in range(2):
            shutil.copy(parts["train"] / "class0" / f"{number}.png", parts["val"] / "class2" / f"copy{number}.png")
        message = r"2 images are in both train and val, such as .*train/class0/0\.png and .*val/class2/copy0\.png"
        with pytest.raises(SourceError, match=message):
            export_all(parts, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_an_image_in_two_data_sets_in_python(self, tmp_path):
        images = [(torch.full((1, 16, 16), n).byte(), 0) for n in range(6)]
        with pytest.raises(SourceError, match="1 image is in both a and b, such as 3 and 0"):
            data.export_splits(
                {"a": images[:4], "b": images[3:]}, tmp_path / "out", transform=transforms.from_key(SHARED_AES)
            )

    def test_a_source_behind_a_url_is_compared_by_pixels(self, tmp_path, parts):
        import fsspec

        memory = fsspec.filesystem("memory")
        memory.put(str(parts["train"]), "/splits/train", recursive=True)
        sources = {"a": data.open_source(parts["train"]), "b": data.open_source("memory://splits/train")}
        with pytest.raises(SourceError, match="15 images are in both a and b"):
            data.export_splits(sources, tmp_path / "out", transform=transforms.from_key(SHARED_AES))
        memory.rm("/splits", recursive=True)

    def test_of_different_shapes(self, tmp_path, parts):
        parts["val"] = write_folder(tmp_path / "grey", mode="L", seed=9000)
        with pytest.raises(SourceError, match="shape: train has 3 x 16 x 16, val 1 x 16 x 16"):
            export_all(parts, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("texts", "message"),
        [
            (("1\n2", "1"), "labels: train has several an image, val one an image"),
            (("cat", "1"), "class names: train has yes, val no"),
        ],
    )
    def test_of_labels_of_different_kinds(self, tmp_path, parts, texts, message):
        for root, text in zip(parts.values(), texts, strict=True):
            for path in root.rglob("*.png"):
                path.with_suffix(".txt").write_text(text)
        sources = {name: data.open_source(root, labels_from="txt") for name, root in parts.items()}
        key = SHARED_AES.transform
        with pytest.raises(SourceError, match=message):
            data.export_splits(sources, tmp_path / "out", transform=transforms.from_key(key), key=key)

    def test_splits_of_which_one_has_no_labels(self, tmp_path, parts):
        key = SHARED_AES.transform
        sources = {**opened(parts), "val": data.open_source(parts["val"], labels_from="none")}
        with pytest.raises(SourceError, match="labels: train has one an image, val none"):
            data.export_splits(sources, tmp_path / "out", transform=transforms.from_key(key), key=key)

    def test_tars(self, tmp_path):
        from support import make_image, png

        made = [png(make_image(1, 16, 16, seed=n)) for n in range(4)]
        for name, numbers in (("a", (0, 1, 2)), ("b", (2, 3))):
            members = {f"{name}{n}.{kind}": body for n in numbers for kind, body in (("png", made[n]), ("cls", b"1"))}
            write_tar(tmp_path / f"{name}.tar", members)
        sources = {name: data.open_source(str(tmp_path / f"{name}.tar")) for name in "ab"}
        with pytest.raises(SourceError, match=r"1 image is in both a and b, such as a2 in .*a\.tar and b2 in .*b\.tar"):
            data.export_splits(sources, tmp_path / "out", transform=transforms.from_key(SHARED_AES))

    def test_all_are_looked_at_before_the_first_shard(self, tmp_path, parts):
        import PIL.Image

        PIL.Image.new("RGB", (17, 16)).save(parts["val"] / "class1" / "odd.png")
        with pytest.raises(ValueError, match=r"class1/odd\.png"):
            export_all(parts, tmp_path / "out")
        assert not list((tmp_path).rglob("out/**/*.tar"))

    @pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a\\b"])
    def test_names_that_are_no_folders(self, tmp_path, parts, name):
        with pytest.raises(InputRangeError, match="the name of a split is also that of its folder"):
            export_all({name: parts["train"]}, tmp_path / "out")

    @pytest.mark.parametrize("split", ["", "x" * 101, "a\nb", 3])
    def test_names_that_cannot_be_written(self, tmp_path, split):
        with pytest.raises(InputRangeError, match="split must be a name of 1 to 100 printable characters"):
            run_export(tmp_path / "out", split=split)

    def test_progress_and_notes(self, tmp_path, parts):
        done, notes = [], []
        export_all(parts, tmp_path / "out", progress=lambda *each: done.append(each), notify=notes.append)
        assert done[0] == (0, 24)
        assert done[-1] == (24, 24)
        assert [each for each, _ in done] == sorted(each for each, _ in done)
        assert {note.partition(":")[0] for note in notes} == {"train", "val"}


class TestClasses:
    def test_they_are_numbered_over_all_splits(self, tmp_path, parts):
        shutil.rmtree(parts["val"] / "class0")
        (parts["train"] / "class1").rename(parts["train"] / "another")
        export_all(parts, tmp_path / "out")
        for name in parts:
            owner = data.read_owner(tmp_path / "out" / name, key=SHARED_AES)
            assert owner.class_names == ("another", "class0", "class1", "class2")
            data.restore(tmp_path / "out" / name, tmp_path / name, key=SHARED_AES)
            assert content(tmp_path / name).keys() == content(parts[name]).keys()
        unmap = SHARED_AES.labels.unmap
        assert {unmap(label) for _, label in data.read(tmp_path / "out" / "val")} == {2, 3}

    def test_other_numbers_are_noticed_with_the_key(self, tmp_path, parts):
        shutil.rmtree(parts["val"] / "class0")
        for name, source in opened(parts).items():
            run_export(tmp_path / name, dataset=source, split=name)
        both = [tmp_path / name for name in parts]
        assert data.verify(both).images == 21
        with pytest.raises(ExportError, match="class 0 is class0 in .*train, but class1 in .*val: export one of them"):
            data.verify(both, SHARED_AES)

    def test_given_names_must_be_equal(self, tmp_path, parts):
        names = {"train": ["class2", "class1", "class0"], "val": ["class0", "class1", "class2"]}
        sources = {name: data.open_source(parts[name], class_names=names[name]) for name in parts}
        with pytest.raises(SourceError, match="different classes, and those of train are not in sorted order"):
            data.export_splits(sources, tmp_path / "out", transform=transforms.from_key(SHARED_AES))


class TestLabelsOfAllSplits:
    @pytest.mark.parametrize("texts", [("0\n9", "0\n3"), ("1\n2", "1"), ("unknown", "1")])
    def test_they_are_numbered_together(self, tmp_path, parts, texts):
        for root, text in zip(parts.values(), texts, strict=True):
            for path in root.rglob("*.png"):
                path.with_suffix(".txt").write_text(text)
        key = SHARED_AES.transform
        sources = data.open_sources(parts, labels_from="txt")
        data.export_splits(sources, tmp_path / "out", transform=transforms.from_key(key), key=key)
        both = [tmp_path / "out" / name for name in parts]
        assert data.verify(both, key).images == sum(1 for _ in data.read(both)) == 24

    def test_another_split_does_not_change_the_numbers_of_a_finished_one(self, tmp_path, parts):
        export_all({"train": parts["train"]}, tmp_path / "out", shard_size=1)
        before = content(tmp_path / "out")
        (parts["val"] / "class0").rename(parts["val"] / "another")
        with pytest.raises(
            ExportError, match="the classes of the source are not those of the finished export: class0, "
        ):
            export_all(parts, tmp_path / "out", shard_size=1)
        assert content(tmp_path / "out").items() >= before.items()

    def test_other_labels_do_not_pass_as_a_finished_export(self, tmp_path, parts):
        names = sorted(str(path.relative_to(parts["val"])) for path in parts["val"].rglob("*.png"))

        def source(labels):
            rows = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
            (tmp_path / "l.csv").write_text("file_name,label\n" + "\n".join(rows))
            return data.open_source(parts["val"], labels_from=tmp_path / "l.csv")

        run_export(tmp_path / "out", dataset=source("ababababa"), shard_size=1)
        with pytest.raises(ExportError, match="the labels of the source are not those of the finished export"):
            run_export(tmp_path / "out", dataset=source("ababababb"), shard_size=1)
        run_export(tmp_path / "out", dataset=source("ababababa"), shard_size=1)


class TestOneTableOfLabels:
    def test_with_a_name_that_two_splits_have(self, tmp_path, parts):
        (tmp_path / "l.csv").write_text("file_name,label\nclass0/0.png,a\n")
        with pytest.raises(SourceError, match="labels 'class0/0.png', a name that several samples of .* have"):
            data.open_sources(parts, labels_from=tmp_path / "l.csv")

    def test_for_all_splits(self, tmp_path, parts):
        names = {name: sorted(str(p.relative_to(root)) for p in root.rglob("*.png")) for name, root in parts.items()}
        for name, root in parts.items():
            for number, file in enumerate(names[name]):
                (root / file).rename(root / f"{name}{number}.png")
        rows = [f"{name}{number}.png,{'ab'[number % 2]}" for name in parts for number in range(len(names[name]))]
        (tmp_path / "l.csv").write_text("file_name,label\n" + "\n".join(rows))
        sources = data.open_sources(parts, labels_from=tmp_path / "l.csv")
        results = data.export_splits(sources, tmp_path / "out", transform=transforms.from_key(SHARED_AES))
        assert {name: result.class_counts for name, result in results.items()} == {
            "train": {"a": 8, "b": 7},
            "val": {"a": 5, "b": 4},
        }

    def test_that_names_what_is_in_none(self, tmp_path, parts):
        (tmp_path / "l.csv").write_text("file_name,label\nclass0/4.png,a\nelsewhere.png,b")
        with pytest.raises(SourceError, match=r"names 1 sample not in .*photos-val, such as 'elsewhere\.png'"):
            data.open_sources(parts, labels_from=tmp_path / "l.csv")


class TestSeveralExports:
    @pytest.fixture
    def both(self, tmp_path, parts):
        export_all(parts, tmp_path / "out")
        return [tmp_path / "out" / "train", tmp_path / "out" / "val"]

    def test_read(self, both):
        one_by_one = [image for out in both for image, _ in data.read(out)]
        together = [image for image, _ in data.read(both)]
        assert len(together) == 24
        assert all(torch.equal(a, b) for a, b in zip(one_by_one, together, strict=True))

    def test_read_in_workers(self, both):
        loader = torch.utils.data.DataLoader(data.read(both), batch_size=None, num_workers=2)
        assert sum(1 for _ in loader) == 24

    def test_verify(self, both):
        result = data.verify(both, SHARED_AES)
        assert (result.images, result.shards, result.proofs) == (24, 7, ("hmac",))
        assert result.location == f"{both[0]}, {both[1]}"
        (both[1] / "shard-000000.tar").write_bytes(b"")
        with pytest.raises(
            VerificationError, match=r"val is not what its manifest says: shard-000000\.tar was changed"
        ):
            data.verify(both)

    def test_of_different_keys(self, tmp_path, both, parts):
        other = make_bundle()
        run_export(tmp_path / "other", other, data.open_source(parts["val"]), split="test")
        for use in (data.read, data.verify):
            with pytest.raises(ExportError, match="do not go together: they differ in key, transform"):
                use([both[0], tmp_path / "other"])

    def test_of_the_same_split(self, tmp_path, both, parts):
        run_export(tmp_path / "more", dataset=data.open_source(parts["val"]), split="train")
        with pytest.raises(ExportError, match="are both split 'train': order, ids and noise of both"):
            data.verify([both[0], tmp_path / "more"])
        assert sum(1 for _ in data.read([both[0], tmp_path / "more"])) == 24

    def test_without_splits(self, tmp_path, parts):
        for name, source in opened(parts).items():
            run_export(tmp_path / name, dataset=source)
        with pytest.raises(ExportError, match="have no split name"):
            data.verify([tmp_path / "train", tmp_path / "val"])

    def test_none_or_one_twice(self, both):
        with pytest.raises(InputRangeError, match="at least one export is needed"):
            data.read([])
        (both[0].parent / "link").symlink_to(both[0])
        for again in (both[0], f"{both[0]}/", f"{both[0].parent}/./train", both[0].parent / "link"):
            with pytest.raises(InputRangeError, match="is given twice"):
                data.read([both[0], again])
        with pytest.raises(InputRangeError, match="expect is the digest of one manifest"):
            data.read(both, expect="0" * 64)
        with pytest.raises(InputRangeError, match="expect is the digest of one manifest"):
            data.verify(both, expect="0" * 64)


class TestRekey:
    @pytest.mark.parametrize("kind", ["permutation", "aes", "rmt"])
    def test_equals_an_export_under_the_new_key(self, tmp_path, parts, kind):
        old, new = make_bundle(kind), make_bundle(kind)
        options = {"noise": 40.0} if kind == "rmt" else {}
        settings = {"prepare": data.Preparation(mode="rgb", resize=16), "split": "train", "shard_size": 4}
        source = data.open_source(parts["train"])
        run_export(tmp_path / "old", old, source, transforms.from_key(old, **options), **settings)
        run_export(tmp_path / "wanted", new, source, transforms.from_key(new, **options), **settings)
        result = data.rekey(tmp_path / "old", tmp_path / "new", key=old, new_key=new)
        assert result.images == 15
        assert content(tmp_path / "new") == content(tmp_path / "wanted")
        data.rekey(tmp_path / "old", tmp_path / "workers", key=old, new_key=new, workers=2)
        assert content(tmp_path / "workers") == content(tmp_path / "wanted")

    def test_tars(self, tmp_path):
        from support import make_image, png

        members = {
            f"{n}.{kind}": body
            for n in range(6)
            for kind, body in (("png", png(make_image(3, 16, 16, seed=n))), ("cls", b"4"))
        }
        source, old, new = data.open_source(str(write_tar(tmp_path / "x.tar", members))), SHARED_AES, make_bundle()
        run_export(tmp_path / "old", old, source)
        run_export(tmp_path / "wanted", new, source)
        data.rekey(tmp_path / "old", tmp_path / "new", key=old, new_key=new)
        assert content(tmp_path / "new") == content(tmp_path / "wanted")

    @pytest.mark.parametrize("kind", ["aes", "rmt"])
    def test_shared_secrets_stay_shared(self, tmp_path, parts, kind):
        old, new, own = (make_bundle(kind, shared=shared) for shared in (True, True, False))
        source = data.open_source(parts["train"])
        run_export(tmp_path / "old", old, source)
        run_export(tmp_path / "wanted", new, source)
        data.rekey(tmp_path / "old", tmp_path / "new", key=old, new_key=new)
        assert content(tmp_path / "new") == content(tmp_path / "wanted")
        assert manifest_of(tmp_path / "new")["transform"][0]["shared"] is True
        with pytest.raises(KeyKindError, match=r"make the new one with shared=True \(--shared\)"):
            data.rekey(tmp_path / "old", tmp_path / "other", key=old, new_key=own)
        run_export(tmp_path / "own", own, source)
        assert "shared" not in manifest_of(tmp_path / "own")["transform"][0]
        with pytest.raises(KeyKindError, match="secrets of their own under the key of the export"):
            data.rekey(tmp_path / "own", tmp_path / "other", key=own, new_key=new)
        whole = make_bundle(kind, block=(16, 16))  # a single block has nothing to share
        assert data.rekey(tmp_path / "old", tmp_path / "whole", key=old, new_key=whole).images == 15

    def test_without_an_owners_file(self, tmp_path, parts):
        new = make_bundle()
        run_export(tmp_path / "old", dataset=data.open_source(parts["train"]), owner_file=False)
        data.rekey(tmp_path / "old", tmp_path / "new", key=SHARED_AES, new_key=new)
        assert "owner.sealed" not in content(tmp_path / "new")
        plain = {image.numpy().tobytes() for image in restored(tmp_path / "new", new, tmp_path / "back")}
        source = data.open_source(parts["train"])
        assert plain == {source[n].image.numpy().tobytes() for n in range(15)}

    def test_stores_as_before(self, tmp_path, parts):
        old, new = (keys.RMTKey.generate(image_size=(16, 16), block_size=(4, 4)) for _ in range(2))
        source = data.open_source(parts["train"])
        run_export(tmp_path / "old", old, source, store="float16")
        data.rekey(tmp_path / "old", tmp_path / "new", key=old, new_key=new)
        assert manifest_of(tmp_path / "new")["store"] == "float16"
        assert data.restore(tmp_path / "new", tmp_path / "back", key=new).exact == 15

    def test_pixels_that_are_lost(self, tmp_path, parts):
        from torchvision.transforms import v2

        transform = v2.Compose([transforms.SaltAndPepper(0.2), transforms.from_key(SHARED_AES)])
        run_export(tmp_path / "old", dataset=data.open_source(parts["train"]), transform=transform)
        with pytest.raises(SourceError, match="cannot be restored exactly: salt and pepper"):
            data.rekey(tmp_path / "old", tmp_path / "new", key=SHARED_AES, new_key=make_bundle())

    def test_pixels_that_are_lost_and_not_named(self, tmp_path, parts):
        from torchvision.transforms import v2

        transform = v2.Compose([transforms.SaltAndPepper(0.2), transforms.from_key(SHARED_AES)])
        run_export(tmp_path / "old", dataset=data.open_source(parts["train"]), transform=transform, owner_file=False)
        with pytest.raises(SourceError, match="without an owner's file it is unknown which"):
            data.rekey(tmp_path / "old", tmp_path / "new", key=SHARED_AES, new_key=make_bundle())

    def test_a_sealed_export_stays_sealed(self, tmp_path, parts):
        pytest.importorskip("pyrage")
        from torchprotect.envelope import generate_identity
        from torchprotect.errors import EnvelopeError

        recipient, new = generate_identity(tmp_path / "alice"), make_bundle()
        run_export(tmp_path / "old", dataset=data.open_source(parts["train"]), recipients=[recipient])
        with pytest.raises(EnvelopeError, match="is sealed: give recipients for the new export too"):
            data.rekey(tmp_path / "old", tmp_path / "new", key=SHARED_AES, new_key=new)
        data.rekey(tmp_path / "old", tmp_path / "new", key=SHARED_AES, new_key=new, recipients=[recipient])
        assert "owner.sealed.sealed" in content(tmp_path / "new")
        assert data.restore(tmp_path / "new", tmp_path / "back", key=new).exact == 15

    def test_keys_that_do_not_go_together(self, tmp_path, parts):
        run_export(tmp_path / "old", dataset=data.open_source(parts["train"]))
        for new, message in (
            (SHARED_AES, "key and new_key are the same"),
            (
                make_bundle("rmt"),
                "a key of aes-ecb with a block order and a label map cannot be replaced by one of rmt",
            ),
            (SHARED_AES.transform, "cannot be replaced by one of aes-ecb:"),
            ("my.key", "must be keys"),
        ):
            with pytest.raises(TypeError, match=message):
                data.rekey(tmp_path / "old", tmp_path / "new", key=SHARED_AES, new_key=new)

    def test_a_damaged_export(self, tmp_path, parts):
        run_export(tmp_path / "old", dataset=data.open_source(parts["train"]))
        path = tmp_path / "old" / "shard-000001.tar"
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(VerificationError, match=r"shard-000001\.tar was changed"):
            data.rekey(tmp_path / "old", tmp_path / "new", key=SHARED_AES, new_key=make_bundle())


def restored(export, key, folder):
    import PIL.Image
    from torchvision.transforms.v2.functional import pil_to_tensor

    data.restore(export, folder, key=key)
    return [pil_to_tensor(PIL.Image.open(path)) for path in folder.rglob("*.png")]


class TestSharedSecrets:
    @pytest.mark.parametrize("kind", ["aes", "rmt"])
    def test_the_way_back_and_the_same_disguise_again(self, tmp_path, kind):
        photos, key = write_folder(tmp_path / "photos"), make_bundle(kind, shared=True)
        run_export(tmp_path / "out", key, data.open_source(photos))
        assert data.verify(tmp_path / "out", key).images == 12
        assert data.restore(tmp_path / "out", tmp_path / "back", key=key).exact == 12
        disguise = data.Disguiser(tmp_path / "out", key=key)
        exported = {image.numpy().tobytes() for image, _ in data.read(tmp_path / "out")}
        assert {disguise(path).numpy().tobytes() for path in photos.rglob("*.png")} == exported


class TestDisguiser:
    def test_as_the_export_holds_it(self, tmp_path):
        photos = write_folder(tmp_path / "photos", size=(20, 30))
        preparation = data.Preparation(mode="grey", resize=(16, 16))
        run_export(tmp_path / "out", dataset=data.open_source(photos), prepare=preparation)
        disguiser = data.Disguiser(tmp_path / "out", key=SHARED_AES)
        assert disguiser.recipe.preparation == preparation
        exported = {image.numpy().tobytes() for image, _ in data.read(tmp_path / "out")}
        import PIL.Image

        for path in photos.rglob("*.png"):
            assert disguiser(path).numpy().tobytes() in exported
            with PIL.Image.open(path) as picture:
                assert torch.equal(disguiser(picture), disguiser(path))

    def test_noise_is_fresh(self, tmp_path, parts):
        key = make_bundle("rmt")
        run_export(tmp_path / "out", key, data.open_source(parts["val"]), transforms.from_key(key, noise=50.0))
        disguiser, path = data.Disguiser(tmp_path / "out", key=key), parts["val"] / "class0" / "0.png"
        torch.manual_seed(0)
        first = disguiser(path)
        torch.manual_seed(0)
        assert not torch.equal(first, disguiser(path))
        undone = transforms.from_key(key, inverse=True)(first) - data.open_source(parts["val"])[0].image
        assert undone.min() > -0.01
        assert 45 < undone.max() < 50.01

    def test_stored_as_float16(self, tmp_path, parts):
        key = make_bundle("rmt")
        run_export(tmp_path / "out", key, data.open_source(parts["val"]), store="float16")
        image = data.Disguiser(tmp_path / "out", key=key)(parts["val"] / "class0" / "0.png")
        assert image.dtype == torch.float16
        assert any(torch.equal(image, each) for each, _ in data.read(tmp_path / "out"))

    def test_refusals(self, tmp_path, parts):
        run_export(tmp_path / "out", dataset=data.open_source(parts["val"]))
        disguiser = data.Disguiser(tmp_path / "out", key=SHARED_AES)
        write_folder(tmp_path / "large", size=(20, 20))
        with pytest.raises(ValueError, match="16 x 16 pixels, but the image is 20 x 20"):
            disguiser(tmp_path / "large" / "class0" / "0.png")
        with pytest.raises(SourceError, match=r"cannot read .*nothing\.png"):
            disguiser(tmp_path / "nothing.png")
        with pytest.raises(TypeError, match="a path, a PIL image, an array or a tensor, got int"):
            disguiser(3)
        with pytest.raises(TypeError, match="was made with key"):
            data.Disguiser(tmp_path / "out", key=make_bundle())
