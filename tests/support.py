"""Shared by the tests: images, keys, and slow references written for reading."""

import io
import itertools
import os
import pickle
import signal
import subprocess
import tarfile
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from Crypto.Cipher import AES
from torch import Tensor

from torchprotect import data, keys, transforms


def make_image(*shape: int, dtype: torch.dtype = torch.uint8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return levels if dtype == torch.uint8 else (levels.to(dtype) / 255 if dtype.is_floating_point else levels.to(dtype))


def make_bundle(kind: str = "aes", size: tuple[int, int] = (16, 16), block: tuple[int, int] = (4, 4), **options):
    made = {"aes": keys.AESKey, "rmt": keys.RMTKey, "permutation": keys.PermutationKey}[kind]
    key = made.generate(image_size=size, block_size=block, **options)
    if kind == "permutation":
        return keys.KeyBundle(key, None, keys.LabelKey.generate(classes=10))
    order = keys.PermutationKey.generate(image_size=size, block_size=block)
    return keys.KeyBundle(key, order, keys.LabelKey.generate(classes=10))


def sent_to_worker(value):
    """Return what a worker process gets that is started with ``value``."""
    return pickle.loads(ForkingPickler.dumps(value))  # noqa: S301


def planes(image: Tensor):
    """Yield the index of every plane [H, W] of [..., C, H, W], and its channel."""
    for index in itertools.product(*(range(n) for n in image.shape[:-2])):
        yield index, index[-1]


def block_slices(size, block):
    """Return the slices of each block, row-major."""
    (height, width), (h, w) = size, block
    return [(slice(y, y + h), slice(x, x + w)) for y in range(0, height, h) for x in range(0, width, w)]


def permute_with_loops(image: Tensor, order: Tensor, block) -> Tensor:
    out, places = torch.empty_like(image), block_slices(image.shape[-2:], block)
    for target, source in enumerate(order.tolist()):
        out[(..., *places[target])] = image[(..., *places[source])]
    return out


def aes_with_loops(image: Tensor, table: Tensor, block, decrypt: bool = False) -> Tensor:
    out = torch.empty_like(image)
    for index, channel in planes(image):
        for position, place in enumerate(block_slices(image.shape[-2:], block)):
            key = bytes(table[position, channel if table.shape[1] > 1 else 0].tolist())
            plain = bytes(image[(*index, *place)].flatten().tolist())
            cipher = AES.new(key, AES.MODE_ECB)
            done = cipher.decrypt(plain) if decrypt else cipher.encrypt(plain)
            out[(*index, *place)] = torch.tensor(list(done), dtype=torch.uint8).reshape(block)
    return out


def matmul_with_loops(image: Tensor, matrices: Tensor, block, left: bool = False) -> Tensor:
    """Multiply in float scalars of the image's dtype, sums over k in order, one rounding a step."""
    scalar = {torch.float32: np.float32, torch.float64: np.float64}[image.dtype]
    out = torch.empty_like(image)
    for index, channel in planes(image):
        for position, place in enumerate(block_slices(image.shape[-2:], block)):
            x = image[(*index, *place)].numpy()
            r = matrices[position, channel if matrices.shape[1] > 1 else 0].numpy()
            a, b = (r, x) if left else (x, r)
            y = np.empty((a.shape[0], b.shape[1]), scalar)
            for i, j in np.ndindex(*y.shape):
                total = scalar(a[i, 0] * b[0, j])
                for k in range(1, a.shape[1]):
                    total = scalar(total + scalar(a[i, k] * b[k, j]))
                y[i, j] = total
            out[(*index, *place)] = torch.from_numpy(y)
    return out


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, by name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_folder(root: Path, classes: int = 3, each: int = 4, size=(16, 16), mode: str = "RGB", seed=0) -> Path:
    """Write an image folder of PNGs."""
    for label in range(classes):
        (root / f"class{label}").mkdir(parents=True)
        for n in range(each):
            pixels = make_image(*size, 3 if mode == "RGB" else 1, seed=seed + 100 * label + n).numpy()
            picture = PIL.Image.fromarray(pixels if mode == "RGB" else pixels[..., 0])
            picture.save(root / f"class{label}" / f"{n}.png")
    return root


def png(image: Tensor) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image.movedim(0, -1).squeeze(-1).numpy()).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return path


def tar_members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


class Pictures(torch.utils.data.Dataset):
    """A map-style dataset of random pictures, the same in every process."""

    def __init__(self, count: int = 20, channels: int = 1, size=(16, 16), classes: int = 10):
        self.count, self.shape, self.classes = count, (channels, *size), classes

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        return make_image(*self.shape, seed=index), index % self.classes


class Stream(torch.utils.data.IterableDataset):
    """An iterable dataset that divides itself among workers."""

    def __init__(self, count: int = 12):
        self.pictures = Pictures(count)

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        start, step = (info.id, info.num_workers) if info else (0, 1)
        return (self.pictures[i] for i in range(start, len(self.pictures), step))


def run_export(out, bundle=None, dataset=None, transform=None, **options):
    """Export 20 pictures, or what is given, in shards of 7."""
    bundle = bundle or SHARED_AES
    transform = transform or transforms.from_key(bundle)
    options = {"shard_size": 7, "key": bundle, **options}
    return data.export(Pictures(20) if dataset is None else dataset, out, transform=transform, **options)


def start_interruptible(command, **options) -> subprocess.Popen:
    """Start a child that Ctrl-C ends, in a process group of its own.

    A child inherits an ignored SIGINT. That is how the tests themselves run in the background, as under ``nohup``.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, start_new_session=True, **options)
    finally:
        signal.signal(signal.SIGINT, before)


def real_data() -> Path | None:
    root = os.environ.get("TORCHPROTECT_DATA")
    return Path(root) if root else None


SHARED_AES = make_bundle("aes")
