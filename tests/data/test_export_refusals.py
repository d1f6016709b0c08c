"""Bad input and full disks: a clear error, and nothing lost."""

import json
import os
import random
import resource
import shutil
import subprocess

import numpy as np
import pytest
import torch
from support import SHARED_AES, Pictures, content, make_bundle, make_image, write_folder
from support import run_export as run
from torchvision.transforms import v2

from torchprotect import data, transforms
from torchprotect.errors import ExportError, InputRangeError, KeyKindError, KeySizeError, LabelError, SourceError

AES, RMT, ORDER = SHARED_AES, make_bundle("rmt"), make_bundle("permutation")


class TestBadInput:
    def test_nothing_is_written_when_the_key_does_not_fit(self, tmp_path):
        with pytest.raises(KeySizeError, match="16 x 16 pixels, but the image is 8 x 8"):
            run(tmp_path / "out", dataset=Pictures(4, size=(8, 8)))
        assert not (tmp_path / "out").exists()

    def test_a_wrong_size_later_on_is_named(self, tmp_path):
        dataset = [(make_image(1, 16, 16 if n != 5 else 20), 0) for n in range(8)]
        with pytest.raises(KeySizeError, match="sample 5"):
            run(tmp_path / "out", dataset=dataset)

    def test_labels_outside_the_map(self, tmp_path):
        with pytest.raises(LabelError, match=r"class 10 of sample 10 lies outside the label map.* 0\.\.9"):
            run(tmp_path / "out", dataset=Pictures(20, classes=11))
        with pytest.raises(LabelError, match="no label to rename"):
            run(tmp_path / "out2", dataset=[make_image(1, 16, 16)])

    @pytest.mark.parametrize("workers", [0, 2])
    def test_unreadable_images(self, tmp_path, workers):
        root = write_folder(tmp_path / "in", classes=2, each=6)
        (root / "class1" / "3.png").write_bytes(b"broken")
        (root / "class0" / "0.png").write_bytes(b"")
        source = data.open_source(str(root))
        with pytest.raises(SourceError, match=r"class[01]/[03]\.png"):
            run(tmp_path / "out", dataset=source, workers=workers)
        result = run(tmp_path / "out2", dataset=source, workers=workers, on_error="skip")
        assert sorted(result.skipped) == ["class0/0.png", "class1/3.png"]
        assert result.images == len(list(data.read(tmp_path / "out2"))) == 10
        resumed = run(tmp_path / "out", dataset=source, workers=workers, on_error="skip")
        assert sorted(resumed.skipped) == ["class0/0.png", "class1/3.png"]
        assert content(tmp_path / "out") == content(tmp_path / "out2")

    def test_nothing_readable(self, tmp_path):
        root = write_folder(tmp_path / "in", classes=1, each=1)
        (root / "class0" / "0.png").write_bytes(b"")
        with pytest.raises(ExportError, match="no image of the source can be exported"):
            run(tmp_path / "out", dataset=data.open_source(str(root)), on_error="skip")

    def test_empty_source_and_settings(self, tmp_path):
        with pytest.raises(ExportError, match="no images"):
            run(tmp_path / "out", dataset=[])
        for wrong in ({"shard_size": 0}, {"workers": -1}, {"on_error": "ignore"}):
            with pytest.raises(InputRangeError):
                run(tmp_path / "out", **wrong)

    def test_a_key_that_does_not_go_with_the_transform(self, tmp_path):
        with pytest.raises(KeyKindError, match="not the one the transform uses"):
            run(tmp_path / "out", transform=transforms.from_key(make_bundle("aes")))

    def test_a_transform_without_a_disguise_is_refused(self, tmp_path):
        for clear in (transforms.SaltAndPepper(0.1), v2.Resize(16), torch.nn.Identity()):
            with pytest.raises(ExportError, match="holds no keyed disguise"):
                run(tmp_path / "out", transform=clear, key=AES)

    @pytest.mark.parametrize(
        "augmentation", [v2.RandomHorizontalFlip(), v2.RandomCrop(16, padding=2), v2.ColorJitter(0.5)]
    )
    def test_other_random_transforms_are_refused(self, tmp_path, augmentation):
        with pytest.raises(ExportError, match="drew random numbers"):
            run(tmp_path / "out", transform=v2.Compose([augmentation, transforms.from_key(AES)]))
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "draw", [random.random, np.random.rand, lambda: torch.rand(1)], ids=["python", "numpy", "torch"]
    )
    def test_transforms_that_draw_from_a_global_generator_are_refused(self, tmp_path, draw):
        class Drawing(torch.nn.Module):
            def forward(self, images):
                draw()
                return images

            def __repr__(self):
                return "Drawing()"

        with pytest.raises(ExportError, match="the transform drew random numbers"):
            run(tmp_path / "out", transform=v2.Compose([Drawing(), transforms.from_key(AES)]))

    def test_a_source_may_draw_where_that_does_not_change_its_images(self, tmp_path):
        """As a network client does that waits a random time before it tries again."""

        class Retrying(Pictures):
            def __getitem__(self, index):
                random.random()
                np.random.rand()
                torch.rand(1)
                return super().__getitem__(index)

        run(tmp_path / "out", dataset=Retrying(20))
        run(tmp_path / "quiet", dataset=Pictures(20))
        shards = [{n: b for n, b in content(tmp_path / name).items() if n.endswith("tar")} for name in ("out", "quiet")]
        assert shards[0] == shards[1]

    def test_a_source_of_random_images_is_refused(self, tmp_path):
        class Noisy(Pictures):
            def __getitem__(self, index):
                return torch.randint(0, 256, (1, 16, 16), dtype=torch.uint8), 0

        with pytest.raises(ExportError, match="twice gave two results"):
            run(tmp_path / "out", dataset=Noisy())

    def test_deterministic_transforms_may_come_before(self, tmp_path):
        transform = v2.Compose([v2.Resize((16, 16)), transforms.from_key(AES)])
        run(tmp_path / "out", dataset=Pictures(5, size=(20, 20)), transform=transform)
        assert "Resize" in json.loads((tmp_path / "out/manifest.json").read_text())["transform"][0]["name"]

    def test_a_transform_without_a_stable_repr(self, tmp_path):
        class Unnamed(torch.nn.Module):
            def forward(self, image):
                return image

            __repr__ = object.__repr__

        with pytest.raises(ExportError, match="__repr__"):
            run(tmp_path / "out", transform=v2.Compose([Unnamed(), transforms.from_key(AES)]))

    def test_an_inverse_is_no_export(self, tmp_path):
        transform = v2.Compose(
            [transforms.BlockPermute(ORDER.transform), transforms.BlockPermute(ORDER.transform, inverse=True)]
        )
        with pytest.raises(ExportError, match="export plain images"):
            run(tmp_path / "out", ORDER, transform=transform)

    def test_one_disguise_twice(self, tmp_path):
        disguise = transforms.BlockPermute(ORDER.transform)
        run(tmp_path / "out", ORDER, transform=v2.Compose([disguise, disguise]))
        assert data.verify(tmp_path / "out", ORDER).images == 20

    def test_own_generators_are_noticed_too(self, tmp_path):
        generator = np.random.default_rng(0)
        noisy = [0] * 20

        class Noisy(Pictures):
            def __getitem__(self, index):
                return torch.from_numpy(generator.integers(0, 256, (1, 16, 16), dtype=np.uint8)), noisy[index]

        with pytest.raises(ExportError, match="twice gave two results"):
            run(tmp_path / "out", dataset=Noisy())

    def test_mixed_dtypes(self, tmp_path):
        dataset = [(make_image(1, 16, 16), 0), (make_image(1, 16, 16, dtype=torch.float32), 0)]
        with pytest.raises(SourceError, match="sample 1 is torch.float32.*convert them to one dtype"):
            run(tmp_path / "out", RMT, dataset)


class TestFullDisk:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_nothing_half_written_and_resumable(self, tmp_path, workers):
        run(tmp_path / "undisturbed")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, hard))  # shards need 10,240 bytes or more
        try:
            with pytest.raises(ExportError, match="Make room or repair the disk, then run the same export again"):
                run(tmp_path / "out", workers=workers)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert sorted(content(tmp_path / "out")) == ["plan.json"]
        run(tmp_path / "out", workers=workers)
        assert content(tmp_path / "out") == content(tmp_path / "undisturbed")

    @pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="needs root to mount a small disk")
    def test_a_disk_that_is_really_full(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(disk)], capture_output=True)
        if mounted.returncode:
            pytest.skip("mounting is not allowed here")
        try:
            with pytest.raises(ExportError, match="No space left on device"):
                run(disk / "out", dataset=Pictures(200), shard_size=10)
            half = content(disk / "out")
            assert not [name for name in half if name.endswith(".tmp")]
            subprocess.run(["mount", "-o", "remount,size=4m", str(disk)], check=True)
            run(disk / "out", dataset=Pictures(200), shard_size=10)
            run(tmp_path / "undisturbed", dataset=Pictures(200), shard_size=10)
            assert content(disk / "out") == content(tmp_path / "undisturbed")
        finally:
            subprocess.run(["umount", str(disk)], check=True)
