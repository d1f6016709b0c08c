"""An epoch over an export on disk: ``ShardDataset`` and ``data.read`` beside other readers and a copy of the pixels.

All but the streams read in one shuffled order, in batches. litdata and MosaicML Streaming are left out where they do
not import; both read a converted copy, in their own order of chunks.

Usage: python benchmarks/reading.py [--images N] [--size S] [--batch B] [--rounds R] [--work DIR] [--out FILE.json]
"""

import argparse
import importlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import webdataset
from _common import interleave, report
from PIL import Image
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from torchprotect import data, keys, transforms

Epoch = Callable[[], object]


class Drawn(Dataset[tuple[Tensor, int]]):
    """Random pictures."""

    def __init__(self, count: int, size: int) -> None:
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(index)
        return torch.randint(256, (3, self.size, self.size), generator=generator, dtype=torch.uint8), index % 10


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--work", type=Path, help="folder for the export and its copies, kept for another call")
    parser.add_argument("--out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        export = write_export(work / f"export-{given.images}-{given.size}", given.images, given.size)
        cases = {**our_epochs(export, given.batch), **their_epochs(export, work, given.batch)}
        title = f"An epoch of {given.images} images of 3 x {given.size} x {given.size}, batches of {given.batch}"
        report(title, interleave(cases, given.rounds), "data.read", given.out)


def write_export(out: Path, count: int, size: int) -> Path:
    """Export random pictures, unless that was done before."""
    if not (out / "manifest.json").exists():
        key = keys.AESKey.generate(image_size=(size, size), block_size=(8, 8))
        data.export(Drawn(count, size), out, transform=transforms.from_key(key), key=key, workers=2)
    return out


def our_epochs(export: Path, size: int) -> dict[str, Epoch]:
    """Return the ways of this package, and the copy of as many bytes."""
    dataset = data.ShardDataset(export)
    images, _ = dataset[:]
    pixels = images.permute(0, 2, 3, 1).contiguous()
    target = torch.empty_like(pixels)
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0))
    batches = BatchSampler(order.tolist(), size, drop_last=False)

    def gather() -> None:
        for indices in order.split(size):
            dataset[indices]

    return {
        "copy_ of the pixels": lambda: target.copy_(pixels),
        "ShardDataset, batches": gather,
        "ShardDataset, default collate": lambda: run(DataLoader(dataset, size, sampler=order.tolist())),
        "ShardDataset, batches, 2 workers": lambda: run(
            DataLoader(dataset, sampler=batches, batch_size=None, num_workers=2)
        ),
        "open ShardDataset": lambda: data.ShardDataset(export),
        "data.read": lambda: run(data.read(export).batched(size)),
        "data.read, no hashes": lambda: run(data.read(export, verify=False).batched(size)),
    }


def their_epochs(export: Path, work: Path, size: int) -> dict[str, Epoch]:
    """Return other readers: webdataset on the shards themselves, the others on copies."""
    shards = [str(path) for path in sorted(export.glob("shard-*.tar"))]
    folder = ImageFolder(write_folder(export, Path(f"{export}-folder")), transform=v2.PILToTensor())
    found: dict[str, Epoch] = {
        "webdataset, its decoder": lambda: run(
            webdataset.WebDataset(shards, shardshuffle=False).decode("torchrgb8").to_tuple("png", "cls").batched(size)
        ),
        "ImageFolder": lambda: run(DataLoader(folder, size, shuffle=True)),
        "ImageFolder, 2 workers": lambda: run(DataLoader(folder, size, shuffle=True, num_workers=2)),
    }
    for name, add in (("litdata", litdata_epochs), ("streaming", streaming_epochs)):
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            continue
        found |= add(module, export, work, size)
    return found


def run(batches: object) -> None:
    """Read all batches."""
    for _ in batches:  # type: ignore[attr-defined]
        pass


def write_folder(export: Path, folder: Path) -> Path:
    """Write the images as PNG of Pillow in one folder a class, unless that was done before."""
    if not folder.exists():
        for number, (image, label) in enumerate(data.read(export)):
            (folder / str(label)).mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / str(label) / f"{number:06d}.png")
    return folder


def as_samples(export: str) -> object:
    """Yield the samples for litdata, whose workers import this function."""
    for image, label in data.read(export):
        yield {"image": image, "label": label}


def litdata_epochs(litdata: object, export: Path, work: Path, size: int) -> dict[str, Epoch]:
    """Return an epoch of litdata."""
    out = f"{export}-litdata"
    if not Path(out).exists():
        litdata.optimize(  # type: ignore[attr-defined]
            fn=as_samples, inputs=[str(export)], output_dir=out, num_workers=1, chunk_bytes="64MB", start_method="fork"
        )
    dataset = litdata.StreamingDataset(out, shuffle=True)  # type: ignore[attr-defined]
    loader = litdata.StreamingDataLoader  # type: ignore[attr-defined]
    return {
        "litdata": lambda: run(loader(dataset, batch_size=size)),
        "litdata, 2 workers": lambda: run(loader(dataset, batch_size=size, num_workers=2)),
    }


def streaming_epochs(streaming: object, export: Path, work: Path, size: int) -> dict[str, Epoch]:
    """Return an epoch of MosaicML Streaming."""
    out = f"{export}-mds"
    if not Path(out).exists():
        columns = {"image": "ndarray:uint8", "label": "int"}
        with streaming.MDSWriter(out=out, columns=columns) as writer:  # type: ignore[attr-defined]
            for image, label in data.read(export):
                writer.write({"image": image.numpy(), "label": label})
    dataset = streaming.StreamingDataset(local=out, batch_size=size, shuffle=True)  # type: ignore[attr-defined]
    return {
        "MosaicML Streaming": lambda: run(DataLoader(dataset, size)),
        "MosaicML Streaming, 2 workers": lambda: run(DataLoader(dataset, size, num_workers=2)),
    }


if __name__ == "__main__":
    main()
