"""Run the demo from end to end: keys, exports, verification, reading back, training, pictures, page."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from torchprotect import data, keys, transforms
from torchprotect.data.keyed import keyed_order
from torchprotect.data.store import is_url
from torchprotect.demo._cases import make_cases
from torchprotect.demo._measure import EPOCHS, Row, measure
from torchprotect.demo._page import render
from torchprotect.demo._photographs import PHOTOGRAPH_SIDE, disguise_photographs
from torchprotect.demo._pictures import draw_grid
from torchprotect.errors import ExportError
from torchprotect.keys import KeyBundle

SAMPLE = f"fashion-mnist:{Path(__file__).parent / 'sample'}"
"""The bundled sample, named as a source: 2,000 Fashion-MNIST images."""

LIMIT = 2000
_SHOWN = 6
_TEST_SHARE = 5  # every fifth image is for testing

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoResult:
    """What the demo wrote: its folder, its page and the utility table."""

    folder: Path
    page: Path
    rows: list[Row]


def run(out: Path, source: str | None = None, *, say: Say = print, progress: data.Progress | None = None) -> DemoResult:
    """Run the demo and write its results to a new folder.

    Args:
        out: folder to create; must not exist, or be empty.
        source: a source as for ``torchprotect export``. ``None`` takes the bundled sample, and six of the bundled
            photographs for a second grid. If there are more than 2,000 images, 2,000 evenly spaced ones are used.
        say: called with a line about each step.
        progress: called with the number of images done and the total, during exports.

    Raises:
        ExportError: the folder is not empty, or the images have no labels or not all the same shape.
    """
    if is_url(out):
        raise ExportError(f"the demo is written to a local folder, not to {out}")
    if out.exists() and any(out.iterdir()):
        raise ExportError(f"{out} is not empty; choose a new folder with --out")
    opened = data.open_source(source or SAMPLE)
    picked = np.linspace(0, len(opened) - 1, min(LIMIT, len(opened))).round().astype(int).tolist()
    subset: Any = Subset(opened, picked)  # type: ignore[arg-type]  # a source is a map-style dataset
    images, labels = _load(subset)
    cases = make_cases((images.shape[2], images.shape[3]), int(labels.max()) + 1)
    test = torch.arange(len(images)) % _TEST_SHARE == 0
    (out / "keys").mkdir(parents=True, exist_ok=True)
    rows = [_report_row(measure("plain", "", "", images, labels, test), say)]
    columns = {"plain": images[:: max(1, len(images) // _SHOWN)][:_SHOWN]}
    for case in cases:
        keys.save(case.bundle, out / "keys" / f"{case.folder}.safetensors")
        shards = out / "shards" / case.folder
        transform = transforms.from_key(case.bundle, **case.options)
        data.export(subset, shards, transform=transform, key=case.bundle, progress=progress)
        checked = data.verify(shards, case.bundle)
        disguised, renamed = _read_back(shards, case.bundle, images.shape[1])
        say(f"{case.name}: {checked.images} images in {checked.shards} shards, verified and read back")
        columns[case.name] = disguised[:: max(1, len(images) // _SHOWN)][:_SHOWN]
        rows.append(_report_row(measure(case.name, case.settings, case.folder, disguised, renamed, test), say))
    grid = draw_grid({name: list(column) for name, column in columns.items()})
    (out / "grid.png").write_bytes(grid)
    photographs = _write_photographs(out, say) if source is None else None
    page = out / "index.html"
    facts = {
        "images": f"{len(images):,}" + (f" (of {len(opened):,})" if len(opened) > len(images) else ""),
        "source": source or "Fashion-MNIST (bundled sample, MIT licence, Zalando SE)",
        "size": " x ".join(map(str, images.shape[2:])),
        "epochs": str(EPOCHS),
        "train": str(int((~test).sum())),
        "test": str(int(test.sum())),
        "chance": f"{100 * float(labels.bincount().max()) / len(labels):.1f}",
    }
    page.write_text(render(rows, grid, facts, photographs), encoding="utf-8")
    return DemoResult(out, page, rows)


def _write_photographs(out: Path, say: Say) -> bytes:
    grid = draw_grid(disguise_photographs(), cell=2 * PHOTOGRAPH_SIDE)
    (out / "photographs.png").write_bytes(grid)
    say("photographs: disguised in the same ways, for the page only")
    return grid


def _report_row(row: Row, say: Say) -> Row:
    say(f"{row.name}: test accuracy {row.accuracy:.1%} ({row.low:.1%} to {row.high:.1%})")
    return row


def _load(subset: Any) -> tuple[Tensor, Tensor]:
    samples = [subset[i] for i in range(len(subset))]
    labelled = all(isinstance(sample.label, int) for sample in samples)
    if len({sample.image.shape for sample in samples}) != 1 or not labelled:
        raise ExportError(
            "the demo needs images of one size and number of channels, all with labels; resize them first"
        )
    labels = torch.tensor([sample.label for sample in samples])
    if len(samples) < 2 * _TEST_SHARE or len(labels.unique()) < 2:
        raise ExportError("the demo needs at least ten images in at least two classes")
    return torch.stack([sample.image for sample in samples]), labels


def _read_back(shards: Path, bundle: KeyBundle, channels: int) -> tuple[Tensor, Tensor]:
    """Read an export with plain webdataset and put the samples into the order of the source."""
    import webdataset

    urls = sorted(str(path) for path in shards.glob("shard-*.tar"))
    dataset = webdataset.WebDataset(urls, shardshuffle=False).decode("torchl8" if channels == 1 else "torchrgb8")
    pairs = list(dataset.to_tuple("png;npy", "cls"))
    images = torch.stack([torch.as_tensor(image).reshape(channels, *image.shape[-2:]) for image, _ in pairs])
    labels = torch.tensor([label for _, label in pairs])
    back = torch.from_numpy(keyed_order(bundle.subkey("order"), len(pairs))).argsort()
    return images[back], labels[back]
