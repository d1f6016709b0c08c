"""Perturbing from the command line: keys, models by name, exports, and what goes wrong."""

import json
import re
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file, save_model
from support import content, write_folder
from test_cli import call

from torchprotect import data, keys

MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(width * 49, 3)

    def forward(self, images):
        return 5 * self.head(self.body(images))

def make(): return Net()
def wide(): return Net(5)
def nothing(): return 3
def broken(): raise KeyError("width")
name = "make"
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A package with a factory on the path, and its weights."""
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("")
    (tmp_path / "nets" / "small.py").write_text(MODULE)
    (tmp_path / "nets" / "bad.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("nets", "nets.small", "nets.bad"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    from nets import small

    torch.manual_seed(0)
    save_model(small.make(), str(tmp_path / "weights.safetensors"))
    yield ["--model", "nets.small:make", "--weights", tmp_path / "weights.safetensors"]
    for name in ("nets", "nets.small", "nets.bad"):
        sys.modules.pop(name, None)


@pytest.fixture
def source(tmp_path):
    return write_folder(tmp_path / "in", classes=3, each=4)


@pytest.fixture
def key(tmp_path):
    call("keygen", "adversarial", "-o", tmp_path / "key", "--classes", 3, "--targets", 2, "--labels", 3)
    return tmp_path / "key"


class TestKeygen:
    @pytest.mark.parametrize(
        ("options", "targets", "mix_mode"),
        [
            (["--classes", 10], 1, "concat"),
            (["--classes", 10, "--targets", 3], 3, "concat"),
            (["--classes", 10, "--targets", 4, "--mix-mode", "mixup-and-concat"], 4, "mixup-and-concat"),
            (["--classes", 5, "--targets", 2, "--mix-mode", "random-square"], 2, "random-square"),
            (["--preset", "basic"], 1, "concat"),
            (["--preset", "mri"], 2, "concat"),
            (["--preset", "mixup-and-concat"], 4, "mixup-and-concat"),
        ],
    )
    def test_correspondences(self, tmp_path, options, targets, mix_mode):
        done = call("keygen", "adversarial", "-o", tmp_path / "key", *options)
        key = keys.load(tmp_path / "key")
        assert type(key) is keys.CorrespondenceKey
        assert (key.targets.shape[1], key.mix_mode) == (targets, mix_mode)
        assert repr(key) in done.stdout
        shown = call("inspect", tmp_path / "key").stdout
        assert re.search(r"kind: +correspondence\n", shown)
        assert re.search(rf"targets: +{targets}\n", shown)
        assert re.search(rf"way: +{mix_mode}\n", shown)
        assert str(key.targets[0].tolist()) not in shown

    def test_bundles_with_labels_and_passphrases(self, tmp_path, key):
        bundle = keys.load(key)
        assert type(bundle.transform) is keys.CorrespondenceKey
        assert bundle.labels.classes == 3
        assert bundle.permutation is None
        assert '"kind": "correspondence"' in call("inspect", key).stdout
        (tmp_path / "pass").write_text("sesame\n")
        options = ["--preset", "basic", "--passphrase-file", tmp_path / "pass"]
        call("keygen", "adversarial", "-o", tmp_path / "wrapped", *options)
        assert keys.load(tmp_path / "wrapped", "sesame").kind == "correspondence"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["adversarial"], "adversarial needs --classes N or --preset NAME"),
            (["adversarial", "--classes", "1"], "--classes"),
            (["adversarial", "--classes", "3", "--image-size", "16x16"], "takes no --image-size"),
            (["adversarial", "--classes", "3", "--permute"], "takes no --permute"),
            (["adversarial", "--classes", "3", "--bits", "128"], "takes no --bits"),
            (["adversarial", "--preset", "basic", "--classes", "10"], "give --preset without them"),
            (["adversarial", "--preset", "mine"], "mine"),
            (["adversarial", "--classes", "3", "--mix-mode", "cutmix"], "give their number with --targets"),
            (["rmt"], "rmt needs --image-size and --block-size"),
            (["aes-ecb", "--image-size", "16x16"], "aes-ecb needs --block-size"),
            (["block-permute", "--image-size", "16x16", "--block-size", "4x4", "--classes", "3"], "no --classes"),
            (["block-permute", "--image-size", "16x16", "--block-size", "4x4", "--permute"], "no --permute"),
        ],
    )
    def test_usage_errors(self, tmp_path, arguments, message):
        shown = call("keygen", *arguments, "-o", tmp_path / "key", code=2).output
        assert message in " ".join(shown.replace("│", " ").split())
        assert not (tmp_path / "key").exists()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--classes", 3, "--targets", 3], "from 1 to 2"),
            (["--classes", 9, "--targets", 3, "--mix-mode", "cutmix"], "cutmix mixes 2 targets"),
        ],
    )
    def test_maps_that_cannot_be(self, tmp_path, options, message):
        assert message in call("keygen", "adversarial", "-o", tmp_path / "key", *options, code=1).stderr
        assert not (tmp_path / "key").exists()


SHORT = ["--steps", 3, "--shard-size", 5]


class TestExport:
    def test_from_images_to_verified_shards(self, tmp_path, source, key, model):
        options = [*model, *SHORT, "--batch-size", 2]
        done = call("export", source, tmp_path / "out", "--key", key, *options)
        pattern = (
            r".*out: 12 images in 3 shards, 0\.1 MB, L2 distance at most (0\.\d{3}), mean 0\.\d{3}, 0 skipped, "
            r".* s; digest \w{64}\n"
        )
        (most,) = re.fullmatch(pattern, done.stdout).groups()
        assert 0.1 < float(most) < 0.8
        call("export", source, tmp_path / "again", "--key", key, *options, "--workers", 2)
        assert content(tmp_path / "out") == content(tmp_path / "again")
        assert "manifest was checked by its HMAC" in call("verify", tmp_path / "out", "--key", key).stdout
        shown = call("inspect", tmp_path / "out").stdout
        assert "AdversarialEncrypt" in shown
        assert re.search(r'distance: +{"max": 0\.\d+, "mean": 0\.\d+}', shown)
        assert len(list(data.read(tmp_path / "out"))) == 12

    def test_the_papers_settings_by_default(self, tmp_path, source, key, model, monkeypatch):
        from torchprotect.transforms import adversarial

        one_step = dict.fromkeys(["eps", "step_size"], 0.1) | {"steps": 1}
        settings = adversarial.PGDSettings

        def quick(eps, step_size, steps, **options):
            assert (eps, step_size, steps) == (0.5, 0.1, 100)
            return settings(**one_step, **options)

        monkeypatch.setattr(adversarial, "PGDSettings", quick)
        call("export", source, tmp_path / "out", "--key", key, *model)

    def test_options_reach_the_plan(self, tmp_path, source, key, model):
        options = ["--eps", 0.7, "--step-size", 0.3, "--steps", 2, "--target-source", "predicted", "--batch-size", 4]
        options += ["--precision", "bfloat16", "--reproject", "--device", "cpu"]
        call("export", source, tmp_path / "out", "--key", key, *model, *options)
        (step,) = json.loads((tmp_path / "out/plan.json").read_text())["transform"]
        expected = {"eps": 0.7, "step_size": 0.3, "steps": 2, "target_source": "predicted", "batch_size": 4}
        expected |= {"precision": "bfloat16", "reproject": True, "device": "cpu", "way": "concat", "targets": 2}
        assert step | expected == step

    @pytest.mark.slow
    def test_as_a_process_of_its_own(self, tmp_path, source, key, model):
        """The current folder is looked in, and an error is one line."""
        command = [sys.executable, "-P", "-m", "torchprotect", "export", "in", "out", "--key", "key", "--steps", "2"]
        if sys.version_info < (3, 11):
            command.remove("-P")
        named = ["--model", "nets.small:make", "--weights", "weights.safetensors"]
        done = subprocess.run([*command, *named], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "12 images in 1 shard" in done.stdout
        named[1] = "nets.small:broken"
        failed = subprocess.run([*command, *named], capture_output=True, text=True, cwd=tmp_path)
        assert failed.returncode == 1
        assert failed.stderr == "error: nets.small:broken failed: KeyError: 'width'\n"


class TestWrongModels:
    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("nets.small", "package.module:factory, got 'nets.small'"),
            (":make", "package.module:factory"),
            ("nets.none:make", "cannot import nets.none: ModuleNotFoundError"),
            ("nets.bad:make", "cannot import nets.bad: ModuleNotFoundError: No module named 'no_such_package'"),
            ("nets.small:none", "module nets.small has no function none"),
            ("nets.small:name", "module nets.small has no function name"),
            ("nets.small:nothing", "must return a torch.nn.Module, got int"),
            ("nets.small:broken", "nets.small:broken failed: KeyError: 'width'"),
            ("nets.small:wide", "do not match the model: .*size mismatch"),
        ],
    )
    def test_factories(self, tmp_path, source, key, model, name, message):
        failed = call("export", source, tmp_path / "out", "--key", key, "--model", name, *model[2:], code=1)
        assert re.search(message, failed.stderr)
        assert len(failed.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()

    def test_weights(self, tmp_path, source, key, model):
        from safetensors.torch import load_file

        whole = load_file(tmp_path / "weights.safetensors")
        cases = {
            "missing": ({k: v for k, v in whole.items() if k != "head.bias"}, r"missing head\.bias$"),
            "unexpected": ({**whole, "extra": torch.zeros(1)}, "unexpected extra$"),
            "nothing": ({}, r"missing body\.0\.bias, body\.0\.weight, body\.1\.bias and 5 more$"),
        }
        for name, (weights, message) in cases.items():
            save_file(weights, tmp_path / name)
            failed = call("export", source, tmp_path / "out", "--key", key, *model[:3], tmp_path / name, code=1)
            assert re.search(message, failed.stderr.strip())
        torch.save(whole, tmp_path / "pickled")
        for name, message in (("pickled", "pickled weights are refused"), ("nowhere", "there are no weights at")):
            failed = call("export", source, tmp_path / "out", "--key", key, *model[:3], tmp_path / name, code=1)
            assert message in failed.stderr
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("device", ["warp", "cuda:99"])
    def test_devices(self, tmp_path, source, key, model, device):
        failed = call("export", source, tmp_path / "out", "--key", key, *model, "--device", device, code=1)
        assert f"cannot use device '{device}'" in failed.stderr

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--noise", 3], "an adversarial key cannot be combined with --noise"),
            (["--unit-pixels", 4, "--salt-pepper", 0.1], "cannot be combined with --salt-pepper, --unit-pixels"),
        ],
    )
    def test_options_of_blocks(self, tmp_path, source, key, model, options, message):
        assert message in call("export", source, tmp_path / "out", "--key", key, *model, *options, code=1).stderr

    @pytest.mark.parametrize("given", [0, 2])
    def test_half_a_model(self, tmp_path, source, key, model, given):
        failed = call("export", source, tmp_path / "out", "--key", key, *model[given : given + 2], code=1)
        assert "needs --model package.module:factory and --weights" in failed.stderr

    @pytest.mark.parametrize("options", [["--eps", 1], ["--reproject"], ["--model", "nets.small:make"]])
    def test_model_options_with_a_key_of_blocks(self, tmp_path, source, options):
        call("keygen", "rmt", "-o", tmp_path / "rmt", "--image-size", "16x16", "--block-size", "4x4", "--labels", 3)
        failed = call("export", source, tmp_path / "out", "--key", tmp_path / "rmt", *options, code=1)
        assert f"a key of kind rmt cannot be combined with {options[0]}" in failed.stderr

    def test_more_classes_than_the_key_has(self, tmp_path, model):
        many = write_folder(tmp_path / "many", classes=4, each=1)
        call("keygen", "adversarial", "-o", tmp_path / "few", "--classes", 3)
        failed = call("export", many, tmp_path / "out", "--key", tmp_path / "few", *model, *SHORT, code=1)
        assert "class3/0.png has no target class: the key's map covers 0..2" in failed.stderr
        assert not (tmp_path / "out").exists()
