"""The reproductions of "One Way Scrambling by Deconvolution" run as they stand."""

import importlib

import pytest
from scripts import REPRODUCE, read_tables, reproduce, run

TABLES = {*(f"usecase{number}" for number in range(1, 6)), "table5", "table6", "figure4"}
TABLES |= {f"attacks_{name}" for name in ("linking", "labels", "other")}


@pytest.mark.slow
def test_every_table_is_written(tmp_path):
    out = tmp_path / "out"
    assert reproduce("owsd", out).keys() == TABLES
    run("reproduce/owsd/settings.py", "--scale", "check", "--out", out, cwd=tmp_path)
    assert read_tables(out / "owsd" / "check").keys() == TABLES | {"settings"}
    pictures = [out / "owsd" / "check" / f"figure{number}.png" for number in (4, 5)]
    assert all(picture.stat().st_size > 5_000 for picture in pictures)
    for file in (out / "owsd" / "kept").iterdir():
        file.unlink()
    for picture in pictures:
        picture.unlink()
    run("reproduce/all.py", "owsd", "--scale", "check", "--out", out, cwd=tmp_path)  # with the numbers alone
    assert read_tables(out / "owsd" / "check").keys() == TABLES | {"settings"}
    assert not any(picture.exists() for picture in pictures)


def test_no_scale_has_a_cloud_that_is_an_encoder(monkeypatch):
    monkeypatch.syspath_prepend(str(REPRODUCE / "owsd"))
    world, bench = (importlib.import_module(f"owsd_{name}") for name in ("world", "bench"))
    for name, scale in world.SCALES.items():
        assert scale.sizes.encoder == scale.encoders[0] != scale.sizes.cloud, name
    with pytest.raises(SystemExit, match="efficientnet-lite1 is the cloud: an encoder must be another network"):
        bench.require_another_network("imagenet", "efficientnet-lite1", "efficientnet-lite1")
    bench.require_another_network("own", "efficientnet-lite1", "efficientnet-lite1")
