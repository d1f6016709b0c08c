"""Exports of perturbed images: labels, batches, reproducible bytes, and refusals before anything is written."""

import json
import os
import signal
import subprocess
import sys
import time

import nets
import pytest
import torch
from support import Pictures, content, make_bundle, make_image, png, write_folder, write_tar
from torch import nn
from torchvision.transforms import v2

from torchprotect import data, envelope, keys, transforms
from torchprotect.data.engines import local
from torchprotect.data.keyed import KeystreamNoise, keyed_order, noise_key
from torchprotect.data.store import open_store
from torchprotect.errors import ExportError, InputRangeError, LabelError, ModelError


class Tiny(nets.Tiny):
    def __init__(self):
        super().__init__(channels=1, size=(16, 16), classes=10, width=8)


KEY = keys.CorrespondenceKey.generate(classes=10, targets=2)
PASTE = keys.CorrespondenceKey.generate(classes=10, targets=2, mix_mode="cutmix")
BUNDLE = keys.KeyBundle(KEY, None, keys.LabelKey.generate(classes=10))
SETTINGS = {"eps": 0.5, "step_size": 0.2, "steps": 3, "batch_size": 3}


def make(key=KEY, model=None, **options):
    return transforms.from_key(key, model=Tiny() if model is None else model, **{**SETTINGS, **options})


def run(out, key=KEY, dataset=None, transform=None, **options):
    """Export 20 pictures, or what is given, in shards of 7 and batches of 3."""
    transform = transform or make(key)
    options = {"shard_size": 7, "key": key, **options}
    return data.export(Pictures(20) if dataset is None else dataset, out, transform=transform, **options)


def batches(key, count=20, shard_size=7, size=3):
    order = keyed_order(key.subkey("order"), count).tolist()
    shards = [order[start : start + shard_size] for start in range(0, count, shard_size)]
    return [shard[start : start + size] for shard in shards for start in range(0, len(shard), size)]


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
class TestContent:
    def test_batches_are_perturbed_by_their_plain_labels_and_renamed(self, tmp_path):
        plain, back = Pictures(20), []
        run(tmp_path / "out", BUNDLE)
        back = iter(data.read(tmp_path / "out"))
        transform = make()
        for batch in batches(BUNDLE):
            images, labels = torch.stack([plain[i][0] for i in batch]), torch.tensor([plain[i][1] for i in batch])
            expected = transform(images, labels)[0]
            for image, label in zip(expected, labels.tolist()):
                stored, written = next(back)
                assert torch.equal(stored, image)
                assert written == BUNDLE.labels.map(label)
        assert next(back, None) is None

    def test_draws_come_from_the_samples_own_streams(self, tmp_path):
        run(tmp_path / "out", PASTE)
        members = [name for name in read_names(tmp_path / "out") if name.endswith("png")]
        ids, transform, plain = [bytes.fromhex(name[:32]) for name in members], make(PASTE), Pictures(20)
        stream = noise_key(PASTE.subkey("noise"), [transform.describe()])
        back = iter(data.read(tmp_path / "out"))
        for batch in batches(PASTE):
            here, ids = ids[: len(batch)], ids[len(batch) :]
            transform.noise_source = KeystreamNoise(stream, here)
            images, labels = torch.stack([plain[i][0] for i in batch]), torch.tensor([plain[i][1] for i in batch])
            for image in transform(images, labels)[0]:
                assert torch.equal(next(back)[0], image)

    def test_the_distance_stays_within_the_budget_and_is_reported(self, tmp_path):
        result = run(tmp_path / "out")
        order = keyed_order(KEY.subkey("order"), 20).tolist()
        expected = [
            float(((image.double() - Pictures(20)[index][0].double()) / 255).norm())
            for (image, _), index in zip(data.read(tmp_path / "out"), order)
        ]
        assert min(expected) > 0.1
        assert max(expected) < 0.5 * 2**0.5 + 0.05
        assert result.max_distance == pytest.approx(max(expected), rel=1e-12)
        assert result.mean_distance == pytest.approx(sum(expected) / 20, rel=1e-12)

    def test_predicted_targets_need_no_labels(self, tmp_path):
        plain = [Pictures(20)[i][0] for i in range(20)]
        run(tmp_path / "out", KEY, plain, make(target_source="predicted"))
        run(tmp_path / "labelled", KEY, Pictures(20), make(target_source="predicted"))
        for (image, label), (other, number) in zip(data.read(tmp_path / "out"), data.read(tmp_path / "labelled")):
            assert torch.equal(image, other)
            assert label is None
            assert number is not None

    def test_float_images(self, tmp_path):
        floats = [(make_image(1, 16, 16, seed=n, dtype=torch.float32), n % 10) for n in range(8)]
        for to_8bit in (False, True):
            result = run(tmp_path / str(to_8bit), KEY, floats, make(to_8bit=to_8bit))
            for image, _ in data.read(tmp_path / str(to_8bit)):
                assert image.dtype == torch.float32
                assert torch.allclose((image * 255).round() / 255, image, atol=1e-6) == to_8bit
            assert 0.1 < result.max_distance < 0.8

    def test_after_other_steps(self, tmp_path):
        class Halve(nn.Module):  # takes one argument, as steps written by hand do
            def forward(self, images):
                return images // 2

            def __repr__(self):
                return "Halve()"

        transform = v2.Compose([v2.Resize((16, 16)), Halve(), transforms.SaltAndPepper(0.1), make(PASTE)])
        run(tmp_path / "a", PASTE, Pictures(8, size=(20, 20)), transform)
        run(tmp_path / "b", PASTE, Pictures(8, size=(20, 20)), transform, workers=2)
        assert content(tmp_path / "a") == content(tmp_path / "b")
        assert data.verify(tmp_path / "a", PASTE).images == 8
        manifest = json.loads((tmp_path / "a/manifest.json").read_text())
        assert manifest["transform"][-1]["name"] == "AdversarialEncrypt"
        assert 0.1 < manifest["distance"]["max"] < 0.8  # to what the perturbation was given

    def test_before_a_disguise(self, tmp_path):
        covered = make_bundle("aes")
        transform = v2.Compose([make(), transforms.from_key(covered)])
        run(tmp_path / "out", covered, transform=transform)
        assert data.verify(tmp_path / "out", covered).images == 20

    @pytest.mark.slow
    def test_a_compiled_model(self, tmp_path):
        result = run(tmp_path / "out", transform=make(model=torch.compile(Tiny(), backend="eager")))
        assert 0.1 < result.mean_distance < 0.8

    def test_images_of_several_sizes(self, tmp_path):
        model = Tiny()
        model.body.insert(3, nn.Upsample((14, 14)))
        mixed = [(make_image(1, 16 + n % 2, 16, seed=n), n) for n in range(10)]
        run(tmp_path / "out", KEY, mixed, make(model=model))
        order = keyed_order(KEY.subkey("order"), 10).tolist()
        for (image, label), index in zip(data.read(tmp_path / "out"), order):
            assert image.shape == mixed[index][0].shape
            assert label == index


def read_names(out):
    import tarfile

    names = []
    for shard in sorted(out.glob("*.tar")):
        with tarfile.open(shard) as archive:
            names += archive.getnames()
    return names


class TestSameBytes:
    @pytest.mark.parametrize(
        ("key", "options"),
        [(KEY, {}), (PASTE, {}), (KEY, {"target_source": "predicted"}), (KEY, {"target_source": "random"})],
        ids=["concat", "cutmix", "predicted", "random"],
    )
    def test_any_number_of_workers(self, tmp_path, key, options):
        for workers in (0, 1, 2):
            run(tmp_path / str(workers), key, transform=make(key, **options), workers=workers)
        assert content(tmp_path / "0") == content(tmp_path / "1") == content(tmp_path / "2")

    @pytest.mark.slow
    def test_where_processes_cannot_be_forked(self, tmp_path, monkeypatch):
        """With an accelerator around, torch computes no gradients in a forked process."""
        run(tmp_path / "a")
        monkeypatch.setattr(local, "_has_accelerator", lambda: True)
        methods = []
        context = local.multiprocessing.get_context
        monkeypatch.setattr(local.multiprocessing, "get_context", lambda name: methods.append(name) or context(name))
        own_getter = make(labels_getter=lambda sample: sample["never called"])  # cannot be pickled
        run(tmp_path / "b", transform=own_getter, workers=1)
        assert methods == ["spawn" if local.multiprocessing.get_start_method() == "fork" else None]
        assert content(tmp_path / "a") == content(tmp_path / "b")

    def test_settings_of_the_caller_are_restored(self, tmp_path):
        transform, getter = make(), lambda sample: sample[1]
        transform.labels_getter = getter
        torch.backends.cudnn.benchmark = True
        threads = torch.get_num_threads()
        torch.set_num_threads(2)
        try:
            run(tmp_path / "a", transform=transform)
            with pytest.raises(ModelError):
                run(tmp_path / "b", dataset=Pictures(20, 3))
            assert torch.get_num_threads() == 2
            assert torch.backends.cudnn.benchmark
            assert not torch.are_deterministic_algorithms_enabled()
        finally:
            torch.backends.cudnn.benchmark = False
            torch.set_num_threads(threads)
        assert transform.labels_getter is getter
        assert "noise_source" not in transform.__dict__
        assert not transform._forward_hooks
        assert transform.model.training

    def test_deterministic_algorithms_are_on_while_the_model_runs(self, tmp_path):
        class Asked(Tiny):
            def forward(self, images):
                assert torch.are_deterministic_algorithms_enabled()
                assert torch.get_num_threads() == 1
                return super().forward(images)

        run(tmp_path / "out", transform=make(model=Asked()))

    @pytest.mark.parametrize("workers", [0, 2])
    def test_resumed(self, tmp_path, workers):
        stopped = []

        def stop(done, total):
            if done >= 10 and not stopped:
                stopped.append(done)
                raise KeyboardInterrupt

        first = run(tmp_path / "undisturbed")
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "out", progress=stop)
        assert "manifest.json" not in content(tmp_path / "out")
        assert (tmp_path / "out/shard-000000.tar").exists()
        resumed = run(tmp_path / "out", workers=workers)
        assert content(tmp_path / "out") == content(tmp_path / "undisturbed")
        assert (resumed.max_distance, resumed.mean_distance) == (first.max_distance, first.mean_distance)
        again = run(tmp_path / "out")
        assert (again.max_distance, again.mean_distance) == (first.max_distance, first.mean_distance)

    def test_a_damaged_shard_is_made_again(self, tmp_path):
        run(tmp_path / "out", BUNDLE)
        expected = content(tmp_path / "out")
        (tmp_path / "out/shard-000001.tar").write_bytes(b"x")
        run(tmp_path / "out", BUNDLE)
        assert content(tmp_path / "out") == expected

    def test_progress_advances_with_every_batch(self, tmp_path):
        seen = []
        run(tmp_path / "out", progress=lambda done, total: seen.append(done))
        assert seen == [0, 3, 6, 7, 10, 13, 14, 17, 20]


class TestPlan:
    @pytest.mark.parametrize(
        "change",
        [{"batch_size": 4}, {"steps": 4}, {"eps": 0.6}, {"reproject": True}, {"precision": torch.bfloat16}],
        ids=lambda change: next(iter(change)),
    )
    def test_other_settings_are_another_plan(self, tmp_path, change):
        run(tmp_path / "out")
        with pytest.raises(ExportError, match="another plan: .* was .*, is "):
            run(tmp_path / "out", transform=make(**change))

    def test_other_weights_are_another_plan(self, tmp_path):
        run(tmp_path / "out")
        model = Tiny()
        model.body[1].running_var *= 1.5
        with pytest.raises(ExportError, match="another plan: .* was .*, is "):
            run(tmp_path / "out", transform=make(model=model))

    def test_another_model_with_the_same_class_name_and_weights(self, tmp_path):
        run(tmp_path / "out")
        model = Tiny()
        model.body[2] = nn.Tanh()
        with pytest.raises(ExportError, match="do not give what"):
            run(tmp_path / "out", transform=make(model=model))

    def test_manifest_and_reports(self, tmp_path):
        result = run(tmp_path / "out", BUNDLE)
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        assert manifest["security_claim"] == "obfuscation"
        assert manifest["distance"] == {"max": result.max_distance, "mean": result.mean_distance}
        parts = [shard["distance"] for shard in manifest["shards"]]
        assert max(part["max"] for part in parts) == result.max_distance
        mean = sum(part["mean"] * shard["count"] for part, shard in zip(parts, manifest["shards"])) / 20
        assert mean == pytest.approx(result.mean_distance)
        assert data.verify(tmp_path / "out", BUNDLE).proofs == ("hmac",)
        everything = b"".join(content(tmp_path / "out").values())
        for secret in (BUNDLE.subkey("manifest").hex(), str(KEY.targets.tolist()), str(KEY.targets[:, 0].tolist())):
            assert secret.encode() not in everything

    def test_sealed(self, tmp_path):
        """The open manifest, with its distances, is sealed; the public one has none."""
        pytest.importorskip("pyrage")
        recipient = envelope.generate_identity(tmp_path / "identity")
        result = run(tmp_path / "out", BUNDLE)
        assert run(tmp_path / "sealed", BUNDLE, recipients=[recipient], workers=2).max_distance == result.max_distance
        assert "distance" not in json.loads((tmp_path / "sealed/manifest.json").read_text())
        data.open_export(tmp_path / "sealed", tmp_path / "opened", identity=tmp_path / "identity")
        assert content(tmp_path / "opened") == content(tmp_path / "out")

    def test_disguises_have_no_distance(self, tmp_path):
        covered = make_bundle("aes")
        reports = []
        out = tmp_path / "out"

        def look(done, total):
            reports.extend(path.read_text() for path in out.glob("report-*.json"))

        result = data.export(
            Pictures(20), out, transform=transforms.from_key(covered), key=covered, shard_size=7, progress=look
        )
        assert result.max_distance is result.mean_distance is None
        assert reports
        for text in (*reports, (out / "manifest.json").read_text(), (out / "plan.json").read_text()):
            assert "distance" not in text


class TestRefusals:
    @pytest.mark.parametrize("source", ["label", "random"])
    def test_missing_labels(self, tmp_path, source):
        with pytest.raises(LabelError, match="sample 0 has no label.*target_source='predicted'"):
            run(tmp_path / "out", KEY, [make_image(1, 16, 16)], make(target_source=source))
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("last", "message"), [(None, "1 of 6 images has no label, such as 5 in "), (b"10", "class 10 of sample 5")]
    )
    def test_labels_of_a_source_are_checked_before_anything_is_written(self, tmp_path, last, message):
        members = {}
        for n in range(6):
            members[f"{n}.png"] = png(make_image(1, 16, 16, seed=n))
            if n < 5 or last is not None:
                members[f"{n}.cls"] = b"%d" % n if n < 5 else last
        source = data.open_source(str(write_tar(tmp_path / "in.tar", members)))
        with pytest.raises(LabelError, match=message):
            run(tmp_path / "out", KEY, source)
        assert not (tmp_path / "out").exists()
        if last is not None:
            assert run(tmp_path / "out", KEY, source, make(target_source="predicted")).images == 6

    def test_more_classes_in_a_folder_than_in_the_key(self, tmp_path):
        few = keys.CorrespondenceKey.generate(classes=2)
        source = data.open_source(str(write_folder(tmp_path / "in", classes=3, each=2, mode="L")))
        with pytest.raises(LabelError, match=r"class 2 of sample .*/class2/.* has no target class: .* 0\.\.1"):
            run(tmp_path / "out", few, source)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("workers", [0, 2])
    @pytest.mark.parametrize(("label", "message"), [(None, "no label"), (12, "no target class")])
    def test_a_wrong_label_is_located(self, tmp_path, workers, label, message):
        dataset = [(make_image(1, 16, 16, seed=n), n if n != 5 else label) for n in range(8)]
        with pytest.raises(LabelError, match=f"sample 5.*{message}"):
            run(tmp_path / "out", KEY, dataset, workers=workers)
        assert not [name for name in content(tmp_path / "out") if name.endswith(".tmp")]

    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_model_that_does_not_take_the_images(self, tmp_path, workers):
        with pytest.raises(ModelError, match="the model fails on these images"):
            run(tmp_path / "out", dataset=Pictures(20, 3), workers=workers)
        assert not (tmp_path / "out").exists()

    def test_scores_that_are_nan_later_on(self, tmp_path):
        class Dizzy(Tiny):
            def forward(self, images):
                return super().forward(images) / (images.shape[0] == 1)  # not for the first image alone

        with pytest.raises(ModelError, match="and others in its batch: .* NaN or infinite"):
            run(tmp_path / "out", transform=make(model=Dizzy()))
        assert sorted(content(tmp_path / "out")) == ["plan.json"]

    def test_a_model_that_draws(self, tmp_path):
        class Noisy(Tiny):
            def forward(self, images):
                return super().forward(images + 0.1 * torch.rand_like(images))

        with pytest.raises(ExportError, match="drew random numbers"):
            run(tmp_path / "out", transform=make(model=Noisy()))
        assert not (tmp_path / "out").exists()

    def test_a_model_without_deterministic_algorithms(self, tmp_path):
        class Loose(Tiny):
            def forward(self, images):
                torch.zeros(3).put_(torch.tensor([0, 0]), torch.ones(2), accumulate=False)  # no deterministic kind
                return super().forward(images)

        with pytest.raises(ModelError, match="cannot be run repeatably"):
            run(tmp_path / "out", transform=make(model=Loose()))

    def test_a_model_on_an_accelerator_takes_no_workers(self, tmp_path):
        with pytest.raises(InputRangeError, match="take workers=0"):
            run(tmp_path / "out", transform=make(model=Tiny().to("meta")), workers=1)

    @pytest.mark.parametrize("workers", [0, 2])
    def test_unreadable_images_are_skipped(self, tmp_path, workers):
        root = write_folder(tmp_path / "in", classes=2, each=5, mode="L")
        (root / "class1" / "3.png").write_bytes(b"broken")
        source = data.open_source(str(root))
        result = run(tmp_path / "out", dataset=source, workers=workers, on_error="skip")
        assert result.skipped == ("class1/3.png",)
        assert result.images == 9


PROGRAM = """
import sys
from test_adversarial_export import export_60
from torchprotect import keys

if __name__ == "__main__":
    export_60(sys.argv[2], keys.load(sys.argv[1]), int(sys.argv[3]))
"""


def export_60(out, bundle, workers):
    transform = make(bundle, steps=20)
    data.export(Pictures(60), out, transform=transform, key=bundle, shard_size=7, workers=workers)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")
def test_killed_half_way_and_resumed(tmp_path):
    bundle = keys.KeyBundle(PASTE, None, BUNDLE.labels)
    keys.save(bundle, tmp_path / "key")
    (tmp_path / "program.py").write_text(PROGRAM)
    folders = [os.path.dirname(__file__), os.path.dirname(os.path.dirname(__file__))]
    command = [sys.executable, str(tmp_path / "program.py"), str(tmp_path / "key"), str(tmp_path / "out"), "2"]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join([*folders, *sys.path])})
    export_60(tmp_path / "undisturbed", bundle, 0)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out" / "shard-000002.tar").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    for _ in range(200):  # the workers end with their parent, and let go of the folder
        expected, left = content(tmp_path / "undisturbed"), content(tmp_path / "out")
        assert "manifest.json" not in left
        for name, body in left.items():
            if not name.endswith(".tmp") and not name.startswith("report-"):
                assert body == expected[name], f"{name} is not whole"
        try:
            export_60(tmp_path / "out", bundle, 1)
            break
        except ExportError as error:
            if "in use" not in str(error):
                raise
            time.sleep(0.05)
    assert content(tmp_path / "out") == expected


@pytest.mark.usefixtures("one_thread")
def test_in_a_bucket_and_in_parts(tmp_path):
    """Bits may differ between machines, so no report says by a tag that a shard is the one its machine made."""
    run(tmp_path / "out")
    place = f"memory://perturbed/{tmp_path.name}"
    run(place, part=(1, 2))
    store = open_store(place)
    assert "tag" not in json.loads(store.read("report-000001.json", 1 << 20))
    run(place)
    assert {name: store.read(name, 1 << 30) for name in store.entries()} == content(tmp_path / "out")


@pytest.mark.usefixtures("one_thread")
def test_a_shard_that_another_machine_has_replaced_is_made_again(tmp_path):
    run(tmp_path / "out")
    place = f"memory://perturbed/{tmp_path.name}"
    run(place, part=(1, 2))
    store = open_store(place)
    body = store.read("shard-000001.tar", 1 << 30)
    with store.write("shard-000001.tar") as upload:
        upload.file.write(body[:-1] + b"x")
    run(place)
    assert store.read("shard-000001.tar", 1 << 30) == body
    assert data.verify(place, KEY).images == 20
