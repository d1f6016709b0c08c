"""One picture at a time: transforms beside a flip, and a CIFAR-10 DataLoader with and without a disguise.

The DataLoader reads PNG files from memory in two worker processes: decode, RandomCrop(32, padding=4), random flip. A
disguise is the last step of the transform, or ``disguise_batch`` collates. Each loader keeps its workers, so that
starting them is not timed; epochs take turns. The pictures are CIFAR-10's where the variable TORCHPROTECT_DATA
names a folder with them, else smooth random ones.

Usage: python benchmarks/per_sample.py [--threads N] [--rounds N] [--quick] [--out FILE]
"""

import functools
import io
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import PIL.Image
import torch
from _cases import Builder, Case, Contestant, Goal, Setup, benchmark
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tvf

from torchprotect import data, keys, transforms

FLIP, PLAIN = "v2.RandomHorizontalFlip(p=1)", "without a disguise"
FIT = {"image_size": (32, 32), "block_size": (4, 4)}
BATCH, WORKERS, SAMPLES, SHARD = 128, 2, 20_000, 2500


def disguises() -> dict[str, Callable[..., Tensor]]:
    """Make one of each, on blocks of 4x4."""
    return {
        "BlockPermute": transforms.BlockPermute(keys.PermutationKey.generate(**FIT)),
        "AESECBDisguise": transforms.AESECBDisguise(keys.AESKey.generate(**FIT)),
        "RMTDisguise": transforms.RMTDisguise(keys.RMTKey.generate(**FIT)),
    }


def one_picture(setup: Setup, wrap: Callable[[Tensor], Tensor], kind: str) -> Case:
    """Compare calls on one picture 3x32x32 with a flip."""
    picture = wrap(setup.image(3, 32, 32))
    contestants = [Contestant(name, partial(transform, picture), "ours") for name, transform in disguises().items()] + [
        Contestant(FLIP, partial(v2.RandomHorizontalFlip(p=1), picture), "other")
    ]
    goals = [
        Goal("x the time of a flip", None if name.startswith("RMT") else 2.0, [FLIP], at_most=True, ours=name)
        for name in disguises()
    ]
    return Case(f"one uint8 3x32x32 {kind}", contestants, goals, 1, "kimages/s")


def encode(picture: Tensor) -> bytes:
    """Encode uint8 ``[3, H, W]`` as a PNG file."""
    file = io.BytesIO()
    tvf.to_pil_image(picture).save(file, "PNG")
    return file.getvalue()


def cifar10(count: int) -> list[Tensor] | None:
    """Read pictures of CIFAR-10, from shards or from torchvision's files, if there are any."""
    root = Path(os.environ.get("TORCHPROTECT_DATA", "/nonexistent"))
    shards = sorted((root / "cifar10").glob("train-*.tar.gz"))
    if shards:
        last = min(len(shards), 1 + count // SHARD) - 1
        source = data.open_source(str(root / "cifar10" / f"train-{{000000..{last:06d}}}.tar.gz"))
    elif (root / "cifar-10-batches-py").is_dir():
        source = data.open_source(f"cifar10:{root}")
    else:
        return None
    return [source[i].image for i in range(min(count, len(source)))]


def smooth_pictures(count: int) -> list[Tensor]:
    """Draw pictures that a PNG encoder can work with."""
    coarse = torch.randint(0, 256, (count, 3, 5, 5), dtype=torch.uint8)
    return list(tvf.resize(coarse, [32, 32], antialias=True))


@functools.cache
def encoded_pictures(count: int) -> tuple[str, list[bytes]]:
    """Return where the pictures are from, and their PNG files."""
    found = cifar10(count)
    return ("smooth random" if found is None else "CIFAR-10"), [
        encode(picture) for picture in (smooth_pictures(count) if found is None else found)
    ]


class Files(Dataset[Tensor]):
    """PNG files in memory, decoded and transformed when asked for."""

    def __init__(self, files: list[bytes], transform: Callable[[PIL.Image.Image], Tensor]) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        with PIL.Image.open(io.BytesIO(self.files[index])) as picture:
            return self.transform(picture.convert("RGB"))


class Epoch:
    """One pass over a loader whose workers stay."""

    def __init__(
        self, files: list[bytes], *last: Callable[..., Tensor], collate_fn: Callable[..., Tensor] | None = None
    ) -> None:
        transform = v2.Compose([v2.ToImage(), v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *last])
        self.loader = DataLoader(
            Files(files, transform),
            BATCH,
            shuffle=True,
            num_workers=WORKERS,
            persistent_workers=True,
            collate_fn=collate_fn,
        )

    def __call__(self) -> int:
        return sum(len(batch) for batch in self.loader)


def loader(setup: Setup) -> Case:
    """Compare epochs with and without a disguise."""
    source, files = encoded_pictures(512 if setup.quick else SAMPLES)
    contestants, goals = [Contestant(PLAIN, Epoch(files), "other")], []
    for name, disguise in disguises().items():
        batch = f"{name}, disguise_batch"
        contestants.append(Contestant(name, Epoch(files, disguise), "ours"))
        contestants.append(Contestant(batch, Epoch(files, collate_fn=transforms.disguise_batch(disguise)), "ours"))
        goal = 0.9 if name.startswith("RMT") else 0.95
        goals += [
            Goal("of the throughput without", part, [PLAIN], ours=ours) for ours, part in ((name, 0.9), (batch, goal))
        ]
    name = f"DataLoader, {WORKERS} workers, {len(files):,} PNG files ({source}), decode, crop, flip"
    return Case(name, contestants, goals, len(files), "kimages/s", slow=True)


def cases(setup: Setup) -> list[Builder]:
    """List all cases."""
    return [
        partial(one_picture, setup, lambda picture: picture, "tensor"),
        partial(one_picture, setup, tv_tensors.Image, "tv_tensors.Image"),
        partial(loader, setup),
    ]


if __name__ == "__main__":
    benchmark(__doc__, "per_sample", cases, devices=("cpu",))
