import io
import re
import runpy
import sys
from pathlib import Path

import PIL.Image
import PIL.ImageChops
import pytest

from torchprotect import data, demo
from torchprotect.demo import PHOTOGRAPHS
from torchprotect.demo._photographs import PHOTOGRAPH_SIDE, disguise_photographs
from torchprotect.demo._pictures import draw_grid

ROOT = Path(__file__).parents[2]
FOLDER = Path(PHOTOGRAPHS)
NOTICE = FOLDER.with_name("photographs-NOTICE")
FILES = sorted(path for path in FOLDER.rglob("*") if path.is_file())
CLASSES = ["animals", "energy", "fish", "household", "monuments", "tools", "windmills"]


def test_photographs_are_an_image_folder():
    source = data.open_source(PHOTOGRAPHS)
    assert len(source) == len(FILES) == 199
    samples = [source[i] for i in range(len(source))]
    assert {sample.label for sample in samples} == set(range(7))
    assert all(sample.image.shape[0] == 3 and min(sample.image.shape[1:]) == 96 for sample in samples)
    shapes = {tuple(sample.image.shape[1:]) for sample in samples}
    assert len(shapes) == 57
    assert {h > w for h, w in shapes} == {True, False}


def test_photographs_are_plain_jpegs_in_class_folders():
    assert sorted({path.parent.name for path in FILES}) == CLASSES
    assert all(re.fullmatch(r"[a-z]+/\d\d\.jpg", path.relative_to(FOLDER).as_posix()) for path in FILES)
    for path in FILES:
        with PIL.Image.open(path) as picture:
            assert picture.format == "JPEG"
            assert not picture.getexif()
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}, (
                path
            )  # no comment, no XMP
    assert sum(path.stat().st_size for path in FILES) < 2_000_000


def test_notice_names_each_photograph_with_a_free_licence():
    entry = r"^(\S+\.jpg): (public domain|CC0-1\.0), (\S.*)\n    \S+\.webp, from https://\S+$"
    named = [match[1] for match in re.finditer(entry, NOTICE.read_text(encoding="utf-8"), re.M)]
    assert named == [path.relative_to(FOLDER).as_posix() for path in FILES]


def test_notice_is_a_licence_file_of_the_package():
    assert f'"{NOTICE.relative_to(ROOT).as_posix()}"' in (ROOT / "pyproject.toml").read_text()


def test_photographs_are_disguised_under_fresh_keys():
    columns = disguise_photographs()
    again = disguise_photographs()
    assert list(columns) == ["plain", "BlockPermute", "AESECBDisguise", "RMTDisguise"]
    for name, images in columns.items():
        assert [tuple(image.shape) for image in images] == [(3, PHOTOGRAPH_SIDE, PHOTOGRAPH_SIDE)] * 6
        for plain, image, other in zip(columns["plain"], images, again[name]):
            assert plain.equal(image) == (name == "plain")
            assert image.equal(other) == (name == "plain")


@pytest.fixture
def fast_demo(monkeypatch, tmp_path):
    """The demo on 200 images of the sample, trained for one epoch."""
    monkeypatch.setattr("torchprotect.demo._run.LIMIT", 200)
    monkeypatch.setattr("torchprotect.demo._measure.EPOCHS", 1)
    return lambda source: demo.run(tmp_path / "out", source, say=lambda line: None)


def test_demo_shows_photographs_in_a_second_grid(fast_demo):
    done = fast_demo(None)
    with PIL.Image.open(done.folder / "photographs.png") as grid:
        assert grid.size == (4 * 134 + 6, 22 + 6 * 134 + 6)
        assert len(grid.getcolors(1 << 20)) > 5000
    page = done.page.read_text()
    assert re.findall(r'\salt="([^"]+)"', page) == [
        "Plain images beside their disguises",
        "Six colour photographs beside their three disguises",
    ]
    assert "photographs-NOTICE" in page


def test_demo_shows_only_the_images_of_a_given_source(fast_demo):
    done = fast_demo(demo.SAMPLE)
    assert sorted(path.name for path in done.folder.iterdir()) == ["grid.png", "index.html", "keys", "shards"]
    page = done.page.read_text()
    assert page.count("<img") == 1
    assert "Photograph" not in page


def test_titles_of_a_grid_fit_their_columns():
    columns = disguise_photographs(("animals/29",))
    blank = {" " * n: images for n, images in enumerate(columns.values(), 1)}
    for cell in (112, 128):
        titled, untitled = (_title_row(draw_grid(each, cell=cell)) for each in (columns, blank))
        assert titled.getcolors() != untitled.getcolors()
        for column in range(1, 5):
            gap = column * (cell + 6)
            assert titled.crop((gap, 0, gap + 6, 22)).getcolors() == [(6 * 22, (255, 255, 255))]


def _title_row(png: bytes) -> PIL.Image.Image:
    picture = PIL.Image.open(io.BytesIO(png))
    return picture.crop((0, 0, picture.width, 22))


def test_picture_of_the_readme(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["draw/photographs.py", str(tmp_path / "drawn.png")])
    runpy.run_path(str(ROOT / "docs" / "draw" / "photographs.py"), run_name="__main__")
    kept = ROOT / "docs" / "images" / "photographs.png"
    assert "(docs/images/photographs.png)" in (ROOT / "README.md").read_text()
    assert kept.stat().st_size < 200_000
    with PIL.Image.open(tmp_path / "drawn.png") as drawn, PIL.Image.open(kept) as shown:
        assert drawn.size == shown.size == (542, 430)
        plain = (0, 22, 6 + 128, 430)  # the only column without a key
        difference = PIL.ImageChops.difference(drawn.crop(plain), shown.crop(plain))
        assert max(high for _, high in difference.getextrema()) < 16  # JPEG decoders differ a little
