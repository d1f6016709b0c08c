"""The tutorials run as they stand, and reach the conclusions that their text draws."""

import os
import re

import pytest
from scripts import run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_window(monkeypatch):
    pytest.importorskip("matplotlib", reason="the extra `audit` is not installed")
    monkeypatch.setenv("MPLBACKEND", "agg")


def numbers(pattern, printed):
    """Return the groups of the one match of a pattern as numbers."""
    (found,) = re.findall(pattern, printed)
    return [float(each) for each in (found if isinstance(found, tuple) else (found,))]


def test_train(tmp_path):
    printed = run("tutorials/1_train.py", cwd=tmp_path)
    right, images = numbers(r"(\d+) of (\d+) test photographs are named correctly", printed)
    (most_frequent,) = numbers(r"most frequent class: (\d+)", printed)
    assert images == 40
    assert right > most_frequent
    assert os.listdir(tmp_path) == []


def test_export(tmp_path):
    printed = run("tutorials/2_export.py", cwd=tmp_path)
    assert "train: 159 images in 8 shards" in printed
    assert "159 images verified" in printed
    assert "40 of 40 photographs restored pixel by pixel" in printed


def test_cloud(tmp_path):
    printed = run("tutorials/3_cloud.py", cwd=tmp_path)
    both, embedding, cloud = (
        numbers(rf"{name} +([\d.]+)%", printed)[0] for name in ("embedding and cloud", "embedding only", "cloud only")
    )
    assert both > cloud + 10
    assert embedding > both - 10  # so the cloud adds next to nothing, as the page says
    assert "1,200 scrambled images sent" in printed


def test_leaks(tmp_path):
    printed = run("tutorials/4_leaks.py", cwd=tmp_path)
    (leakage,) = numbers(r"leakage at L1 is ([\d.]+)%, at most 20.0% is allowed", printed)
    assert leakage > 90
    (linked,) = numbers(r"linkage_attack \(L1\): found the protected version of (\d+) of 300", printed)
    assert linked > 270
