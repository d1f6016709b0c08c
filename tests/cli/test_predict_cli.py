"""``torchprotect predict``, and what other commands do with model files."""

import json
import re
import sys

import pytest
import torch
from support import write_folder
from torch import nn

from torchprotect import keys, predict, transforms

NETS = """
import torch
from torch import nn

def seeded(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 20), nn.ReLU(), nn.Linear(20, 4))

def make():
    return seeded(1)

def original():
    return seeded(0)
"""


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 20), nn.ReLU(), nn.Linear(20, 4))


@pytest.fixture
def trained(call, tmp_path, monkeypatch):
    """A folder with photos, a key, an export, a model file and its architecture."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "predicted_nets", raising=False)
    write_folder(tmp_path / "photos", classes=4, each=3, size=(20, 24))
    (tmp_path / "predicted_nets.py").write_text(NETS)
    call("keygen rmt -o my.key --image-size 16x16 --block-size 4x4 --permute --labels 4")
    call("export photos out --key my.key --noise 10 --mode rgb --resize 16x16")
    predict.save(network(), tmp_path / "model", like=tmp_path / "out", mean=0.5, std=0.25)
    return tmp_path


COMMAND = "predict model photos/class0/0.png photos/class3/1.png --key my.key --model predicted_nets:make"


def expected(folder):
    key = keys.load(folder / "my.key")
    predictor = predict.Predictor.load(folder / "model", key=key, network=network, export=folder / "out")
    return [predictor(folder / "photos" / name) for name in ("class0/0.png", "class3/1.png")]


def test_a_line_for_each_picture(call, trained):
    lines = call(f"{COMMAND} --classes-of out").stdout.splitlines()
    answers = expected(trained)
    assert lines == [
        f"photos/class0/0.png  {answers[0].name} {answers[0].score:.3f}",
        f"photos/class3/1.png  {answers[1].name} {answers[1].score:.3f}",
    ]
    assert answers[0].name.startswith("class")


def test_numbers_where_names_are_not_known(call, trained):
    answer = expected(trained)[0]
    line = call(f"{COMMAND} --top 2").stdout.splitlines()[0]
    best, second = answer.top(2)
    assert line == f"photos/class0/0.png  {best.label} {best.score:.3f}, {second.label} {second.score:.3f}"


def test_json_lines(call, trained):
    (trained / "names").write_text("zero\none\ntwo\nthree\n")
    lines = call(f"{COMMAND} --class-names names --json --top 9").stdout.splitlines()
    for line, answer in zip(lines, expected(trained), strict=True):
        told = json.loads(line)
        assert (told["label"], told["name"]) == (answer.label, ["zero", "one", "two", "three"][answer.label])
        assert told["score"] == pytest.approx(answer.score, abs=1e-6)
        assert [each["label"] for each in told["classes"]] == [each.label for each in answer.top(4)]


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_picture_that_cannot_be_used(call, trained, on_error):
    (trained / "bad.png").write_bytes((trained / "photos/class0/0.png").read_bytes()[:60])
    line = COMMAND.replace("photos/class3/1.png", "bad.png photos/class3/1.png")
    result = call(f"{line} --json --on-error {on_error}", code=1)
    told = [json.loads(each)["picture"] for each in result.stdout.splitlines()]
    assert told == ["photos/class0/0.png", "photos/class3/1.png"][: 1 if on_error == "stop" else 2]
    assert "bad.png" in result.stderr
    assert ("1 of 3 pictures could not be used" in result.stderr) == (on_error == "skip")


def test_what_a_factory_prints_stands_apart(call, trained):
    (trained / "predicted_nets.py").write_text(NETS.replace("return seeded(1)", "print('made'); return seeded(1)"))
    result = call(f"{COMMAND} --json")
    assert [json.loads(line)["label"] for line in result.stdout.splitlines()]
    assert "made" in result.stderr


def test_a_threshold(call, trained):
    line = call(f"{COMMAND} --threshold 1").stdout.splitlines()[0]
    assert line == "photos/class0/0.png  none"


def test_another_key(call, trained):
    call("keygen rmt -o other.key --image-size 16x16 --block-size 4x4 --permute --labels 4")
    result = call(COMMAND.replace("my.key", "other.key"), code=1)
    assert "model was made with key" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("predict model", "predict my.key", "is not a torchprotect model file"),
        ("predicted_nets:make", "predicted_nets:none", "has no function none"),
        ("class3/1.png", "../my.key", "my.key"),
        ("--key", "--classes-of photos --key", "is not a finished export"),
        ("--key", "--class-names my.key --key", "my.key is not UTF-8 text"),
        ("--key", "--class-names predicted_nets.py --key", "a class name is empty"),
    ],
)
def test_what_it_refuses(call, trained, old, new, message):
    result = call(COMMAND.replace(old, new), code=1)
    assert re.search(message, result.stderr)
    assert len(result.stderr.splitlines()) == 1


def test_inspect_describes_a_model_file(call, trained):
    told = call("inspect model").stdout
    for line in (
        "kind:           model file",
        "security claim: obfuscation",
        "classes:        4",
        "mean:           0.5",
    ):
        assert line in told
    assert keys.load(trained / "my.key").fingerprint in told


def test_an_audit_of_a_matched_network(call, trained):
    key = keys.load(trained / "my.key")
    with pytest.warns(UserWarning, match="contains the key"):
        matched = predict.match_key(network(), transforms.from_key(key, noise=10), mean=0.5, std=0.25, scale=255)
    predict.save(matched, trained / "matched", like=trained / "out", mean=0, std=1 / 255, plain_labels=True)
    write_folder(trained / "more", classes=4, each=6, size=(20, 24))
    call("export more many --key my.key --noise 10 --mode rgb --resize 16x16")
    line = "audit many --plain more --key my.key --report report.html --fast --attack read_key_from_weights"
    call(f"{line} --matched matched --original predicted_nets:original --original-std 0.25")
    (found,) = json.loads((trained / "report.json").read_text())["findings"]
    assert found["attack"] == "read_key_from_weights"
    assert found["level"] == "L1"
    assert found["leakage"] > 0.8
    assert "none: the weights contain the key" in call("inspect matched").stdout
    for arguments, message in (
        ("--matched matched", "--matched and --original go together"),
        ("--matched model --original predicted_nets:original", "was not matched to a key"),
        ("--matched matched --original predicted_nets:original --original-std x", "--original-std takes numbers"),
        ("--matched matched --original predicted_nets:original --original-std 1,2", "--original-std takes 1 or 3"),
        ("--matched matched --original predicted_nets:original --limit 20", "was not run on the matched network"),
    ):
        asked = line if "--limit" not in arguments else line.replace("--key my.key ", "")
        assert message in call(f"{asked} {arguments}".replace("report.html", "other.html"), code=1).stderr
    call("keygen rmt -o other.key --image-size 16x16 --block-size 4x4 --permute --labels 4")
    call("export more others --key other.key --noise 10 --mode rgb --resize 16x16")
    other = line.replace("many", "others").replace("my.key", "other.key").replace("report.html", "third.html")
    told = call(f"{other} --matched matched --original predicted_nets:original", code=1).stderr
    assert "was matched to a key or settings other than" in told
    call(line.replace("report.html", "none.html"), code=1)
    (told,) = [
        each
        for each in json.loads((trained / "none.json").read_text())["not_run"]
        if each["attack"] == "read_key_from_weights"
    ]
    assert "made for networks matched to the key, of which none was handed out" in told["reason"]
