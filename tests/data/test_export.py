import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support import SHARED_AES, Pictures, content, make_bundle, make_image, png, tar_members, write_folder, write_tar
from support import run_export as run
from torchvision.transforms import v2

from torchprotect import data, keys, transforms
from torchprotect.data.keyed import keyed_order
from torchprotect.errors import ExportError, KeySizeError, SourceError

AES, RMT, ORDER = SHARED_AES, make_bundle("rmt"), make_bundle("permutation")


class TestContent:
    @pytest.mark.parametrize("bundle", [AES, RMT, ORDER], ids=lambda bundle: bundle.transform.kind)
    @pytest.mark.parametrize("channels", [1, 3])
    def test_exported_images_are_the_disguised_ones(self, tmp_path, bundle, channels):
        dataset = Pictures(20, channels)
        result = run(tmp_path / "out", bundle, dataset)
        assert (result.images, result.shards, result.skipped) == (20, 3, ())
        back = list(data.read(tmp_path / "out"))
        order = keyed_order(bundle.subkey("order"), 20).tolist()
        assert sorted(order) == list(range(20))
        assert order != list(range(20))
        for (image, label), index in zip(back, order, strict=True):
            plain, plain_label = dataset[index]
            assert torch.equal(image, transforms.from_key(bundle)(plain))
            assert label == bundle.labels.map(plain_label)
        undo = transforms.from_key(bundle, inverse=True)
        for (image, _), index in zip(back, order, strict=True):
            assert float((undo(image).float() - dataset[index][0].float()).abs().max()) < 0.01

    def test_labels_stay_plain_without_a_label_map(self, tmp_path):
        run(tmp_path / "out", AES.transform, transform=transforms.from_key(AES))
        order = keyed_order(AES.transform.subkey("order"), 20).tolist()
        assert [label for _, label in data.read(tmp_path / "out")] == [i % 10 for i in order]

    def test_the_key_of_the_transform_is_the_default(self, tmp_path):
        run(tmp_path / "out", key=None)
        assert json.loads((tmp_path / "out/plan.json").read_text())["key"] == AES.transform.fingerprint

    def test_without_labels(self, tmp_path):
        run(tmp_path / "out", AES.transform, [make_image(1, 16, 16)], transforms.from_key(AES))
        assert [label for _, label in data.read(tmp_path / "out")] == [None]

    def test_images_of_several_channels_are_refused(self, tmp_path):
        dataset = [(make_image(1 if n % 3 else 3, 16, 16, seed=n), n) for n in range(10)]
        with pytest.raises(SourceError, match="would be exported as 1 x 16 x 16, the first one as 3 x 16 x 16"):
            run(tmp_path / "out", dataset=dataset)

    def test_images_of_another_number_of_channels_are_skipped(self, tmp_path):
        dataset = [(make_image(1 if n % 3 else 3, 16, 16, seed=n), n) for n in range(10)]
        result = run(tmp_path / "out", dataset=dataset, on_error="skip")
        assert result.images == 4
        assert set(result.skipped) == {"1", "2", "4", "5", "7", "8"}

    def test_plain_readers(self, tmp_path):
        import webdataset

        run(tmp_path / "out")
        shards = sorted((tmp_path / "out").glob("*.tar"))
        by_tarfile = {name: body for shard in shards for name, body in tar_members(shard).items()}
        listed = "".join(
            subprocess.run(["tar", "-tf", str(s)], capture_output=True, text=True, check=True).stdout for s in shards
        )
        assert listed.split() == list(by_tarfile)
        dataset = (
            webdataset.WebDataset([str(s) for s in shards], shardshuffle=False)
            .decode("torchl8")
            .to_tuple("__key__", "png", "cls")
        )
        for (key, image, label), (ours, same) in zip(dataset, data.read(tmp_path / "out"), strict=True):
            assert len(key) == 32
            assert torch.equal(torch.as_tensor(image).reshape(1, 16, 16), ours)
            assert label == same

    def test_folder_holds_nothing_else(self, tmp_path):
        run(tmp_path / "out")
        assert sorted(content(tmp_path / "out")) == [
            "manifest.json",
            "owner.sealed",
            "plan.json",
            *(f"shard-00000{n}.tar" for n in range(3)),
        ]

    def test_manifest(self, tmp_path):
        run(
            tmp_path / "out",
            RMT,
            transform=v2.Compose([transforms.SaltAndPepper(0.1), transforms.from_key(RMT, noise=5)]),
        )
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert manifest["security_claim"] == "obfuscation"
        assert (manifest["images"], manifest["labels"], manifest["key"]) == (20, 10, RMT.fingerprint)
        assert [step["name"] for step in manifest["transform"]] == ["SaltAndPepper", "RMTDisguise"]
        assert manifest["transform"][1]["noise"] == 5.0
        assert manifest["plain"] == {"dtype": "uint8", "scale": 255}
        assert [shard["count"] for shard in manifest["shards"]] == [7, 7, 6]

    def test_no_time_host_or_owner(self, tmp_path):
        import tarfile

        run(tmp_path / "out")
        for shard in (tmp_path / "out").glob("*.tar"):
            with tarfile.open(shard) as archive:
                for member in archive:
                    facts = (member.uid, member.gid, member.uname, member.gname, member.mtime, member.mode)
                    assert facts == (0, 0, "", "", 0, 0o644)
        text = (tmp_path / "out/manifest.json").read_text() + (tmp_path / "out/plan.json").read_text()
        assert os.uname().nodename not in text
        assert str(tmp_path) not in text


class TestSameBytes:
    @pytest.mark.parametrize("workers", [1, 2, 5])
    def test_any_number_of_workers(self, tmp_path, workers):
        for bundle in (AES, RMT):
            transform = v2.Compose([transforms.SaltAndPepper(0.1), transforms.from_key(bundle)])
            run(tmp_path / f"{bundle.transform.kind}0", bundle, transform=transform)
            run(tmp_path / f"{bundle.transform.kind}n", bundle, transform=transform, workers=workers)
            assert content(tmp_path / f"{bundle.transform.kind}0") == content(tmp_path / f"{bundle.transform.kind}n")

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["spawn", "forkserver"])
    def test_other_start_methods(self, tmp_path, method):
        write_tar(tmp_path / "in.tar.gz", {f"{n}.png": png(make_image(1, 16, 16, seed=n)) for n in range(10)}, "w:gz")
        keys.save(RMT.transform, tmp_path / "key")
        program = f"""
import multiprocessing
from torchprotect import data, keys, transforms
if __name__ == "__main__":
    key = keys.load({str(tmp_path / "key")!r})
    transform = transforms.from_key(key, noise=9)
    source = {str(tmp_path / "in.tar.gz")!r}
    data.export(data.open_source(source), {str(tmp_path / "a")!r}, transform=transform, shard_size=3)
    multiprocessing.set_start_method({method!r})
    data.export(data.open_source(source), {str(tmp_path / "b")!r}, transform=transform, shard_size=3, workers=2)
"""
        (tmp_path / "program.py").write_text(program)
        subprocess.run([sys.executable, str(tmp_path / "program.py")], check=True, timeout=120)
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_large_matrices_and_threads(self, tmp_path):
        bundle = make_bundle("rmt", (64, 64), (32, 32))
        dataset = Pictures(12, 3, (64, 64))
        run(tmp_path / "a", bundle, dataset)
        run(tmp_path / "b", bundle, dataset, workers=2)
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_another_key_gives_other_names_and_order(self, tmp_path):
        run(tmp_path / "a")
        run(tmp_path / "b", make_bundle("aes"))
        names = [set(tar_members(tmp_path / x / "shard-000000.tar")) for x in "ab"]
        assert not names[0] & names[1]

    def test_export_does_not_touch_the_callers_transform(self, tmp_path):
        transform = transforms.from_key(RMT, noise=5)
        run(tmp_path / "out", RMT, transform=transform)
        image = make_image(1, 16, 16)
        assert not torch.equal(transform(image), transform(image))


class TestResume:
    def test_a_finished_export_is_not_written_again(self, tmp_path):
        first = run(tmp_path / "out")
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
        assert run(tmp_path / "out") == replace(first, made=0)
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == before

    def test_missing_and_damaged_shards_are_made_again(self, tmp_path):
        run(tmp_path / "out")
        expected = content(tmp_path / "out")
        (tmp_path / "out/shard-000001.tar").unlink()
        (tmp_path / "out/shard-000002.tar").write_bytes(b"x")
        (tmp_path / "out/.torchprotect-0123456789abcdef.tmp").write_bytes(b"half")
        run(tmp_path / "out")
        assert content(tmp_path / "out") == expected

    def test_before_the_manifest(self, tmp_path):
        stopped = []

        def stop(done, total):
            if done >= 7 and not stopped:
                stopped.append(done)
                raise KeyboardInterrupt

        run(tmp_path / "undisturbed")
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", progress=stop)
        assert "manifest.json" not in content(tmp_path / "out")
        with pytest.raises(ExportError, match="unfinished"):
            data.verify(tmp_path / "out")
        with pytest.raises(ExportError, match="unfinished"):
            data.read(tmp_path / "out")
        run(tmp_path / "out", workers=2)
        assert content(tmp_path / "out") == content(tmp_path / "undisturbed")

    def test_torn_or_forged_reports_are_ignored(self, tmp_path):
        run(tmp_path / "out")
        expected = content(tmp_path / "out")
        (tmp_path / "out/manifest.json").unlink()
        forged = {"count": 7, "index": 0, "labels": [], "sha256": "0" * 64, "size": 1, "skipped": [], "hmac": "0" * 64}
        for index, body in enumerate([b'{"index":0,"co', json.dumps(forged).encode(), b"[1]", b"\xff", b""]):
            (tmp_path / f"out/report-{index:06}.json").write_bytes(body)
        run(tmp_path / "out")
        assert content(tmp_path / "out") == expected

    def test_progress_counts_up_to_all(self, tmp_path):
        for workers, out in ((0, "a"), (2, "b")):
            seen = []
            run(tmp_path / out, progress=lambda *numbers, seen=seen: seen.append(numbers), workers=workers)
            assert seen[0] == (0, 20)
            assert seen[-1] == (20, 20)
            assert seen == sorted(seen)
        seen = []
        run(tmp_path / "a", progress=lambda done, total: seen.append((done, total)))
        assert seen == [(20, 20)]


class TestNothingIsMixed:
    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"bundle": make_bundle("aes")}, "key"),
            ({"shard_size": 8}, "shard_size was 7, is 8"),
            ({"dataset": Pictures(21)}, "images was 20, is 21; source was"),
            ({"transform": transforms.from_key(AES, unit_pixels=2)}, "unit_pixels was 16, is 2"),
            ({"transform": v2.Compose([transforms.SaltAndPepper(0.1), transforms.from_key(AES)])}, "transform"),
        ],
    )
    def test_another_plan_is_refused(self, tmp_path, change, named):
        run(tmp_path / "out")
        before = content(tmp_path / "out")
        with pytest.raises(ExportError, match=f"another plan: .*{named}"):
            run(tmp_path / "out", **change)
        assert content(tmp_path / "out") == before

    def test_transforms_with_equal_reprs_are_distinguished(self, tmp_path):
        for scale, message in ((torch.float32, None), (torch.float64, "do not give what")):
            transform = v2.Compose([v2.ToDtype(scale, scale=True), transforms.from_key(ORDER)])
            if message is None:
                run(tmp_path / "out", ORDER, transform=transform)
            else:
                with pytest.raises(ExportError, match=message):
                    run(tmp_path / "out", ORDER, transform=transform)

    def test_datasets_of_one_type_and_length_are_told_apart(self, tmp_path):
        first, second = ([(make_image(1, 16, 16, seed=n + shift), 0) for n in range(20)] for shift in (0, 100))
        run(tmp_path / "out", dataset=first)
        with pytest.raises(ExportError, match="do not give what"):
            run(tmp_path / "out", dataset=second)

    def test_shards_and_manifest_of_another_plan_are_refused(self, tmp_path):
        """Shards with less noise, and their signed manifest, beside the plan of an export with more."""
        for name, noise in (("weak", 1), ("strong", 50)):
            run(tmp_path / name, RMT, transform=transforms.from_key(RMT, noise=noise))
        for path in (tmp_path / "weak").iterdir():
            if path.name != "plan.json":
                shutil.copy(path, tmp_path / "strong")
        with pytest.raises(Exception, match="do not belong together"):
            data.verify(tmp_path / "strong", RMT)
        with pytest.raises(ExportError, match="belongs to another plan"):
            run(tmp_path / "strong", RMT, transform=transforms.from_key(RMT, noise=50))

    def test_a_plan_of_another_program_is_not_overwritten(self, tmp_path):
        (tmp_path / "plan.json").write_text('{"my": "plan"}')
        with pytest.raises(ExportError, match="not written by torchprotect"):
            run(tmp_path)
        assert (tmp_path / "plan.json").read_text() == '{"my": "plan"}'

    def test_images_that_do_not_fit_stop_an_export_before_its_plan_is_written(self, tmp_path):
        root = write_folder(tmp_path / "in", classes=1, each=8, size=(16, 20))
        with pytest.raises(KeySizeError):
            run(tmp_path / "out", dataset=data.open_source(root))
        assert not (tmp_path / "out").exists() or not content(tmp_path / "out")
        assert run(tmp_path / "out").images == 20

    def test_a_plan_alone_binds(self, tmp_path):
        """Other machines may be at work by it. The error says which file to delete."""
        dataset = [(make_image(1, 16, 16 if n != 5 else 20), 0) for n in range(8)]
        with pytest.raises(KeySizeError):
            run(tmp_path / "out", dataset=dataset, shard_size=8)
        before = content(tmp_path / "out")
        assert sorted(before) == ["plan.json"]
        with pytest.raises(ExportError, match=r"another plan: .*shard_size was 8, is 7.*delete .*out/plan\.json"):
            run(tmp_path / "out")
        assert content(tmp_path / "out") == before
        (tmp_path / "out" / "plan.json").unlink()
        assert run(tmp_path / "out").images == 20

    def test_resume_may_be_forbidden(self, tmp_path):
        run(tmp_path / "out", resume=False)
        with pytest.raises(ExportError, match="holds an export already"):
            run(tmp_path / "out", resume=False)

    def test_changed_plan_is_noticed(self, tmp_path):
        run(tmp_path / "out")
        plan = json.loads((tmp_path / "out/plan.json").read_text())
        (tmp_path / "out/plan.json").write_text(json.dumps({**plan, "hmac": "0" * 64}))
        with pytest.raises(ExportError, match="HMAC"):
            run(tmp_path / "out")

    def test_newer_plan(self, tmp_path):
        run(tmp_path / "out")
        plan = json.loads((tmp_path / "out/plan.json").read_text())
        (tmp_path / "out/plan.json").write_text(json.dumps({**plan, "version": 3}))
        with pytest.raises(ExportError, match="another format version"):
            run(tmp_path / "out")

    @pytest.mark.parametrize("name", ["notes.txt", "shard-1.tar", "picture.png"])
    def test_folders_with_other_files_are_refused(self, tmp_path, name):
        (tmp_path / name).write_text("x")
        with pytest.raises(ExportError, match=f"other files, such as {name}"):
            run(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [name]

    def test_shards_without_a_plan_are_refused(self, tmp_path):
        (tmp_path / "shard-000000.tar").write_text("x")
        with pytest.raises(ExportError, match="no plan"):
            run(tmp_path)

    def test_two_exports_at_once(self, tmp_path):
        def second(done, total):
            with pytest.raises(ExportError, match="in use by another export"):
                run(tmp_path / "out")

        run(tmp_path / "out", progress=second)
        assert data.verify(tmp_path / "out").images == 20

    def test_output_inside_the_source(self, tmp_path):
        root = write_folder(tmp_path / "in")
        source = data.open_source(str(root))
        with pytest.raises(ExportError, match="inside the source"):
            run(root / "class0" / "out", dataset=source)
        with pytest.raises(ExportError, match="inside the source"):
            run(root, dataset=source)
        assert sorted(path.name for path in root.iterdir()) == ["class0", "class1", "class2"]


@pytest.mark.slow
def test_memory_does_not_grow_with_the_export(tmp_path):
    """3,000 large images cost at most 100 MB more than 300: they would be 590 MB held at once."""
    program = """
import resource, sys, torch
from pathlib import Path
from torchprotect import data, keys, transforms
class Large(torch.utils.data.Dataset):
    def __init__(self, n): self.n = n
    def __len__(self): return self.n
    def __getitem__(self, i): return torch.full((3, 256, 256), i % 256, dtype=torch.uint8), 0
key = keys.PermutationKey.generate(image_size=(256, 256), block_size=(16, 16))
transform = transforms.from_key(key)
data.export(Large(300), Path(sys.argv[1]) / "a", transform=transform, shard_size=100)
few = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data.export(Large(3000), Path(sys.argv[1]) / "b", transform=transform, shard_size=100)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - few) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 100
    shutil.rmtree(tmp_path / "b")


def test_paths_may_be_strings_or_paths(tmp_path):
    run(str(tmp_path / "deep" / "er" / "out"))
    assert data.verify(Path(tmp_path / "deep/er/out")).images == 20
