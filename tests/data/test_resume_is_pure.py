"""A resumed export is made from one state of its source: shards whose input has changed are made again."""

import os

import pytest
import torch
from support import (
    SHARED_AES,
    Pictures,
    content,
    make_bundle,
    make_image,
    png,
    run_export,
    tar_members,
    write_folder,
    write_tar,
)
from torchvision.transforms import v2

from torchprotect import data, transforms
from torchprotect.data.keyed import keyed_order
from torchprotect.data.sources import as_source
from torchprotect.errors import ExportError, SourceError

ORDER = make_bundle("permutation")
SIZE = 4


class StoppedError(Exception):
    """Ends an export half-way."""


def stop_after(images):
    def progress(done, total):
        if done >= images:
            raise StoppedError

    return progress


def export(out, source, **options):
    return run_export(out, ORDER, source, shard_size=SIZE, **options)


def inodes(out):
    return {path.name: path.stat().st_ino for path in out.glob("*.tar")}


def remade(before, out):
    """Return the shards that were there before and have been written again."""
    return sorted(name for name, inode in inodes(out).items() if before.get(name, inode) != inode)


class InAFolder:
    def __init__(self, root):
        self.root = write_folder(root, classes=2, each=10, mode="L")

    def open(self):
        return data.open_source(str(self.root))

    def replace(self, index, body):
        """Replace a picture by one of equal size in bytes."""
        path = self.root / self.open().name(index)
        path.write_bytes(body)


class InATar:
    def __init__(self, root):
        self.path = root.with_suffix(".tar")
        self.bodies = {f"{n:02}": png_of_size(n) for n in range(20)}
        self.write()

    def write(self):
        members = {}
        for name, body in self.bodies.items():
            members |= {f"{name}.png": body, f"{name}.cls": b"1"}
        write_tar(self.path, members)

    def open(self):
        return data.open_source(str(self.path))

    def replace(self, index, body):
        self.bodies[f"{index:02}"] = body
        self.write()


def png_of_size(seed):
    return png(make_image(1, 16, 16, seed=seed))


@pytest.fixture(params=[InAFolder, InATar])
def pictures(request, tmp_path):
    return request.param(tmp_path / "in")


def order_of():
    return keyed_order(ORDER.subkey("order"), 20).tolist()


class TestFilesThatChange:
    def test_only_the_shard_of_a_replaced_picture_is_made_again(self, tmp_path, pictures):
        with pytest.raises(StoppedError):
            export(tmp_path / "out", pictures.open(), progress=stop_after(3 * SIZE))
        before, order = inodes(tmp_path / "out"), order_of()
        assert sorted(before) == ["shard-000000.tar", "shard-000001.tar"]
        pictures.replace(order[SIZE + 1], png_of_size(999))
        export(tmp_path / "out", pictures.open())
        assert remade(before, tmp_path / "out") == ["shard-000001.tar"]
        export(tmp_path / "undisturbed", pictures.open())
        assert content(tmp_path / "out") == content(tmp_path / "undisturbed")

    def test_only_the_shard_of_a_changed_label_is_made_again(self, tmp_path):
        pictures = InATar(tmp_path / "in")
        with pytest.raises(StoppedError):
            export(tmp_path / "out", pictures.open(), progress=stop_after(3 * SIZE))
        before, order = inodes(tmp_path / "out"), order_of()
        members = tar_members(pictures.path) | {f"{order[0]:02}.cls": b"2"}
        write_tar(pictures.path, members)
        export(tmp_path / "out", pictures.open())
        assert remade(before, tmp_path / "out") == ["shard-000000.tar"]

    def test_repairing_a_broken_picture_makes_only_its_shard_again(self, tmp_path, pictures):
        order = order_of()
        broken = next(index for index in order[2 * SIZE : 3 * SIZE] if index)  # the first would stop it at once
        whole = png_of_size(77)
        pictures.replace(broken, b"broken")
        with pytest.raises(SourceError, match="no known image format|cannot read image"):
            export(tmp_path / "out", Lazy(pictures.open()))
        before = inodes(tmp_path / "out")
        assert sorted(before) == ["shard-000000.tar", "shard-000001.tar"]
        pictures.replace(broken, whole)
        export(tmp_path / "out", pictures.open())
        assert remade(before, tmp_path / "out") == []
        export(tmp_path / "undisturbed", pictures.open())
        assert content(tmp_path / "out") == content(tmp_path / "undisturbed")

    @pytest.mark.parametrize("position", [0, 7])
    def test_repairing_a_skipped_picture_makes_only_its_shard_again(self, tmp_path, pictures, position):
        """Also where it was the first of the source, and where the export was finished without it."""
        broken = order_of()[position]
        pictures.replace(broken, b"broken")
        assert len(export(tmp_path / "out", pictures.open(), on_error="skip").skipped) == 1
        before = inodes(tmp_path / "out")
        pictures.replace(broken, png_of_size(77))
        result = export(tmp_path / "out", pictures.open(), on_error="skip")
        assert (result.images, result.skipped) == (20, ())
        assert remade(before, tmp_path / "out") == [f"shard-{position // SIZE:06}.tar"]
        export(tmp_path / "undisturbed", pictures.open())
        assert content(tmp_path / "out") == content(tmp_path / "undisturbed")

    def test_the_first_sample_may_be_repaired_before_the_export_is_finished(self, tmp_path):
        pictures = InAFolder(tmp_path / "in")
        pictures.replace(0, b"broken")
        with pytest.raises(StoppedError):
            export(tmp_path / "out", pictures.open(), on_error="skip", progress=stop_after(3 * SIZE))
        pictures.replace(0, png_of_size(77))
        export(tmp_path / "out", pictures.open(), on_error="skip")
        export(tmp_path / "undisturbed", pictures.open())
        assert content(tmp_path / "out") == content(tmp_path / "undisturbed")


class Lazy:
    """A source that tells no shapes, so that a broken picture shows when it is read."""

    def __init__(self, source):
        self._source = source
        for name in ("folders", "left_out", "name", "locate", "listing", "content", "known_labels"):
            setattr(self, name, getattr(source, name))

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        return self._source[index]


class TestPlans:
    def test_a_plan_lists_names_alone(self, tmp_path):
        pictures = InAFolder(tmp_path / "in")
        before = list(pictures.open().listing())
        pictures.replace(3, b"x")
        assert list(pictures.open().listing()) == before
        assert b"class0/3.png" in before

    def test_other_names_are_another_plan(self, tmp_path):
        pictures = InAFolder(tmp_path / "in")
        export(tmp_path / "out", pictures.open())
        (pictures.root / "class0" / "3.png").rename(pictures.root / "class0" / "3a.png")
        with pytest.raises(ExportError, match="another plan: source"):
            export(tmp_path / "out", pictures.open())

    def test_file_times_do_not_change_a_finished_export(self, tmp_path):
        pictures = InAFolder(tmp_path / "in")
        export(tmp_path / "a", pictures.open())
        for path in pictures.root.rglob("*.png"):
            os.utime(path, ns=(1, 1))
        export(tmp_path / "b", pictures.open())
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_data_sets_given_in_python_are_checked_at_some_samples(self, tmp_path):
        images = [(make_image(1, 16, 16, seed=n), 0) for n in range(20)]
        with pytest.raises(StoppedError):
            export(tmp_path / "out", images, progress=stop_after(3 * SIZE))
        before, order = inodes(tmp_path / "out"), order_of()
        images[order[SIZE]] = (make_image(1, 16, 16, seed=99), 0)
        export(tmp_path / "out", images)
        assert remade(before, tmp_path / "out") == ["shard-000001.tar"]
        assert len(list(as_source(Pictures(1000)).content(list(range(1000))))) <= 16

    def test_an_unfinished_export_of_format_1_is_not_resumed(self, tmp_path):
        vectors = os.path.join(os.path.dirname(__file__), "..", "vectors", "exports", "v1-aes")
        for name in ("plan.json", "shard-000000.tar"):
            (tmp_path / "out").mkdir(exist_ok=True)
            with open(os.path.join(vectors, name), "rb") as file:
                (tmp_path / "out" / name).write_bytes(file.read())
        with pytest.raises(ExportError, match="another plan"):
            run_export(tmp_path / "out", SHARED_AES, Pictures(9), shard_size=5)


def test_a_damaged_shard_whose_source_has_changed_is_an_error(tmp_path):
    pictures = InAFolder(tmp_path / "in")
    export(tmp_path / "out", pictures.open())
    (tmp_path / "out" / "shard-000002.tar").write_bytes(b"x")
    pictures.replace(order_of()[2 * SIZE], png_of_size(77))
    with pytest.raises(ExportError, match="could not be made again as it was"):
        export(tmp_path / "out", pictures.open())


def test_two_lambdas_are_told_apart(tmp_path):
    def invert(image):
        return 255 - image

    def keep(image):
        return image

    named = type("Step", (torch.nn.Module,), {"__repr__": lambda self: "Step()"})
    for function, fits in ((invert, True), (keep, False)):
        step = named()
        step.forward = function
        transform = v2.Compose([step, transforms.from_key(ORDER)])
        if fits:
            with pytest.raises(StoppedError):
                export(tmp_path / "out", Pictures(20), transform=transform, progress=stop_after(3 * SIZE))
        else:
            with pytest.raises(ExportError, match=r"do not give what .*shard-000000\.tar holds"):
                export(tmp_path / "out", Pictures(20), transform=transform)


@pytest.mark.parametrize("error", ["broken", "interrupt"])
def test_shards_that_workers_finish_after_an_error_are_kept(tmp_path, error):
    """Ctrl-C, or one broken image, costs no other shard."""
    pictures = InAFolder(tmp_path / "in")
    order = order_of()

    def interrupt(done, total):
        if done >= SIZE:
            raise KeyboardInterrupt

    if error == "broken":
        broken = next(index for index in order[:SIZE] if index)  # the first would stop it at once
        pictures.replace(broken, b"broken")
        with pytest.raises(SourceError):
            export(tmp_path / "out", Lazy(pictures.open()), workers=2)
        pictures.replace(broken, png_of_size(77))
    else:
        with pytest.raises(KeyboardInterrupt):
            export(tmp_path / "out", pictures.open(), workers=2, progress=interrupt)
    before = inodes(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("report-*.json"))) == len(before) > 0
    export(tmp_path / "out", pictures.open(), workers=2)
    assert remade(before, tmp_path / "out") == []


class TestFinishedExports:
    def test_a_filled_gap_is_refused_if_other_images_have_changed(self, tmp_path):
        """A finished export keeps no record of its input: all shards are compared before one of them changes."""
        pictures = InAFolder(tmp_path / "in")
        order = order_of()
        pictures.replace(order[7], b"broken")
        export(tmp_path / "out", pictures.open(), on_error="skip")
        before = content(tmp_path / "out")
        pictures.replace(order[7], png_of_size(77))
        pictures.replace(order[-1], png_of_size(78))
        with pytest.raises(ExportError, match=r"do not give what .*shard-000004\.tar holds"):
            export(tmp_path / "out", pictures.open(), on_error="skip")
        assert content(tmp_path / "out") == before

    def test_a_filled_gap_in_a_damaged_shard_is_refused_if_other_images_have_changed(self, tmp_path):
        pictures = InAFolder(tmp_path / "in")
        order = order_of()
        pictures.replace(order[7], b"broken")
        export(tmp_path / "out", pictures.open(), on_error="skip")
        (tmp_path / "out" / "shard-000001.tar").write_bytes(b"x")
        pictures.replace(order[7], png_of_size(77))
        pictures.replace(order[-1], png_of_size(78))
        with pytest.raises(ExportError, match=r"do not give what .*shard-000004\.tar holds"):
            export(tmp_path / "out", pictures.open(), on_error="skip")

    @pytest.mark.parametrize("kind", [InAFolder, InATar])
    def test_images_replaced_while_an_export_runs_are_noticed(self, tmp_path, kind):
        pictures = kind(tmp_path / "in")
        order = order_of()

        def replace(done, total):
            if done == 3 * SIZE:
                pictures.replace(order[0], png_of_size(77))

        with pytest.raises(ExportError, match=r"changed while it was exported: 1 of 5 shards, such as shard-000000"):
            export(tmp_path / "out", pictures.open(), progress=replace)
        assert "manifest.json" not in content(tmp_path / "out")
        export(tmp_path / "out", pictures.open())
        export(tmp_path / "undisturbed", pictures.open())
        assert content(tmp_path / "out") == content(tmp_path / "undisturbed")
