"""Every snippet of the manual runs, but for those that a comment on the page skips; what some pages make is checked."""

import json
from pathlib import Path

import pytest
from snippets import pages_with_snippets, run_command, run_page
from support import content

CHECKED = ("README", "index", "photographs", "restore", "replacing-keys", "predict", "buckets")  # by tests below
CHECKED += ("training", "torchrun", "kornia", "lightning", "timm", "hugging-face")  # in test_training_pages.py


SLOW = ("audit", "ci-gate", "command-line", "attacks-adversarial", "envelope", "choose")


def marked(page):
    return pytest.param(page, marks=pytest.mark.slow) if Path(page).stem in SLOW else page


@pytest.mark.parametrize("page", [marked(page) for page in pages_with_snippets() if Path(page).stem not in CHECKED])
def test_snippets_run(page, folder):
    run_page(page)


@pytest.mark.slow
def test_readme(folder):
    run_page("README.md")
    assert {"my.key", "protected", "report.html", "report.json"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_the_network_of_the_landing_page_learns(folder, capsys):
    run_page("docs/index.md")
    assert float(capsys.readouterr().out) > 0.31  # of the most frequent class


@pytest.mark.slow
def test_photographs(folder):
    run_page("docs/guides/photographs.md")
    levels = json.loads(Path("report.json").read_text())["verdict"]["levels"]
    assert {level: levels[level]["severity"] for level in ("L1", "L2")} == {"L1": "severe", "L2": "severe"}


def test_restore(folder):
    """The page compares the pictures with the plain ones; here other disguises give the same pictures back."""
    run_page("docs/guides/restore.md")
    restored = content(Path("back"))
    assert len(restored) == len(list(Path("photos").rglob("*.*g")))
    for scheme in ("aes-ecb --permute", "block-permute"):
        name = scheme.split()[0]
        run_command(f"torchprotect keygen {scheme} -o {name}.key --image-size 64x64 --block-size 8x8 --labels 7")
        options = "--exif --mode rgb --resize 64x64 --workers 2"
        run_command(f"torchprotect export photos/ {name}/ --key {name}.key {options}")
        run_command(f"torchprotect restore {name}/ back-{name}/ --key {name}.key")
        assert content(Path(f"back-{name}")) == restored


def test_replacing_keys(folder):
    run_page("docs/guides/replacing-keys.md")
    run_command("torchprotect verify protected-new/ --key new.key")
    run_command("torchprotect verify both-new/train both-new/test --key new.key")


def test_predictions(folder):
    run_page("docs/guides/predict.md")
    assert {"my.key", "protected", "photos.model", "live.model"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_buckets(folder, s3_server):
    run_page("docs/guides/buckets.md")
    assert any(each.startswith("PUT /bucket/protected/manifest.json") for each in s3_server.requests)
