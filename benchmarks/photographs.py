"""Preparation and exports beside Pillow's own decoding and resizing of the same files, and restoring beside exporting.

Usage: python benchmarks/photographs.py FOLDER [--rounds N] [--processes N] [--json FILE]; FOLDER holds JPEG files in
folders of classes.
"""

import argparse
import io
import shutil
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import PIL.Image
import torch
from _common import interleave, report
from storage import processor_clock
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect import data, keys, transforms

SIZE = 224
PREPARATION = data.Preparation(mode="rgb", resize=(SIZE, SIZE))
CHUNK = 50  # files in a task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    source = data.open_source(arguments.folder)
    files = [arguments.folder / source.name(index) for index in range(len(source))]
    compare_preparation(source.prepared(PREPARATION), files, arguments)
    compare_exporting(source, files, arguments)
    compare_restoring(source, arguments)


def compare_preparation(source: data.Source, files: list[Path], arguments: argparse.Namespace) -> None:
    indices = [list(range(start, min(start + CHUNK, len(files)))) for start in range(0, len(files), CHUNK)]
    chunks = [[files[index] for index in each] for each in indices]
    with ProcessPoolExecutor(arguments.processes, initializer=begin, initargs=(source,)) as pool:

        def all_of(work: Callable[..., object], tasks: list[list[object]]) -> None:
            list(pool.map(work, tasks))

        cases = {
            "Pillow": partial(all_of, decode_and_resize, chunks),
            "Pillow, to tensors": partial(all_of, decode_to_tensors, chunks),
            "a prepared source": partial(all_of, read_prepared, indices),
        }
        seconds = interleave(cases, arguments.rounds)
    title = f"{len(files):,} JPEGs to {SIZE} x {SIZE} in {arguments.processes} processes"
    report(title, seconds, next(iter(cases)), arguments.json)


def begin(source: data.Source) -> None:
    """Keep the source in a worker: an export sends it once too."""
    global prepared
    prepared = source
    torch.set_num_threads(1)


prepared: data.Source


def decode_and_resize(files: list[Path]) -> None:
    for file in files:
        with PIL.Image.open(io.BytesIO(file.read_bytes())) as picture:
            picture.convert("RGB").resize((SIZE, SIZE), PIL.Image.Resampling.BILINEAR)


def decode_to_tensors(files: list[Path]) -> None:
    for file in files:
        with PIL.Image.open(io.BytesIO(file.read_bytes())) as picture:
            pil_to_tensor(picture.convert("RGB").resize((SIZE, SIZE), PIL.Image.Resampling.BILINEAR))


def read_prepared(indices: list[int]) -> None:
    for index in indices:
        prepared[index]


def disguises() -> list[tuple[str, keys.Key, dict[str, float]]]:
    """Draw a key of each kind."""
    fit = {"image_size": (SIZE, SIZE), "block_size": (16, 16)}
    order = keys.PermutationKey.generate(**fit)
    return [
        ("BlockPermute", order, {}),
        ("AES", keys.KeyBundle(keys.AESKey.generate(**fit), order), {}),
        ("RMT with noise", keys.KeyBundle(keys.RMTKey.generate(**fit), order), {"noise": 25.0}),
    ]


def compare_exporting(source: data.Source, files: list[Path], arguments: argparse.Namespace) -> None:
    """Exports in this process, beside decoding and resizing alone; processor time."""
    folder = Path(tempfile.mkdtemp())

    def export(key: keys.Key, options: dict[str, float]) -> None:
        data.export(source, folder / "out", transform=transforms.from_key(key, **options), key=key, prepare=PREPARATION)
        shutil.rmtree(folder / "out")

    torch.set_num_threads(1)
    cases: dict[str, Callable[[], None]] = {"Pillow": partial(decode_and_resize, files)}
    cases |= {f"export, {name}": partial(export, key, options) for name, key, options in disguises()}
    seconds = interleave(cases, arguments.rounds, clock=processor_clock)
    shutil.rmtree(folder)
    report(f"{len(files):,} JPEGs to {SIZE} x {SIZE}, one process, processor time", seconds, "Pillow", None)


def compare_restoring(source: data.Source, arguments: argparse.Namespace) -> None:
    for name, key, options in disguises():
        folder = Path(tempfile.mkdtemp())
        transform = transforms.from_key(key, **options)

        def export(out: Path, key: keys.Key = key, transform: torch.nn.Module = transform) -> None:
            workers = arguments.processes
            data.export(source, out, transform=transform, key=key, prepare=PREPARATION, shard_size=200, workers=workers)

        def export_again(folder: Path = folder, export: Callable[[Path], None] = export) -> None:
            export(folder / "again")
            shutil.rmtree(folder / "again")

        def restore(folder: Path = folder, key: keys.Key = key) -> None:
            data.restore(folder / "out", folder / "back", key=key, workers=arguments.processes)
            shutil.rmtree(folder / "back")

        export(folder / "out")
        seconds = interleave({f"export, {name}": export_again, f"restore, {name}": restore}, arguments.rounds)
        report(f"{len(source):,} pictures, {arguments.processes} workers", seconds, f"export, {name}", None)
        ratios = [back / there for there, back in zip(*seconds.values(), strict=True)]
        print(f"restoring / exporting: {statistics.median(ratios):.2f} (goal: at most 1.3)\n")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
