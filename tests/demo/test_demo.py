import re

import PIL.Image
import pytest
import torch
from support import content, write_folder, write_tar

from torchprotect import data, demo, keys
from torchprotect.demo import SAMPLE
from torchprotect.demo._blocks import choose_block
from torchprotect.demo._measure import wilson
from torchprotect.errors import BlockSizeError, ExportError


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The whole demo on a user's own 60 images: three classes that differ in brightness."""
    folder = tmp_path_factory.mktemp("demo")
    for label in range(3):
        (folder / "in" / f"class{label}").mkdir(parents=True)
        for n in range(20):
            noise = torch.randint(0, 60, (16, 16), generator=torch.Generator().manual_seed(n)).byte()
            PIL.Image.fromarray((noise + 90 * label).numpy()).save(folder / "in" / f"class{label}" / f"{n}.png")
    lines = []
    return demo.run(folder / "out", str(folder / "in"), say=lines.append), lines


def test_bundled_sample_is_2000_real_images():
    source = data.open_source(SAMPLE)
    assert len(source) == 2000
    labels = torch.tensor([source[i].label for i in range(2000)])
    assert labels.bincount().tolist() == [200] * 10
    assert source[0].image.shape == (1, 28, 28)


def test_bundled_sample_is_part_of_the_real_set(real):
    sample, whole = data.open_source(SAMPLE), data.open_source(f"fashion-mnist:{real}")
    known = {bytes(whole[i].image.flatten().tolist()): whole[i].label for i in range(3000)}
    assert all(known[bytes(sample[i].image.flatten().tolist())] == sample[i].label for i in range(2000))


def test_shards_keys_and_table(result):
    done, lines = result
    assert [row.name for row in done.rows] == ["plain", "BlockPermute", "AESECBDisguise", "RMTDisguise"]
    for row in done.rows[1:]:
        key = keys.load(done.folder / "keys" / f"{row.folder}.safetensors")
        assert data.verify(done.folder / "shards" / row.folder, key).images == 60
    for row in done.rows:
        assert 0 <= row.low <= row.accuracy <= row.high <= 1
    assert done.rows[0].accuracy > 0.6
    assert len(lines) == 7


def test_page_is_one_file_with_its_pictures(result):
    page = result[0].page.read_text()
    outside = re.sub(r"data:image/png;base64,[^\"]+", "data:", page)
    assert not re.search(r"(src|href)=.(?!data:)|http|url\(|<script|@import", outside)
    assert "obfuscation" in page
    for row in result[0].rows:
        assert f'>{row.name}</td><td class=n data-is="test accuracy">{row.accuracy:.1%}</td>' in page
    grid = PIL.Image.open(result[0].folder / "grid.png")
    assert grid.size == (4 * 118 + 6, 22 + 6 * 118 + 6)
    assert len(grid.getcolors(1 << 20)) > 50


def test_folder_is_new_or_empty(result, tmp_path):
    (tmp_path / "x").write_text("x")
    with pytest.raises(ExportError, match="not empty"):
        demo.run(tmp_path)
    assert content(tmp_path) == {"x": b"x"}


def test_unsuitable_sources_are_refused(tmp_path):
    write_folder(tmp_path / "few", classes=2, each=2)
    with pytest.raises(ExportError, match="at least ten images"):
        demo.run(tmp_path / "out", str(tmp_path / "few"))
    write_folder(tmp_path / "mixed", classes=2, each=6)
    PIL.Image.new("RGB", (20, 20)).save(tmp_path / "mixed" / "class0" / "x.png")
    with pytest.raises(ExportError, match="of one size"):
        demo.run(tmp_path / "out", str(tmp_path / "mixed"))
    from support import make_image, png

    write_tar(tmp_path / "x.tar", {f"{n}.png": png(make_image(1, 16, 16)) for n in range(12)})
    with pytest.raises(ExportError, match="all with labels"):
        demo.run(tmp_path / "out", str(tmp_path / "x.tar"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("size", "unit", "block"),
    [((28, 28), 16, (4, 4)), ((32, 32), 16, (4, 4)), ((224, 224), 16, (32, 32)), ((30, 30), 2, (5, 6))],
)
def test_blocks(size, unit, block):
    assert choose_block(size, unit) == block


def test_no_blocks():
    with pytest.raises(BlockSizeError, match="resize"):
        choose_block((29, 31))


def test_wilson_interval():
    low, high = wilson(0.5, 100)
    assert (round(low, 3), round(high, 3)) == (0.404, 0.596)  # textbook value
    assert wilson(1.0, 10)[1] == pytest.approx(1.0)
